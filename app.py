"""The switchboard: every stream, schedule and route of Highwater, each body one line.

They are declared here and not in Chalice Blueprints: a Blueprint's handler is packaged under its own module path, and
the application's middleware is then skipped in Lambda. Consumers take the raw event (`event.to_dict()`), for Chalice's
own record classes drop the shard.
"""

from typing import Any, cast

from chalice.app import (
    AuthRequest,
    AuthResponse,
    Chalice,
    CloudWatchEvent,
    ConvertToMiddleware,
    DynamoDBEvent,
    IAMAuthorizer,
    KinesisEvent,
    Rate,
    Request,
    Response,
    SQSEvent,
)

from chalicelib import wiring
from chalicelib.cors import cors
from chalicelib.settings import ApiAuth

app = Chalice(app_name="highwater")
for around in wiring.around_invocations():
    app.register_middleware(ConvertToMiddleware(around))


@app.on_kinesis_record(
    stream=wiring.settings().events_stream,
    batch_size=10_000,
    maximum_batching_window_in_seconds=1,
    starting_position="TRIM_HORIZON",
)
def ingest(event: KinesisEvent) -> dict[str, Any]:
    return wiring.ingest.answer(event.to_dict(), event.context)


@app.on_dynamodb_record(
    stream_arn=wiring.stream_arn_placeholder(wiring.settings().orders_table),
    batch_size=1_000,
    maximum_batching_window_in_seconds=1,
    starting_position="TRIM_HORIZON",
)
def capture(event: DynamoDBEvent) -> dict[str, Any]:
    return wiring.capture.answer(event.to_dict(), event.context)


@app.on_dynamodb_record(
    stream_arn=wiring.stream_arn_placeholder(wiring.settings().aggregates_table),
    batch_size=10_000,
    maximum_batching_window_in_seconds=30,
    starting_position="TRIM_HORIZON",
)
def rollup(event: DynamoDBEvent) -> dict[str, Any]:
    return wiring.rollup.answer(event.to_dict(), event.context)


@app.on_dynamodb_record(
    stream_arn=wiring.stream_arn_placeholder(wiring.settings().aggregates_table),
    batch_size=10_000,
    maximum_batching_window_in_seconds=1,
    starting_position="TRIM_HORIZON",
)
def fan_out(event: DynamoDBEvent) -> dict[str, Any]:
    return wiring.fan_out.answer(event.to_dict(), event.context)


def filters() -> dict[str, list[str]]:
    """By function, the patterns that its mapping has; Chalice has no argument for them."""
    return wiring.filters.patterns()


@app.schedule(Rate(1, unit=Rate.MINUTES))
def tick(event: CloudWatchEvent) -> dict[str, Any]:
    return wiring.tick.answer(event.context)


@app.on_sqs_message(queue=f"highwater-{wiring.settings().stage}-redrive", batch_size=10, maximum_concurrency=2)
def redrive(event: SQSEvent) -> dict[str, Any]:
    return wiring.redrive.answer(event.to_dict(), event.context)


@app.lambda_function()
def check_release(event: dict[str, Any], context: Any) -> dict[str, Any]:
    return wiring.check_release.answer(event, context)


@app.authorizer(ttl_seconds=wiring.settings().api_tokens_max_age_ms // 1000)
def authorize(request: AuthRequest) -> AuthResponse:
    return wiring.authorize.answer(request)


ACCESS = {ApiAuth.TOKEN: authorize, ApiAuth.IAM: IAMAuthorizer(), ApiAuth.NONE: None}[wiring.settings().api_auth]
CORS = cors(wiring.settings().api_cors_origin)
PUBLIC = {"content_types": ["*/*"]}  # a GET has no content, whatever type it says it is of
GUARDED = {**PUBLIC, "authorizer": ACCESS, "cors": CORS}


def _request() -> Request:
    return cast("Request", app.current_request)


@app.route("/", **PUBLIC)
def dashboard() -> Response:
    return wiring.api.dashboard_page(_request())


@app.route("/assets/{version}/{name}", **PUBLIC)
def dashboard_asset(version: str, name: str) -> Response:
    return wiring.api.dashboard_asset(version, name, _request())


@app.route("/v1/metrics", **GUARDED)
def metrics() -> Response:
    return wiring.api.answer_caller(_request(), lambda query, grant: query.list_metrics(grant))


@app.route("/v1/metrics/{metric}", **GUARDED)
def metric(metric: str) -> Response:
    return wiring.api.answer_caller(_request(), lambda query, grant: query.describe_metric(grant, metric))


@app.route("/v1/metrics/{metric}/windows", **GUARDED)
def windows(metric: str) -> Response:
    return wiring.api.windows(metric, _request(), app.lambda_context)


@app.route("/v1/dead-letters", **GUARDED)
def dead_letters() -> Response:
    return wiring.api.dead_letters(_request(), app.lambda_context)


@app.route("/v1/stream", **GUARDED)
def stream() -> Response:
    return wiring.api.stream(_request(), app.lambda_context)


@app.route("/v1/health", **PUBLIC)
def health() -> Response:
    return wiring.api.answer(_request(), lambda query: query.health())


@app.route("/openapi.json", cors=CORS, **PUBLIC)
def openapi() -> Response:
    return wiring.api.openapi(_request())


wiring.prepare()
