"""Who may read: the functions as Lambda calls them, with AWS by moto; and a whole local stage that asks for tokens."""

import json
import time
from typing import Any

import boto3
import orjson
import pytest
import urllib3
from moto import mock_aws

import app
from chalicelib import wiring
from chalicelib.access.grant import Grant
from chalicelib.access.tokens import IssuedToken, digest_of, token_of, write_tokens
from chalicelib.http import NEVER_STORED, SECURITY_HEADERS
from chalicelib.wiring.stage import CATALOG
from localstage import LocalStage
from localstage.authorizer import is_allowed
from localstage.aws import client
from ops import tokens
from ops.token_ledger import TokenLedger
from tests.lambda_process import Context, forget, logged

SECRET = "highwater-test-api-tokens"
API = "arn:aws:execute-api:us-east-1:000000000000:local/api"
TOKEN = token_of(bytes(32))
EVERYTHING_TOKEN = token_of(bytes(31) + b"1")
EXPIRED_TOKEN = token_of(bytes(31) + b"2")
FAR_MS = 4_000_000_000_000
ISSUED = [
    IssuedToken(Grant("ada", ("orders",), FAR_MS), digest_of(TOKEN)),
    IssuedToken(Grant("all", ("*",), FAR_MS), digest_of(EVERYTHING_TOKEN)),
    IssuedToken(Grant("old", ("*",), 1_000), digest_of(EXPIRED_TOKEN)),
]
PATIENCE_SECONDS = 15


@pytest.fixture
def secrets():
    with mock_aws():
        secrets = boto3.client("secretsmanager")
        secrets.create_secret(Name=SECRET, SecretString=write_tokens(ISSUED))
        forget()
        yield secrets
        forget()


@pytest.fixture
def output(capsys):
    """What was printed and logged, as text: a function of no arguments."""
    with logged() as log:
        yield lambda: capsys.readouterr().out + log.getvalue()


def authorize(header):
    return app.authorize(
        {"type": "TOKEN", "authorizationToken": header, "methodArn": f"{API}/GET/v1/stream"}, Context()
    )


def metrics_of(text, name):
    found = [json.loads(line) for line in text.splitlines() if f'"{name}"' in line]
    return [line.get("reason", "") for line in found if name in line]


# ---- the authorizer


def test_a_token_opens_what_it_grants_and_nothing_else(secrets, output):
    told = authorize(f"Bearer {TOKEN}")
    assert told["principalId"] == "ada"
    assert told["context"] == {"name": "ada", "metrics": "orders", "expires_at": "2096-10-02T07:06:40Z"}
    reads = [path for path in ("metrics", "stream", "metrics/orders", "metrics/orders/windows", "metrics/customers",
                               "metrics/ordersx", "metrics/orders/more", "dead-letters", "health")
             if is_allowed(told["policyDocument"], f"{API}/GET/v1/{path}")]  # fmt: skip
    assert reads == ["metrics", "stream", "metrics/orders", "metrics/orders/windows"]
    assert not is_allowed(told["policyDocument"], f"{API}/POST/v1/metrics")
    everything = authorize(f"Bearer {EVERYTHING_TOKEN}")["policyDocument"]
    assert all(is_allowed(everything, f"{API}/GET/v1/{path}") for path in ("dead-letters", "metrics/any/windows"))
    assert '"token_name":"ada"' in output().replace(" ", "")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (f"Bearer {token_of(bytes(31) + b'3')}", "unknown"),
        (f"Bearer {EXPIRED_TOKEN}", "expired"),
        (f"Basic {TOKEN}", "malformed"),
        ("Bearer of-bad-news", "malformed"),
    ],
)
def test_any_other_is_unauthorized_and_counted_by_its_reason(secrets, output, header, reason):
    with pytest.raises(Exception, match=r"^Unauthorized$") as refused:
        authorize(header)
    assert refused.value.__suppress_context__
    assert metrics_of(output(), "RequestsRefused") == [reason]


@pytest.mark.parametrize(
    ("break_it", "cause"),
    [
        (lambda secrets: secrets.delete_secret(SecretId=SECRET, ForceDeleteWithoutRecovery=True), "ResourceNotFound"),
        (lambda secrets: secrets.put_secret_value(SecretId=SECRET, SecretString="something"), "MalformedTokensError"),
    ],
)
def test_a_secret_that_is_missing_or_malformed_is_no_unauthorized_and_an_error_metric(secrets, output, break_it, cause):
    break_it(secrets)
    with pytest.raises(Exception, match=cause):
        authorize(f"Bearer {TOKEN}")
    text = output()
    assert metrics_of(text, "AccessUnavailable") == [""]
    assert "something" not in text


def test_no_token_and_no_digest_is_ever_logged(secrets, output):
    for token in (TOKEN, EVERYTHING_TOKEN):
        authorize(f"Bearer {token}")
    for header in (f"Bearer {EXPIRED_TOKEN}", f"Bearer {EXPIRED_TOKEN[:-1]}", f"Basic {TOKEN}"):
        with pytest.raises(Exception, match="Unauthorized"):
            authorize(header)
    text = output()
    for token in (TOKEN, EVERYTHING_TOKEN, EXPIRED_TOKEN):
        assert token[10:-1] not in text
        assert digest_of(token) not in text


# ---- the function


def ask(path, context, **parameters):
    event = {
        "requestContext": {"httpMethod": "GET", "resourcePath": path, "path": path, **context},
        "headers": {},
        "pathParameters": parameters,
        "multiValueQueryStringParameters": None,
        "body": None,
        "stageVariables": {},
    }
    answer = app.app(event, Context())
    return answer["statusCode"], orjson.loads(answer["body"]), answer["headers"]


def caller(metrics="orders", expires_at="2096-10-02T07:06:40Z"):
    return {"authorizer": {"name": "ada", "metrics": metrics, "expires_at": expires_at, "principalId": "ada"}}


@pytest.mark.parametrize("path", ["/v1/metrics", "/v1/dead-letters", "/v1/stream"])
@pytest.mark.parametrize("context", [{}, {"authorizer": None}, {"authorizer": {"principalId": "ada"}},
                                     caller(expires_at="2020-01-01T00:00:00Z")])  # fmt: skip
def test_the_function_itself_lets_nobody_in_whom_no_authorizer_has_let_in_or_only_once(path, context):
    status, problem, headers = ask(path, context)
    assert (status, problem["type"]) == (401, "urn:highwater:problem:not-authenticated")
    assert headers["WWW-Authenticate"] == "Bearer"
    assert headers["Content-Type"] == "application/problem+json"


def test_a_list_is_of_what_the_caller_may_read():
    for metrics, listed in (("orders,order_status", {"orders", "order_status"}), ("gone", set()), ("*", None)):
        status, document, _ = ask("/v1/metrics", caller(metrics))
        assert status == 200
        assert {each["name"] for each in document["metrics"]} == (CATALOG.metrics.keys() if listed is None else listed)


@pytest.mark.parametrize("path", ["/v1/metrics/{metric}", "/v1/metrics/{metric}/windows"])
def test_a_metric_that_is_not_granted_is_refused_whether_it_exists_or_not(path):
    refused = [ask(path, caller(), metric=metric) for metric in ("customers", "nothing")]
    assert refused[0] == refused[1]
    assert (refused[0][0], refused[0][1]["type"]) == (403, "urn:highwater:problem:not-allowed")
    assert ask("/v1/metrics/{metric}", caller(), metric="orders")[0] == 200
    assert ask(path, caller("*"), metric="nothing")[0] == 404
    assert ask("/v1/dead-letters", caller("orders,customers,order_status"))[0] == 403


def test_a_metric_that_is_gone_tells_whom_it_was_granted_of_no_other():
    status, problem, _ = ask("/v1/metrics/{metric}", caller("orders,gone"), metric="gone")
    assert (status, problem["detail"]) == (404, "no metric is named 'gone'; there are: orders")


def test_a_fault_of_ours_is_a_problem_and_told_to_the_log_without_what_it_says(output, monkeypatch):
    monkeypatch.setattr(wiring.api.make(), "list_metrics", lambda grant: 1 / "ada's secret"[99:])  # a TypeError
    status, problem, headers = ask("/v1/metrics", caller())
    assert (status, problem["type"]) == (500, "urn:highwater:problem:failed")
    assert SECURITY_HEADERS.items() <= headers.items()
    text = output()
    assert '"error":"TypeError"' in text.replace(" ", "")
    assert "unsupported operand" not in text
    assert metrics_of(text, "RequestsFailed") == [""]


def test_health_is_told_to_anybody():
    assert ask("/v1/health", {})[0] == 200


def test_with_aws_identities_the_function_wants_to_know_one(monkeypatch):
    monkeypatch.setenv("API_AUTH", "iam")
    wiring.settings.cache_clear()
    try:
        assert ask("/v1/metrics", caller("*"))[0] == 401
        assert ask("/v1/metrics", {"identity": {"userArn": "arn:aws:iam::0:user/ada"}})[0] == 200
    finally:
        wiring.settings.cache_clear()


# ---- a whole stage


class Caller:
    def __init__(self, stage: LocalStage) -> None:
        self._stage = stage

    def get(self, path: str, token: str | None) -> tuple[int, dict[str, Any], Any]:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        answer = urllib3.request("GET", self._stage.api_url + path, headers=headers, retries=False)
        return answer.status, answer.json(), answer.headers

    def wait_for(self, status: int, path: str, token: str) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (answer := self.get(path, token))[0] != status:
            assert time.monotonic() < deadline, answer
            time.sleep(0.1)
        return answer[1]


def test_a_stage_that_asks_for_tokens(tmp_path, recording):
    settings = {"API_AUTH": "token", "API_TOKENS_MAX_AGE": "1s", **recording.settings}
    with LocalStage("test", shards=1, aws_port=0, api_port=0, settings=settings, state_dir=tmp_path) as stage:
        secrets = client("secretsmanager", stage.endpoint_url)
        ledger = TokenLedger(secrets, SECRET)
        scoped, everything = (
            tokens.issue(ledger, name, [metrics], FAR_MS) for name, metrics in (("ada", "orders"), ("all", "*"))
        )
        get = Caller(stage).get

        assert get("/v1/health", None)[0] == 200
        nobody = [get("/v1/metrics", token) for token in (None, "bad", token_of(bytes(32)))]
        for status, problem, headers in nobody:
            assert (status, problem) == (401, nobody[0][1])
            assert problem["type"] == "urn:highwater:problem:not-authenticated"
            expected = {**SECURITY_HEADERS, **NEVER_STORED, "Content-Type": "application/problem+json"}
            assert {name: headers[name] for name in expected} == expected
            assert headers["WWW-Authenticate"] == "Bearer"

        assert [each["name"] for each in get("/v1/metrics", scoped)[1]["metrics"]] == ["orders"]
        assert get("/v1/metrics/orders/windows", scoped)[0] == 200
        refused = [
            get(path, scoped)[:2]
            for path in ("/v1/metrics/customers", "/v1/metrics/nothing/windows", "/v1/dead-letters")
        ]
        assert all(answer == refused[0] for answer in refused)
        assert (refused[0][0], refused[0][1]["type"]) == (403, "urn:highwater:problem:not-allowed")
        assert get("/v1/metrics/nothing", everything)[0] == 404
        assert get("/v1/dead-letters", everything)[0] == 200
        assert get("/v2", None)[1]["type"] == "urn:highwater:problem:no-such-route"

        tokens.revoke(ledger, "ada")
        assert Caller(stage).wait_for(401, "/v1/metrics", scoped) == nobody[0][1]
        assert get("/v1/metrics", everything)[0] == 200
        secrets.put_secret_value(SecretId=SECRET, SecretString='{"tokens": "something"}')
        problem = Caller(stage).wait_for(503, "/v1/metrics", everything)
        assert problem["type"] == "urn:highwater:problem:access-unavailable"
        log = stage.log_path("authorize").read_text()
        assert '"AccessUnavailable":[1.0]' in log.replace(" ", "")
        assert not any(text in log for text in (scoped, everything, "something"))
