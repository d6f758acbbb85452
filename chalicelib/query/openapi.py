"""The OpenAPI 3.1 description of the HTTP API, made of what requests are checked by and answers are written from.

Parameters are `query.parameters`, documents the structs that answers are, problems those of `query.http`: what is
declared nowhere else is here, a line for each operation. The description names no metric, for anybody may read it.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct

from chalicelib.http import PROBLEM_MEDIA_TYPE, ProblemAnswer
from chalicelib.query.dead_letters import DeadLettersAnswer
from chalicelib.query.describe import HealthAnswer, MetricDescription, MetricsAnswer, StreamAnswer
from chalicelib.query.formats import FORMATS, JSON, WindowsAnswer
from chalicelib.query.http import PROBLEMS
from chalicelib.query.parameters import DEAD_LETTERS_PARAMETERS, WINDOWS_PARAMETERS, Parameter

API_VERSION = "1.0.0"  # of what is under /v1; it changes when an asker could notice
SCHEMAS = "#/components/schemas/{name}"

METRIC = {
    "name": "metric",
    "in": "path",
    "required": True,
    "description": "The metric's name; `GET /v1/metrics` tells which there are.",
    "schema": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "description": "The `ETag` of an answer that the asker has: 304 and no content if it is still the answer.",
    "schema": {"type": "string"},
}
HEADERS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "Cache-Control": (
        "How long the answer may be kept: an hour if nothing can change it any more.",
        {"type": "string"},
    ),
    "ETag": ("What tells this answer from another.", {"type": "string"}),
    "Highwater-Complete-Until": (
        "Each event that the stream accepted before this instant is in the answer; absent while it is not known.",
        {"type": "string", "format": "date-time"},
    ),
    "Link": ('The next page, if there is one: `<?…>; rel="next"`.', {"type": "string"}),
    "Retry-After": ("After how many seconds to ask again.", {"type": "integer"}),
    "WWW-Authenticate": ("How to authenticate.", {"type": "string"}),
}
CACHING = ("Cache-Control", "ETag")
PROBLEM_TITLES = {problem.status: problem.title for _, problem in PROBLEMS}
PROBLEM_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
ACCESS_STATUSES = {401, 403, 404, 503}  # 404: API Gateway's for a request that is not signed and should be
GATEWAY_STATUSES = (413, 429, 500, 502, 504)  # of whatever operation, by API Gateway or where the function has failed


class Operation(Struct, frozen=True):
    """A GET of one path.

    Shapes: statuses are those of its problems; answer_headers names what HEADERS describes.
    """

    path: str
    name: str
    summary: str
    answer: type[Struct]
    statuses: tuple[int, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    answer_headers: tuple[str, ...] = ()
    media_types: tuple[str, ...] = (JSON.media_type,)
    is_of_a_metric: bool = False
    is_public: bool = False


OPERATIONS = (
    Operation("/v1/metrics", "listMetrics", "The metrics that the asker may read.", MetricsAnswer, (), (), CACHING),
    Operation(
        "/v1/metrics/{metric}",
        "describeMetric",
        "One metric: its dimensions, measures and windows.",
        MetricDescription,
        (404,),
        (),
        CACHING,
        is_of_a_metric=True,
    ),
    Operation(
        "/v1/metrics/{metric}/windows",
        "getWindows",
        "The metric's windows in a range: a row for each window and group.",
        WindowsAnswer,
        (400, 404, 406, 409, 503),
        WINDOWS_PARAMETERS,
        (*CACHING, "Highwater-Complete-Until", "Link"),
        tuple(each.media_type for each in FORMATS),
        is_of_a_metric=True,
    ),
    Operation(
        "/v1/dead-letters",
        "getDeadLetters",
        "What could not be counted, by day and reason, with examples without their payload.",
        DeadLettersAnswer,
        (400, 503),
        DEAD_LETTERS_PARAMETERS,
    ),
    Operation("/v1/stream", "getStream", "How far each shard of the events stream is counted.", StreamAnswer, (503,)),
    Operation("/v1/health", "getHealth", "That requests are answered.", HealthAnswer, is_public=True),
)


def describe_api(security: Mapping[str, Any] | None) -> dict[str, Any]:
    """Make the description.

    Shapes: security is the OpenAPI security scheme of the operations that are not public; None: they need none.
    """
    answers = {operation.answer for operation in OPERATIONS}
    _, schemas = msgspec.json.schema_components((*answers, ProblemAnswer), ref_template=SCHEMAS)
    for schema in schemas.values():
        schema["description"] = schema["description"].partition("\n")[0]  # what follows is for programmers
    components: dict[str, Any] = {
        "schemas": schemas,
        "headers": {name: {"description": text, "schema": schema} for name, (text, schema) in HEADERS.items()},
    }
    if security:
        components["securitySchemes"] = {"access": security}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Highwater",
            "version": API_VERSION,
            "summary": "Exact windowed aggregates of a stream, with how complete they are.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "servers": [{"url": "."}],
        "paths": {operation.path: {"get": _describe(operation, security)} for operation in OPERATIONS},
        "components": components,
    }


def _describe(operation: Operation, security: Mapping[str, Any] | None) -> dict[str, Any]:
    is_cached = "ETag" in operation.answer_headers
    parameters: list[Mapping[str, Any]] = [METRIC] if operation.is_of_a_metric else []
    parameters += [_describe_parameter(parameter) for parameter in operation.parameters]
    parameters += [IF_NONE_MATCH] if is_cached else []
    headers = {name: {"$ref": f"#/components/headers/{name}"} for name in operation.answer_headers}
    responses: dict[str, Any] = {
        "200": {
            "description": (operation.answer.__doc__ or "").partition("\n")[0],
            "headers": headers,
            "content": {media_type: _content(media_type, operation) for media_type in operation.media_types},
        }
    }
    if is_cached:
        responses["304"] = {"description": "What the asker has is still the answer.", "headers": headers}
    statuses = {*operation.statuses, *GATEWAY_STATUSES}
    if security and not operation.is_public:
        statuses |= ACCESS_STATUSES
    responses |= {str(status): _problem(status) for status in sorted(statuses)}
    return {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses,
        "security": [] if operation.is_public or not security else [{"access": []}],
    }


def _describe_parameter(parameter: Parameter) -> dict[str, Any]:
    schema: Mapping[str, Any] = parameter.schema
    if parameter.is_repeatable:
        schema = {"type": "array", "items": schema}
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "schema": schema,
        "example": [parameter.example] if parameter.is_repeatable else parameter.example,
    }


def _content(media_type: str, operation: Operation) -> dict[str, Any]:
    is_json = media_type == JSON.media_type
    return {"schema": {"$ref": SCHEMAS.format(name=operation.answer.__name__)} if is_json else {"type": "string"}}


def _problem(status: int) -> dict[str, Any]:
    return {
        "description": PROBLEM_TITLES.get(status, HTTPStatus(status).phrase),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in PROBLEM_HEADERS.get(status, ())},
        "content": {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": SCHEMAS.format(name=ProblemAnswer.__name__)}}},
    }
