"""Which errors leave a function as they are, and what is told of the others."""

import io
import logging

import orjson
import pytest
from botocore.exceptions import ClientError

from chalicelib import telemetry
from chalicelib.access.errors import AccessUnavailableError, UnauthorizedError
from chalicelib.aws.breaker import CircuitOpenError
from chalicelib.effects import RefusedError
from chalicelib.errors import OutOfOrderError, TransientError, UnexpectedError
from chalicelib.wiring.discretion import discreet

SECRET = "a-payload-that-must-not-be-told"


@pytest.fixture
def logged():
    """What is logged, line by line."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(telemetry.logger.registered_formatter)
    logger = logging.getLogger(telemetry.SERVICE)
    logger.addHandler(handler)
    yield lambda: [orjson.loads(line) for line in stream.getvalue().splitlines()]
    logger.removeHandler(handler)


def raising(error, *vouched):
    @discreet(*vouched)
    def handler(event, context):
        raise error

    return handler


def refused(code):
    return ClientError({"Error": {"Code": code, "Message": SECRET}}, "PutItem")


def test_what_is_answered_is_answered():
    assert discreet()(lambda event, context: (event, context))("event", "context") == ("event", "context")


@pytest.mark.parametrize("error", [TransientError("out of time"), CircuitOpenError(), OutOfOrderError("2 after 1")])
def test_errors_of_ours_say_what_they_say(error, logged):
    with pytest.raises(type(error)) as raised:
        raising(error)({}, None)
    assert raised.value is error
    (line,) = logged()
    assert (line["message"], line["error"]) == ("invocation failed", type(error).__name__)


@pytest.mark.parametrize(
    ("error", "told", "code"),
    [
        (ValueError(SECRET), "ValueError", None),
        (KeyError(SECRET), "KeyError", None),
        (RefusedError(SECRET), "RefusedError", None),  # an adopter's text
        (Exception("Unauthorized"), "Exception", None),
        (UnauthorizedError(), "UnauthorizedError", None),
        (refused("AccessDeniedException"), "ClientError: AccessDeniedException", "AccessDeniedException"),
    ],
)
def test_of_any_other_the_type_is_told_and_where_and_of_aws_the_code(error, told, code, logged):
    with pytest.raises(UnexpectedError) as raised:
        raising(error)({}, None)
    assert str(raised.value) == told
    assert raised.value.__suppress_context__
    assert raised.traceback[-1].name == "handler"
    (line,) = logged()
    assert (line["message"], line["error"], line.get("code")) == ("invocation failed", type(error).__name__, code)
    assert line["where"][-1].endswith(" handler")
    assert SECRET not in str(line)


def test_who_is_vouched_for_has_told_the_log(logged):
    with pytest.raises(UnauthorizedError, match=r"^Unauthorized$"):
        raising(UnauthorizedError(), AccessUnavailableError, UnauthorizedError)(None, None)
    assert logged() == []


@pytest.mark.parametrize("response", [None, "refused", {}, {"Error": None}, {"Error": {}}])
def test_a_response_that_is_not_of_aws_has_no_code(response):
    error = ValueError(SECRET)
    error.response = response
    assert telemetry.kind_of(error) == "ValueError"
