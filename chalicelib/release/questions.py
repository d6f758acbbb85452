"""What a new version of each function is asked before it takes traffic. Pure, and harmless: nothing is counted by it.

Only this file knows how each function is called. What a function answers is looked at and never told: it may hold data.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from chalicelib.access.grant import EVERYTHING, context_of
from chalicelib.access.tokens import TOKEN_BYTES, token_of
from chalicelib.aggregates.windows import UNIT_MS, format_instant
from chalicelib.errors import UnexpectedError

DAY_MS = UNIT_MS["d"]  # which the API is asked of: every window's size divides it
NO_TOKEN = token_of(bytes(TOKEN_BYTES))  # well formed, so that it is looked for; nobody was issued it
NOBODY = "Unauthorized"  # the very text by which API Gateway knows


class Reply(Struct, frozen=True):
    """What an invocation came to. Shapes: body is JSON; of an error, Lambda's `errorType` and `errorMessage`."""

    body: bytes
    is_error: bool = False

    def read(self) -> Any:
        """The body, or None of what is no JSON."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return None


class Question(Struct, frozen=True):
    """An event for a function, what its answer has to be, and how that is called."""

    event: Mapping[str, Any]
    is_right: Callable[[Reply], bool]
    wanted: str


def questions(stage: str, metric: str, now_ms: int) -> dict[str, Question]:
    """What each function is asked, by its name.

    Shapes: metric is one that is asked of the API. Units: now_ms is epoch milliseconds.
    """
    no_records = Question({"Records": []}, _is_done, "that nothing failed")
    consumers = {
        f"highwater-{stage}-{name}": no_records for name in ("ingest", "capture", "rollup", "fan_out", "redrive")
    }
    return consumers | {
        f"highwater-{stage}-api": Question(_windows(metric, now_ms), _is_answer, "the windows of a metric"),
        f"highwater-{stage}-authorize": Question(_token_event(), _is_unauthorized, "that a token does not hold"),
        f"highwater-{stage}-tick": Question(_minute_event(now_ms), _is_ticked, "a tick on every shard"),
    }


def fault_of(question: Question, reply: Reply) -> str | None:
    """What is wrong with an answer, without a word of it but the type of an error; None if it is right."""
    if question.is_right(reply):
        return None
    told = reply.read()
    kind = told.get("errorType") if reply.is_error and isinstance(told, dict) else None
    if kind == UnexpectedError.__name__:
        kind = told.get("errorMessage")  # which is the type of what was raised, and no more
    return f"it did not answer {question.wanted}" + (f", but failed: {kind}" if kind else "")


def _is_done(reply: Reply) -> bool:
    return not reply.is_error and reply.read() == {"batchItemFailures": []}


def _is_answer(reply: Reply) -> bool:
    """Whether it is API Gateway's form of a table of windows."""
    told = reply.read()
    if reply.is_error or not isinstance(told, dict) or told.get("statusCode") != 200:  # noqa: PLR2004  HTTP's OK
        return False
    body = Reply(str(told.get("body")).encode()).read()
    return isinstance(body, dict) and isinstance(body.get("data"), list)


def _is_unauthorized(reply: Reply) -> bool:
    told = reply.read()
    return reply.is_error and isinstance(told, dict) and told.get("errorMessage") == NOBODY


def _is_ticked(reply: Reply) -> bool:
    told = reply.read()
    return not reply.is_error and isinstance(told, dict) and told.get("failed") == 0 and bool(told.get("shards"))


def _windows(metric: str, now_ms: int) -> dict[str, Any]:
    """API Gateway's event of a query, as its authorizer lets one through whatever callers have to have.

    Source: API Gateway Developer Guide, "Input format of a Lambda function for proxy integration".
    """
    resource = "/v1/metrics/{metric}/windows"
    end_ms = now_ms - now_ms % DAY_MS
    asked = {"start": format_instant(end_ms - DAY_MS), "end": format_instant(end_ms), "step": "all", "limit": "1"}
    return {
        "resource": resource,
        "path": resource.format(metric=metric),
        "httpMethod": "GET",
        "headers": {"Accept": "application/json"},
        "multiValueHeaders": {"Accept": ["application/json"]},
        "queryStringParameters": asked,
        "multiValueQueryStringParameters": {name: [value] for name, value in asked.items()},
        "pathParameters": {"metric": metric},
        "stageVariables": None,
        "requestContext": {
            "resourcePath": resource,
            "path": resource.format(metric=metric),
            "httpMethod": "GET",
            "identity": {"userArn": "release-check"},
            "authorizer": context_of(EVERYTHING),
        },
        "body": None,
        "isBase64Encoded": False,
    }


def _token_event() -> dict[str, Any]:
    """API Gateway's question who has sent a token."""
    arn = "arn:aws:execute-api:us-east-1:000000000000:check/api/GET/v1/stream"
    return {"type": "TOKEN", "authorizationToken": f"Bearer {NO_TOKEN}", "methodArn": arn}


def _minute_event(now_ms: int) -> dict[str, Any]:
    """EventBridge's event of a schedule."""
    return {
        "version": "0",
        "id": "release-check",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": format_instant(now_ms),
        "region": "us-east-1",
        "resources": [],
        "detail": {},
    }
