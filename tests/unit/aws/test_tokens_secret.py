"""The secret of tokens in Secrets Manager, as moto has it; and one that is missing, malformed, or never answers."""

import threading

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws

from chalicelib.access.errors import AccessUnavailableError
from chalicelib.access.grant import Grant
from chalicelib.access.tokens import IssuedToken, digest_of, write_tokens
from chalicelib.aws import tokens_secret
from chalicelib.aws.tokens_secret import TokensSecret

NAME = "highwater-test-api-tokens"
ADA = IssuedToken(Grant("ada", ("orders",), 1_000), digest_of("ada's"))
MINUTE_MS = 60_000
GET = "before-call.secrets-manager.GetSecretValue"


@pytest.fixture
def secrets():
    with mock_aws():
        yield boto3.client("secretsmanager", region_name="us-east-1")


def cause_of(secret):
    with pytest.raises(AccessUnavailableError) as unavailable:
        secret.read_tokens()
    assert unavailable.value.__suppress_context__
    return str(unavailable.value)


def test_a_minute_costs_one_call_and_then_what_has_changed_is_seen(secrets):
    secrets.create_secret(Name=NAME, SecretString=write_tokens([ADA]))
    calls = []
    secrets.meta.events.register(GET, lambda **_: calls.append(1))
    secret = TokensSecret(secrets, NAME, MINUTE_MS)
    for _ in range(3):
        assert secret.read_tokens() == [ADA]
    secrets.put_secret_value(SecretId=NAME, SecretString=write_tokens([]))
    assert secret.read_tokens() == [ADA]
    assert len(calls) == 1
    secret._provider.clear_cache()  # as after a minute: Powertools has its own clock
    assert secret.read_tokens() == []


def test_a_secret_that_is_missing_lets_nobody_in_and_is_asked_for_again(secrets):
    secret = TokensSecret(secrets, NAME, MINUTE_MS)
    assert cause_of(secret) == "ResourceNotFoundException"
    secrets.create_secret(Name=NAME, SecretString=write_tokens([ADA]))
    assert secret.read_tokens() == [ADA]


@pytest.mark.parametrize("value", [{"SecretString": "a-secret"}, {"SecretBinary": b"a-secret"}])
def test_a_secret_that_is_malformed_lets_nobody_in_and_is_not_quoted(secrets, value):
    secrets.create_secret(Name=NAME, **value)
    assert cause_of(TokensSecret(secrets, NAME, MINUTE_MS)) == "MalformedTokensError"


def test_a_secret_that_may_not_be_read_is_named_without_the_services_text(secrets):
    def refuse(**_):
        error = {"Code": "AccessDeniedException", "Message": "User: arn:aws:sts::000000000000:a-name is not authorized"}
        raise ClientError({"Error": error}, "GetSecretValue")

    secrets.meta.events.register(GET, refuse)
    assert cause_of(TokensSecret(secrets, NAME, MINUTE_MS)) == "AccessDeniedException"


def test_a_secrets_manager_that_is_not_there_is_named():
    nowhere = boto3.client(
        "secretsmanager",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:9",  # discard: nothing listens there
        config=Config(connect_timeout=1, retries={"total_max_attempts": 1}),
    )
    assert cause_of(TokensSecret(nowhere, NAME, MINUTE_MS)) == "EndpointConnectionError"


def test_one_that_does_not_answer_in_time_is_named(secrets, monkeypatch):
    monkeypatch.setattr(tokens_secret, "TIMEOUT_MS_MAX", 50)
    let_go = threading.Event()
    secrets.meta.events.register(GET, lambda **_: let_go.wait(5) and None)
    try:
        assert cause_of(TokensSecret(secrets, NAME, MINUTE_MS)) == "out of time"
    finally:
        let_go.set()
