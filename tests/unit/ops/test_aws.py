"""Which region the commands take, and what each tells in one line when AWS cannot be had."""

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    UnauthorizedSSOTokenError,
)

from chalicelib.errors import TransientError
from loadtest.producer.__main__ import main as producer
from ops import dead_letters, redrive, resources, results, tokens
from ops.aws import client, is_local, reason, session

COMMANDS = {
    "ops.dead_letters": (dead_letters.main, ["--stage", "prod"]),
    "ops.redrive": (redrive.main, ["--stage", "prod"]),
    "ops.resources": (resources.main, ["--stage", "prod"]),
    "ops.results": (results.main, ["--stage", "prod"]),
    "ops.tokens": (tokens.main, ["--stage", "prod", "list"]),
    "loadtest.producer": (producer, ["--stage", "prod", "/dev/null"]),
}


@pytest.fixture(autouse=True)
def nothing_is_configured(monkeypatch, tmp_path):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for variable in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-west-2"}, "eu-west-1"),
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2"),
        ({"AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2"),
        ({}, None),
    ],
)
def test_a_region_is_that_of_aws_region_or_else_what_boto3_finds(monkeypatch, variables, region):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert session().region_name == region
    if region is not None:
        assert client("sqs").meta.region_name == region


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_says_in_a_line_of_its_own_that_there_are_no_credentials(monkeypatch, capsys, name):
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert line_of(capsys, name).endswith("there are no AWS credentials: sign in, or set AWS_PROFILE")


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"ops.dead_letters"}))  # S3 is asked without a region, too
def test_each_command_says_in_a_line_of_its_own_that_there_is_no_region(capsys, name):
    assert line_of(capsys, name).endswith("there is no AWS region: set AWS_REGION")


def line_of(capsys, name):
    main, arguments = COMMANDS[name]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{name}: ")
    return line


def refusal(code, message="said"):
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetObject")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (NoCredentialsError(), "there are no AWS credentials: sign in, or set AWS_PROFILE"),
        (NoRegionError(), "there is no AWS region: set AWS_REGION"),
        (UnauthorizedSSOTokenError(), "the AWS credentials have ended: sign in again, or set AWS_PROFILE"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:9/secret"), "nothing answers at http://127.0.0.1:9"),
        (ProfileNotFound(profile="nobody"), "The config profile (nobody) could not be found"),
        (
            refusal("ExpiredToken"),
            "the AWS credentials are not valid, or not any more (ExpiredToken): sign in again, or set AWS_PROFILE",
        ),
        (refusal("AccessDenied", "User: a\n may not"), "AWS denies GetObject: User: a may not"),
        (refusal("403", "Forbidden"), "AWS denies GetObject"),
        (refusal("NoSuchBucket"), "GetObject fails with NoSuchBucket: said"),
        (ValueError("two\n  lines"), "two lines"),
    ],
)
def test_a_failure_is_told_in_one_line_by_what_can_be_done(error, told):
    assert reason(error) == told


def test_a_failure_that_was_taken_for_transient_is_told_by_its_cause():
    error = TransientError("NoCredentialsError")
    error.__cause__ = NoCredentialsError()
    assert reason(error) == "there are no AWS credentials: sign in, or set AWS_PROFILE"
    assert reason(TransientError("2 objects could not be read")) == "2 objects could not be read"


@pytest.mark.parametrize(
    ("endpoint_url", "told"),
    [
        (None, False),
        ("http://127.0.0.1:4566", True),
        ("http://localhost:4566", True),
        ("https://vpce-1.kinesis.eu-west-1.vpce.amazonaws.com", False),
        ("https://127.0.0.1.example.org", False),
    ],
)
def test_an_endpoint_is_local_by_its_host(endpoint_url, told):
    assert is_local(endpoint_url) is told
