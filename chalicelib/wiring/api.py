"""The HTTP API: requests of API Gateway become questions, their answers its responses. Nothing is decided here."""

from collections.abc import Callable, Mapping
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

from chalice.app import Request, Response

from chalicelib import telemetry
from chalicelib.access.errors import NotAuthenticatedError
from chalicelib.access.grant import EVERYTHING, Grant, grant_of, signed_grant
from chalicelib.aws import clients
from chalicelib.dashboard import pages
from chalicelib.http import HttpAnswer, Problem, finish
from chalicelib.query.endpoints import Query
from chalicelib.query.http import lasting_answer, respond
from chalicelib.settings import ApiAuth
from chalicelib.wiring.stage import CATALOG, now_ms, settings
from chalicelib.wiring.stores import aggregates_table, events_stream

if TYPE_CHECKING:
    from chalicelib.aws.dead_letters_reader import DeadLettersReader

# As OpenAPI has them; the second is API Gateway's own form of Signature Version 4.
SECURITY_SCHEMES: Mapping[ApiAuth, Mapping[str, str]] = {
    ApiAuth.TOKEN: {"type": "http", "scheme": "bearer", "description": "A token that the stage's operators issue."},
    ApiAuth.IAM: {
        "type": "apiKey",
        "name": "Authorization",
        "in": "header",
        "x-amazon-apigateway-authtype": "awsSigv4",
        "description": "A request signed with AWS Signature Version 4.",
    },
}
FAILED = Problem("failed", "The request has failed", 500)


@cache
def make() -> Query:
    """The questions of analysts."""
    return Query(
        CATALOG,
        stage=settings().stage,
        stream=settings().events_stream,
        lateness_ms=settings().lateness_ms,
        shares=aggregates_table(),
        progress=aggregates_table(),
        settled=aggregates_table(),
        shards=events_stream(),
        letters=dead_letters_reader,
        clock_ms=now_ms,
    )


@cache
def dead_letters_reader() -> "DeadLettersReader":
    """The dead letters, as queries read them."""
    from chalicelib.aws.dead_letters_reader import DeadLettersReader  # noqa: PLC0415  few ask for them

    return DeadLettersReader(clients.s3(), settings().dead_letters_bucket)


def answer(request: Request, ask: Callable[[Query], HttpAnswer]) -> Response:
    """Ask, and hand the answer to Chalice; an error of the asker's or of the moment is a problem+json answer."""
    return _respond(request, lambda: ask(make()))


def openapi(request: Request) -> Response:
    """Answer `/openapi.json`."""
    return _respond(request, _openapi)


@cache
def _openapi() -> HttpAnswer:
    from chalicelib.query.openapi import describe_api  # noqa: PLC0415  few ask for it, and then once

    return lasting_answer(describe_api(SECURITY_SCHEMES.get(settings().api_auth)))


def _respond(request: Request, give: Callable[[], HttpAnswer]) -> Response:
    started = perf_counter()
    try:
        given = respond(give)
    except Exception as error:  # noqa: BLE001  Chalice would answer it too, in a form of its own, and count nothing
        telemetry.publish_failure(error)
        given = FAILED.answer("the fault is ours, and has been noted")
    answered = finish(given, request.headers.get("if-none-match"))
    telemetry.publish_answer(answered.status, elapsed_ms=(perf_counter() - started) * 1000)
    return _response(answered)


def _response(answered: HttpAnswer) -> Response:
    return Response(answered.body, dict(answered.headers), answered.status)


def dashboard_page(request: Request) -> Response:
    """Answer `/`."""
    return _response(finish(pages.answer_page(request.context["path"]), request.headers.get("if-none-match")))


def dashboard_asset(version: str, name: str, request: Request) -> Response:
    """Answer `/assets/{version}/{name}`."""
    return _response(finish(pages.answer_asset(version, name), request.headers.get("if-none-match")))


def answer_caller(request: Request, ask: Callable[[Query, Grant], HttpAnswer]) -> Response:
    """Ask on behalf of a caller, who has to have credentials that hold, and hand the answer to Chalice."""
    return answer(request, lambda query: ask(query, _grant(request)))


def _grant(request: Request) -> Grant:
    """What the caller may read, as API Gateway has found out.

    Raises: NotAuthenticatedError when API Gateway has not, however the request came here then; and for a token that has
            expired since.
    """
    try:
        match settings().api_auth:
            case ApiAuth.TOKEN:
                return grant_of(request.context.get("authorizer"), now_ms())
            case ApiAuth.IAM:
                return signed_grant(request.context.get("identity", {}))
            case ApiAuth.NONE:
                return EVERYTHING
    except NotAuthenticatedError as error:
        telemetry.publish_refusal(error.reason)
        raise


def windows(metric: str, request: Request, context: Any) -> Response:
    """Answer `/v1/metrics/{metric}/windows`."""
    given, accept = _parameters(request), request.headers.get("accept")
    remaining_ms = context.get_remaining_time_in_millis
    return answer_caller(request, lambda query, grant: query.windows(grant, metric, given, accept, remaining_ms))


def dead_letters(request: Request, context: Any) -> Response:
    """Answer `/v1/dead-letters`."""
    given, remaining_ms = _parameters(request), context.get_remaining_time_in_millis
    return answer_caller(request, lambda query, grant: query.dead_letters(grant, given, remaining_ms))


def stream(request: Request, context: Any) -> Response:
    """Answer `/v1/stream`."""
    return answer_caller(request, lambda query, _: query.stream(context.get_remaining_time_in_millis))


def _parameters(request: Request) -> dict[str, list[str]]:
    given = request.query_params
    return {name: given.getlist(name) for name in given} if given else {}
