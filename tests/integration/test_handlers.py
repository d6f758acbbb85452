"""The functions as Lambda calls them: `app.ingest(event, context)`, with AWS by moto in process."""

import shutil
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import boto3
import orjson
import pytest
from chalice.app import Request
from moto import mock_aws

import app
from chalicelib import wiring
from chalicelib.access.grant import EVERYTHING, Grant, context_of
from chalicelib.aggregates.partial import Partial, PartialKey
from chalicelib.aggregates.windows import format_instant
from chalicelib.aws import clients
from chalicelib.consumers.handle import Handling
from chalicelib.consumers.ports import Done, PartialPut
from chalicelib.consumers.result_message import MESSAGE_BYTES_MAX
from chalicelib.records.compression import ZSTD_MAGIC
from chalicelib.wiring import decoder, stores
from chalicelib.wiring.stage import CATALOG, HANDLERS
from ops import dead_letters
from ops.subscription import subscription
from tests.builders import (
    DAY_MS,
    MINUTE_MS,
    NOON_MS,
    ORDERS_TABLE,
    SHARD,
    aggregated,
    create_table,
    json_line,
    key_change,
    lambda_event,
    letter,
    letters_object,
    order,
    record,
    table_change,
)
from tests.lambda_process import Context, forget, logged
from tests.unit.query.shop import read_json

STREAM = "highwater-test-events"
PROJECT = Path(app.__file__).parent
SECRET = "a-payload-that-must-not-be-logged"


SCHEDULED = {
    "version": "0",
    "account": "000000000000",
    "region": "us-east-1",
    "detail": {},
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "time": "2026-11-24T12:00:00Z",
    "id": "1",
    "resources": [],
}


@pytest.fixture
def stage():
    with mock_aws():
        for table in ("aggregates", "ids"):
            create_table(boto3.client("dynamodb"), f"highwater-test-{table}")
        boto3.client("s3").create_bucket(Bucket="highwater-test-dead-letters")
        boto3.client("kinesis").create_stream(StreamName=STREAM, ShardCount=3)
        forget()
        yield
        forget()


@pytest.fixture
def output(capsys):
    """What the handler printed, logs and metrics, parsed: a function of no arguments."""
    with logged() as log:
        yield lambda: [orjson.loads(line) for line in (capsys.readouterr().out + log.getvalue()).splitlines()]


def put_on_the_stream():
    """The payloads that the stream's shards hold."""
    kinesis = boto3.client("kinesis")
    iterators = [
        kinesis.get_shard_iterator(StreamName=STREAM, ShardId=each["ShardId"], ShardIteratorType="TRIM_HORIZON")
        for each in kinesis.list_shards(StreamName=STREAM)["Shards"]
    ]
    answers = [kinesis.get_records(ShardIterator=each["ShardIterator"]) for each in iterators]
    return [each["Data"] for answer in answers for each in answer["Records"]]


def test_changes_of_the_orders_table_are_captured_and_counted_and_nothing_of_them_is_logged(stage, output):
    row = {"order_id": SECRET, "status": "open", "amount": 5}
    captured = {"Records": [table_change(None, row), {"eventID": SECRET}, table_change(row, None, event_id="change-2")]}
    assert app.capture(captured, Context()) == {"batchItemFailures": []}
    batch = lambda_event(put_on_the_stream())
    assert len(batch["Records"]) == 2
    assert app.ingest(batch, Context()) == {"batchItemFailures": []}
    kept = boto3.client("s3").list_objects_v2(Bucket="highwater-test-dead-letters")["Contents"]
    (key,) = [each["Key"] for each in kept]
    assert key.startswith(f"dead-letters/{ORDERS_TABLE}/1970-01-01/changes/unnumbered-")

    lines = output()
    assert SECRET not in str(lines)
    (log,) = [line for line in lines if line.get("message") == "changes captured"]
    assert (log["table"], log["records"], log["captured"], log["dead_letters"]) == (ORDERS_TABLE, 3, 2, {"invalid": 1})
    assert [line["CapturedChanges"] for line in lines if "CapturedChanges" in line] == [[2.0]]
    (counted,) = [line for line in lines if line.get("message") == "batch committed"]
    assert (counted["events"], counted["dead_letters"]) == (2, {})


def test_a_batch_is_counted_and_its_numbers_are_published_without_any_payload(stage, output):
    poison = orjson.dumps({"type": SECRET, "data": SECRET})
    batch = lambda_event([json_line(order(1, user_id=SECRET)), poison, aggregated(json_line(order(2, amount=-1)))])
    assert app.ingest(batch, Context()) == {"batchItemFailures": []}
    table = stores.aggregates_table()
    assert [progress.sequence_number for progress in table.read_progress(STREAM, 30_000)] == ["3"]

    lines = output()
    assert SECRET not in str(lines)
    (log,) = [line for line in lines if line.get("message") == "batch committed"]
    assert (log["shard_id"], log["records"], log["events"]) == (SHARD, 3, 1)
    assert log["function_request_id"] == Context.aws_request_id
    emf = [line for line in lines if "_aws" in line]
    (numbers,) = [line for line in emf if "Batches" in line]
    assert (numbers["Records"], numbers["Events"], numbers["Rebases"], numbers["FailedBatches"]) == ([3], [1], [0], [0])
    assert (numbers["Duplicates"], numbers["Effects"], numbers["IdsHeld"]) == ([0], [0], [1])
    assert numbers["CommitTime"][0] > 0
    by_reason = {line["reason"]: line["DeadLetters"] for line in emf if "reason" in line}
    assert by_reason == {"unknown type": [1.0], "invalid": [1.0]}
    assert numbers["DeadLetters"] == [2.0]


def test_every_metric_has_the_dimensions_service_and_stage_in_every_invocation(stage, output):
    poison = lambda_event([orjson.dumps({"type": SECRET})])
    for _ in range(2):
        app.ingest(poison, Context())
    app.tick(SCHEDULED, Context())
    dimensions = {"service": "highwater", "stage": "test"}
    emf = [line for line in output() if "_aws" in line]
    for line in emf:
        (published,) = line["_aws"]["CloudWatchMetrics"]
        (named,) = published["Dimensions"]
        assert published["Namespace"] == "Highwater"
        assert set(named) - set(dimensions) <= {"reason", "duty"}
        assert {name: line.get(name) for name in dimensions} == dimensions
        assert len(set(named)) == len(named) >= len(dimensions)
    in_total = [line["DeadLetters"] for line in emf if set(line) >= {"DeadLetters", "Batches"}]
    alone = [line["DeadLetters"] for line in emf if "reason" in line]
    assert in_total == alone == [[1.0], [1.0]]


def test_a_batch_that_cannot_be_committed_is_checkpointed_and_says_so_without_any_payload(stage, output):
    boto3.client("dynamodb").delete_table(TableName="highwater-test-aggregates")
    batch = lambda_event([json_line(order(1, user_id=SECRET))])
    assert app.ingest(batch, Context()) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    lines = output()
    assert SECRET not in str(lines)
    (log,) = [line for line in lines if line.get("message") == "batch committed in part"]
    assert (log["level"], log["failed_sequence_number"]) == ("ERROR", "1")
    assert log["errors"] == {"ResourceNotFoundException": log["partials"]}


def test_a_tick_reaches_every_shard_and_moves_its_progress(stage, output):
    assert app.tick(SCHEDULED, Context()) == {"shards": 3, "failed": 0}
    kinesis = boto3.client("kinesis")
    for shard in kinesis.list_shards(StreamName=STREAM)["Shards"]:
        position = {"ShardId": shard["ShardId"], "ShardIteratorType": "TRIM_HORIZON"}
        iterator = kinesis.get_shard_iterator(StreamName=STREAM, **position)["ShardIterator"]
        (put,) = kinesis.get_records(ShardIterator=iterator)["Records"]
        arrived_at_ms = int(put["ApproximateArrivalTimestamp"].timestamp() * 1000)
        batch = lambda_event([put["Data"]], shard=shard["ShardId"], arrived_at_ms=arrived_at_ms)
        assert app.ingest(batch, Context()) == {"batchItemFailures": []}
    assert len(stores.aggregates_table().read_progress(STREAM, 30_000)) == 3
    ticks = [line for line in output() if "Ticks" in line]
    assert [(line["Ticks"], line["TicksFailed"]) for line in ticks] == [([3], [0])]


def put_ticks_and_count(*payloads):
    """A minute's tick on every shard, and what ingest is given of each: these payloads on all of them."""
    assert app.tick(SCHEDULED, Context()) == {"shards": 3, "failed": 0}
    now_ms = int(time.time() * 1000)
    for number, shard in enumerate(boto3.client("kinesis").list_shards(StreamName=STREAM)["Shards"]):
        batch = lambda_event(payloads[number : number + 1], shard=shard["ShardId"], arrived_at_ms=now_ms)
        assert app.ingest(batch, Context()) == {"batchItemFailures": []}


def test_a_tick_raises_the_alerts_of_windows_that_are_over_by_the_threshold_set_in_ssm(stage, output):
    ssm = boto3.client("ssm")
    for alert, threshold in (("much_revenue", "24.99"), ("orders_collapsed", SECRET), ("nobody", "1")):
        ssm.put_parameter(Name=f"/highwater/test/alerts/{alert}/threshold", Value=threshold, Type="String")
    over = format_instant(int(time.time() * 1000) - 5 * MINUTE_MS)
    put_ticks_and_count(*(json_line(order(number, time=over)) for number in range(3)))
    for _ in range(2):
        assert app.tick(SCHEDULED, Context()) == {"shards": 3, "failed": 0}
    items = boto3.client("dynamodb").scan(TableName="highwater-test-aggregates")["Items"]
    (alert,) = [item for item in items if item["pk"]["S"].startswith("alert#")]
    assert (alert["pk"]["S"], alert["value"]["S"], alert["threshold"]["S"]) == ("alert#much_revenue", "37.5", "24.99")
    assert alert["group"]["M"] == {"currency": {"S": "USD"}}

    lines = output()
    assert SECRET not in str(lines)
    assert [line["AlertsRaised"] for line in lines if "AlertsRaised" in line] == [[1.0]]
    assert {line["alert"] for line in lines if "ThresholdsRefused" in line} == {"orders_collapsed"}
    told = [
        (set(line["ThresholdsUnread"]), set(line["ThresholdsUnknown"])) for line in lines if "ThresholdsUnread" in line
    ]
    assert told == [({0}, {1})]


def test_dead_letters_go_back_on_the_stream_and_a_message_that_fails_is_named_without_any_payload(stage, output):
    s3, key = boto3.client("s3"), f"dead-letters/{STREAM}/2026-11-24/{SHARD}/7.jsonl.gz"
    s3.put_object(Bucket="highwater-test-dead-letters", Key=key, Body=letters_object(letter(SECRET.encode())))
    bodies = [orjson.dumps({"key": key}).decode(), SECRET]
    event = {"Records": [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]}
    assert app.redrive(event, Context()) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    listed = s3.list_objects_v2(Bucket="highwater-test-dead-letters")["Contents"]
    assert [each["Key"] for each in listed] == [f"redriven/{key}"]

    lines = output()
    assert SECRET not in str(lines)
    (log,) = [line for line in lines if line.get("message") == "redriven in part"]
    assert (log["outcomes"], log["letters"]) == ({"redriven": 1, "bad message": 1}, {"invalid": 1})
    by_outcome = {line["outcome"]: line["Redrives"] for line in lines if "outcome" in line}
    assert by_outcome == {"redriven": [1.0], "bad message": [1.0]}


def test_the_handlers_run_as_they_are_wired_and_a_batch_without_effects_pays_nothing_for_them(stage, monkeypatch):
    boto3.client("dynamodb").create_table(
        TableName="highwater-test-idempotency",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    topic_arn = boto3.client("sns").create_topic(Name="highwater-test-results")["TopicArn"]
    monkeypatch.setenv("RESULTS_TOPIC_ARN", topic_arn)
    wiring.settings.cache_clear()
    try:
        events = decoder.make_decoder(CATALOG, DAY_MS, 0)
        small, large = (events.decode(record(json_line(order(amount=amount)))) for amount in (4_999, 5_000))
        handling = Handling(HANDLERS, events)
        wiring.ingest.effects().register_lambda_context(Context())
        assert wiring.ingest.effects().run_all(handling.effects_of([small]).due, 30_000) == []
        assert not clients.sns.cache_info().currsize
        effects = [due.effect for due in handling.effects_of([small, large]).due]
        assert [wiring.ingest.effects().run_all(effects, 30_000) for _ in range(2)] == [[Done()], [Done()]]
    finally:
        wiring.settings.cache_clear()
    (item,) = boto3.client("dynamodb").scan(TableName="highwater-test-idempotency")["Items"]
    remembered_s = int(item["expiration"]["N"]) - time.time()
    assert 7 * 86_400 < remembered_s <= 7 * 86_400 + 15 * 60 + 1


@pytest.fixture
def results(stage, monkeypatch):
    """The stage's topic of results, with a subscriber: the bodies of what it has got."""
    sns, sqs = boto3.client("sns"), boto3.client("sqs")
    topic_arn = sns.create_topic(Name="highwater-test-results")["TopicArn"]
    monkeypatch.setenv("RESULTS_TOPIC_ARN", topic_arn)
    wiring.settings.cache_clear()
    with subscription(sns, sqs, "test") as messages:
        yield lambda: list(map(orjson.loads, messages.receive(wait_seconds=0)))
    wiring.settings.cache_clear()


def ask(metric, **parameters):
    """The answer of the API to a windows request, its decimals as they are written."""
    request = Request(
        {
            "multiValueQueryStringParameters": {name: [value] for name, value in parameters.items()},
            "headers": {},
            "pathParameters": {"metric": metric},
            "requestContext": {
                "httpMethod": "GET",
                "resourcePath": "/v1/metrics/{metric}/windows",
                "authorizer": context_of(Grant("test", ("*",), NOON_MS * 2)),
            },
            "body": None,
            "stageVariables": None,
            "isBase64Encoded": False,
        }
    )
    answer = wiring.api.windows(metric, request, Context())
    assert answer.status_code == 200, answer.body
    return read_json(answer.body)


def test_different_customers_and_quantiles_of_orders_are_counted_once_and_told_with_their_error(stage):
    orders = [
        json_line(order(number, user_id=f"user-{number % users}", amount=number, currency=currency))
        for currency, users, numbers in (("EUR", 30, range(1, 101)), ("USD", 7, range(101, 201)))
        for number in numbers
    ]
    for shard, payloads in ((SHARD, orders[::2]), ("shardId-000000000001", orders[1::2])):
        for _ in range(2):  # the second time by a container that knows nothing
            wiring.ingest.make.cache_clear()
            assert app.ingest(lambda_event(payloads, shard=shard), Context()) == {"batchItemFailures": []}
    hour = {"start": "2026-11-24T11:00:00Z", "end": "2026-11-24T12:00:00Z", "step": "all", "group_by": "currency"}

    told = ask("customers_distinct", **hour)
    assert [(row["currency"], row["customers"]) for row in told["data"]] == [("EUR", 30), ("USD", 7)]
    error = {"kind": "relative", "bound": Decimal("0.0163"), "confidence": Decimal("0.95")}
    assert told["meta"][2] == {"name": "customers", "type": "integer", "error": error}

    told = ask("order_value", **hour, measures="count,p50,p95,p99")
    rows = [(row["currency"], row["count"], row["p50"], row["p95"], row["p99"]) for row in told["data"]]
    assert rows == [("EUR", 100, 50, 95, 99), ("USD", 100, 150, 195, 199)]
    error = {"kind": "rank", "bound": Decimal("0.0105"), "confidence": Decimal("0.99")}
    assert told["meta"][2:] == [
        {"name": "count", "type": "integer"},
        *({"name": name, "type": "decimal", "error": error} for name in ("p50", "p95", "p99")),
    ]
    items = boto3.client("dynamodb").scan(TableName="highwater-test-aggregates")["Items"]
    stored = [
        item["groups"]["B"] for item in items if item["pk"]["S"].startswith(("customers_distinct", "order_value"))
    ]
    assert len(stored) == 2 * 4
    assert all(groups.startswith(ZSTD_MAGIC) for groups in stored)


def stored_changes():
    """Lambda's event of all that is stored in the aggregates table."""
    items = boto3.client("dynamodb").scan(TableName="highwater-test-aggregates")["Items"]
    keys = [(item["pk"]["S"], item["sk"]["S"]) for item in items]
    return {"Records": [key_change(*key, str(number)) for number, key in enumerate(sorted(keys), 1)]}


def test_what_is_counted_is_rolled_up_and_published_and_nothing_of_it_is_logged(results, output):
    batch = lambda_event([json_line(order(number, order_type=SECRET, amount=number)) for number in (1, 2)])
    assert app.ingest(batch, Context()) == {"batchItemFailures": []}
    assert app.rollup(stored_changes(), Context()) == {"batchItemFailures": []}
    assert app.fan_out(stored_changes(), Context()) == {"batchItemFailures": []}
    told = {(message["metric"], message["window_start"][11:16]): message for message in results()}
    assert sorted(told) == [("orders", "11:00"), ("orders", "11:59")]
    (row,) = told["orders", "11:59"]["rows"]
    assert (row["order_type"], row["count"], row["revenue"]) == (SECRET, 2, 3)
    assert told["orders", "11:00"]["rows"] == told["orders", "11:59"]["rows"]

    lines = output()
    assert SECRET not in str(lines)
    (rolled_up,) = [line for line in lines if line.get("message") == "changes rolled up"]
    assert rolled_up["rollups"] == 4  # the hour of each metric of orders: days ago, so that it may have been settled
    (fanned_out,) = [line for line in lines if line.get("message") == "changes fanned out"]
    assert (fanned_out["windows"], fanned_out["published"], fanned_out["refused"]) == (2, 2, 0)
    (numbers,) = [line for line in lines if "ResultsPublished" in line]
    assert (numbers["ResultsPublished"], numbers["ResultsFailed"], numbers["FanOutBatchesFailed"]) == ([2], [0], [0])


def test_a_result_that_sns_refuses_is_listed_as_a_dead_letter_and_the_batch_is_done(results, output, capsys):
    group = ("EUR", "x" * MESSAGE_BYTES_MAX)
    key = PartialKey("orders", 0, NOON_MS, "writer")
    partial = Partial("1", 1, {group: (1, Decimal(1), Decimal(1), Decimal(1))})
    stores.aggregates_table().put_partials([PartialPut(key, None, partial)], 30_000)
    assert app.fan_out(stored_changes(), Context()) == {"batchItemFailures": []}
    assert results() == []
    (log,) = [line for line in output() if line.get("message") == "changes fanned out"]
    assert (log["published"], log["refused"]) == (0, 1)
    listed = orjson.loads(wiring.api.make().dead_letters(EVERYTHING, {}, lambda: 30_000).body)
    assert [(each["reason"], each["count"]) for each in listed["counts"]] == [("unsendable", 1)]
    assert (listed["examples"][0]["shard_id"], listed["examples"][0]["sequence_number"]) == ("fan_out", "1")
    assert dead_letters.main(["--stage", "test"]) == dead_letters.SHOWN
    assert "unsendable" in capsys.readouterr().out


def test_results_that_cannot_be_published_are_checkpointed(results, output):
    assert app.ingest(lambda_event([json_line(order())]), Context()) == {"batchItemFailures": []}
    sns = boto3.client("sns")
    sns.delete_topic(TopicArn=sns.list_topics()["Topics"][0]["TopicArn"])
    changes = stored_changes()
    checkpoint = next(
        change["dynamodb"]["SequenceNumber"]
        for change in changes["Records"]
        if change["dynamodb"]["Keys"]["pk"]["S"].startswith("orders")
    )
    assert app.fan_out(changes, Context()) == {"batchItemFailures": [{"itemIdentifier": checkpoint}]}
    (log,) = [line for line in output() if line.get("message") == "changes fanned out in part"]
    assert (log["level"], log["errors"]) == ("ERROR", {"NotFound": 1})


@pytest.mark.parametrize("utility", ["idempotency", "parameters"])
def test_what_only_effects_or_alerts_need_is_not_imported_at_a_cold_start(utility):
    asked = f"import app, sys; print('aws_lambda_powertools.utilities.{utility}' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", asked], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("right", "wrong", "error"),
    [
        ('Sum("amount")', 'Sum("ammount")', "metric 'orders': its event has no field 'ammount' to measure"),
        (
            'measure="count", rule=',
            'measure="cuont", rule=',
            "alert 'orders_collapsed': its metric has no measure 'cuont'",
        ),
        (
            "@handles(OrderPlaced,",
            "@handles(Struct,",
            "handler 'announce_large_order': no event type has the data Struct",
        ),
    ],
)
def test_a_mistake_in_the_definitions_is_refused_when_the_app_is_imported(tmp_path, right, wrong, error):
    shutil.copytree(PROJECT / "chalicelib", tmp_path / "chalicelib")
    shutil.copy(PROJECT / "app.py", tmp_path)
    definitions = tmp_path / "chalicelib" / "definitions.py"
    definitions.write_text(definitions.read_text().replace(right, wrong))
    done = subprocess.run(
        [sys.executable, "-c", "import app"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert error in done.stderr.splitlines()[-1]
