"""What is read off a Chalice application."""

from typing import Any

from chalice.app import Chalice, CORSConfig, Cron, CustomAuthorizer, IAMAuthorizer, Rate

from localstage.declarations import IAM, Authorizer, DynamoDBTrigger, KinesisTrigger, Schedule, SqsTrigger, declared_by

app = Chalice(app_name="sample")


@app.on_kinesis_record(
    stream="events", batch_size=500, maximum_batching_window_in_seconds=2, starting_position="LATEST"
)
def ingest(event: Any) -> None: ...


@app.schedule(Rate(5, unit=Rate.MINUTES))
def tick(event: Any) -> None: ...


@app.schedule(Cron(0, 3, "*", "*", "?", "*"))
def at_night(event: Any) -> None: ...


@app.on_dynamodb_record(
    stream_arn="arn:of-a-stream", batch_size=50, maximum_batching_window_in_seconds=1, starting_position="TRIM_HORIZON"
)
def rollup(event: Any) -> None: ...


@app.on_sqs_message(queue="jobs", batch_size=7, maximum_concurrency=2)
def work(event: Any) -> None: ...


@app.on_sqs_message(queue_arn="arn:aws:sqs:us-east-1:0:others")
def other_work(event: Any) -> None: ...


@app.route("/plain", methods=["GET", "POST"])
def plain() -> None: ...


@app.route("/shared", methods=["GET"], cors=CORSConfig(allow_origin="https://example.org", max_age=60))
def shared() -> None: ...


@app.authorizer(ttl_seconds=60)
def check(request: Any) -> None: ...


@app.authorizer(header="X-Token")
def check_elsewhere(request: Any) -> None: ...


@app.route("/guarded", methods=["GET"], authorizer=check)
def guarded() -> None: ...


@app.route("/signed", methods=["GET"], authorizer=IAMAuthorizer())
def signed() -> None: ...


@app.route("/custom", methods=["GET"], authorizer=CustomAuthorizer("custom", "arn:of-a-function"))
def custom() -> None: ...


declared = declared_by(app)


def test_streams_are_read_with_their_options() -> None:
    assert declared.kinesis == [KinesisTrigger("ingest", "app.ingest", "events", 500, 2, "LATEST")]
    assert declared.dynamodb == [DynamoDBTrigger("rollup", "app.rollup", "arn:of-a-stream", 50, 1, "TRIM_HORIZON")]


def test_queues_are_read_by_name_or_by_arn() -> None:
    assert declared.sqs == [
        SqsTrigger("work", "app.work", "jobs", 7, 2),
        SqsTrigger("other_work", "app.other_work", "others", 1, None),
    ]


def test_schedules_at_a_rate_are_read_in_seconds() -> None:
    assert declared.schedules == [Schedule("tick", "app.tick", 300)]


def test_triggers_that_are_not_served_are_named() -> None:
    assert declared.unserved == ["at_night", "authorizer of /custom"]


def test_routes_are_read_with_their_methods() -> None:
    assert declared.api.routes["/plain"] == ["GET", "POST"]
    assert declared.api.routes["/shared"] == ["GET"]
    assert "application/octet-stream" in declared.api.binary_types


def test_a_preflight_request_gets_what_the_route_allows() -> None:
    assert declared.api.preflight_headers == {
        "/shared": {
            "Access-Control-Allow-Origin": "https://example.org",
            "Access-Control-Allow-Headers": "Authorization,Content-Type,X-Amz-Date,X-Amz-Security-Token,X-Api-Key",
            "Access-Control-Max-Age": "60",
            "Access-Control-Allow-Methods": "GET,OPTIONS",
        }
    }


def test_routes_are_read_with_what_lets_requests_in() -> None:
    assert declared.api.guards["/plain"] == {}
    assert [declared.api.guards[path]["GET"] for path in ("/guarded", "/signed", "/custom")] == ["check", IAM, "custom"]
    assert declared.api.authorizers == [
        Authorizer("check", "app.check", 60, "Authorization"),
        Authorizer("check_elsewhere", "app.check_elsewhere", 300, "X-Token"),
    ]
