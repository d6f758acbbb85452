"""The HTTP side of queries: which format an answer takes, and how an error becomes a problem (RFC 9457).

Errors become answers in `respond` and nowhere else. Chalice is not met here: `api.py` hands on its requests.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from chalicelib.access.errors import NotAllowedError, NotAuthenticatedError
from chalicelib.errors import DefinitionChangedError, TransientError
from chalicelib.http import HttpAnswer, Problem
from chalicelib.query.caching import caching_of_document
from chalicelib.query.errors import NotAcceptableError, ParameterError, UnknownMetricError, quoted
from chalicelib.query.formats import FORMATS, JSON, Format, write_json

RETRY_AFTER_S = 5


# The first whose error fits. Each error's message is the problem's `detail`, unless the message is not for askers.
PROBLEMS: Sequence[tuple[type[Exception], Problem]] = (
    (NotAcceptableError, Problem("not-acceptable", "No acceptable format", 406)),
    (ParameterError, Problem("invalid-parameter", "A parameter cannot be honoured", 400)),
    # API Gateway's own answers say the same two things in the same words: .chalice/resources.yaml. In a function's
    # answer it renames WWW-Authenticate (x-amzn-Remapped-…); but nearly every 401 is its own.
    (
        NotAuthenticatedError,
        Problem("not-authenticated", "Valid credentials are needed", 401, {"WWW-Authenticate": "Bearer"}),
    ),
    (NotAllowedError, Problem("not-allowed", "The credentials do not allow this", 403)),
    (UnknownMetricError, Problem("unknown-metric", "There is no such metric", 404)),
    # The stored windows contradict the definition; asking again does not help, renaming the metric does.
    (DefinitionChangedError, Problem("metric-redefined", "The metric was redefined under its name", 409)),
    (
        TransientError,
        Problem("not-in-time", "The answer could not be read in time", 503, {"Retry-After": str(RETRY_AFTER_S)}),
    ),
)


def respond(ask: Callable[[], HttpAnswer]) -> HttpAnswer:
    """Answer, with a problem where the answer is an error of the asker or of the moment.

    Raises: InvariantError and whatever else is our fault, loudly; but for a redefined metric, which its asker can see.
    """
    try:
        return ask()
    except tuple(error for error, _ in PROBLEMS) as error:
        return _problem(error)


def _problem(error: Exception) -> HttpAnswer:
    problem = next(problem for kind, problem in PROBLEMS if isinstance(error, kind))
    if isinstance(error, ParameterError):
        parameter = _well_formed(error.parameter)
        return problem.answer(f"{parameter}: {error}", parameter)
    return problem.answer(str(error))


def _well_formed(text: str) -> str:
    """The asker's own text, with `?` for what UTF-8 cannot hold."""
    return text.encode(errors="replace").decode()


def json_answer(document: Any) -> HttpAnswer:
    """Answer with a JSON document."""
    return HttpAnswer(200, {"Content-Type": JSON.content_type}, write_json(document))


def lasting_answer(document: Any) -> HttpAnswer:
    """Answer with a JSON document that seldom changes; who has it already need not be sent it again."""
    answer = json_answer(document)
    return replace(answer, headers={**answer.headers, **caching_of_document(answer.body)})


def negotiate(name: str | None, accept: str | None) -> Format:
    """Choose the format: by its name if there is one, or else what the Accept header likes best.

    Raises: NotAcceptableError when there is no such format.
    Source: RFC 9110, 12.5.1: the most specific range that fits a media type tells its quality.
    """
    there_are = "there are json (application/json), csv (text/csv), ndjson (application/x-ndjson)"
    if name is not None:
        chosen = next((each for each in FORMATS if each.name == name), None)
        if chosen is None:
            raise NotAcceptableError("format", f"there is no format {quoted(name)}; {there_are}")
        return chosen
    ranges = [_media_range(text) for text in accept.split(",")] if accept else [("*/*", 1.0)]
    best = max(FORMATS, key=lambda each: _quality(each.media_type, ranges))
    if _quality(best.media_type, ranges) == 0:
        raise NotAcceptableError("Accept", there_are)
    return best


def _media_range(text: str) -> tuple[str, float]:
    media_range, *parameters = [part.strip().lower() for part in text.split(";")]
    weights = [match[1] for part in parameters if (match := re.fullmatch(r"q=([01](?:\.[0-9]{0,3})?)", part))]
    return media_range, float(weights[0]) if weights else 1.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    for fitting in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        weights = [weight for media_range, weight in ranges if media_range == fitting]
        if weights:
            return max(weights)
    return 0.0
