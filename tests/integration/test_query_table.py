"""Questions to a table that was written as ingest writes it: what is read, what it costs, what stops a read."""

import json
import time
from decimal import Decimal

import boto3
import pytest
from moto import mock_aws

from chalicelib.access.grant import EVERYTHING
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.aws.events_stream import EventsStream
from chalicelib.consumers.ports import Committed, PartialPut
from chalicelib.errors import TransientError
from chalicelib.query import http
from chalicelib.query.endpoints import Query
from chalicelib.reading.ports import ReadPlan
from chalicelib.records.batch import Record
from chalicelib.records.sequence import position
from tests.unit.query.shop import CATALOG, DAY_MS, MEASURES, NOW_MS, SALES, START_MS, Sale, Sold, sold, store

TABLE, STREAM = "aggregates", "events"
MINUTES, WRITERS = 1440, ("shard-0", "shard-1")
# A day of minutes up to 21:00, each seen by both writers.
A_DAY = [
    Sold(START_MS + 3_600_000 - DAY_MS + minute * 60_000, Sale("a", "x", Decimal("0.10")), writer)
    for minute in range(MINUTES)
    for writer in WRITERS
]


SOLD_AT_HALF_PAST = [sold(1800, shop, clerk) for shop in "bcdef" for clerk in "yz"]
AN_HOUR = ReadPlan(SALES, SALES.window_ms, tuple(range(SALES.buckets * SALES.spread)), START_MS, START_MS + 3_600_000)


@pytest.fixture(scope="module", autouse=True)
def aws():
    with mock_aws():
        yield


@pytest.fixture(scope="module")
def client(aws):
    client = boto3.client("dynamodb")
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


@pytest.fixture(scope="module")
def table(client):
    table = AggregatesTable(client, TABLE, CATALOG, stage_lateness_ms=DAY_MS)
    put_all(table, "totals", A_DAY)
    put_all(table, "sales", [*A_DAY[-60:], *SOLD_AT_HALF_PAST])
    return table


@pytest.fixture(scope="module")
def stream(aws):
    kinesis = boto3.client("kinesis")
    kinesis.create_stream(StreamName=STREAM, ShardCount=2)
    return EventsStream(kinesis, STREAM)


def put_all(table, metric, sales):
    puts = [PartialPut(key, None, partial) for key, partial in store(sales).items() if key.metric == metric]
    outcomes = table.put_partials(puts, timeout_ms=120_000)
    assert all(isinstance(outcome, Committed) for outcome in outcomes)


def ask(table, stream, metric="totals", *, remaining_ms=60_000, catalog=CATALOG, **parameters):
    query = Query(
        catalog,
        stage="test",
        stream=STREAM,
        lateness_ms=DAY_MS,
        shares=table,
        progress=table,
        settled=table,
        shards=stream,
        letters=None,
        clock_ms=lambda: NOW_MS,
    )
    given = {name: value if isinstance(value, list) else [value] for name, value in parameters.items()}
    return http.respond(lambda: query.windows(EVERYTHING, metric, given, None, lambda: remaining_ms))


def document(answer):
    assert answer.status == 200, answer.body
    return json.loads(answer.body, parse_float=Decimal)


def test_a_day_of_minutes_reads_no_more_items_than_windows_times_writers(table, stream):
    answer = document(ask(table, stream, start="2026-11-22T21:00:00Z", end="2026-11-23T21:00:00Z", limit="10000"))
    assert answer["rows"] == MINUTES
    assert answer["statistics"]["items_read"] <= MINUTES * len(WRITERS)
    assert sum(row["n"] for row in answer["data"]) == len(A_DAY)
    assert sum(row["total"] for row in answer["data"]) == len(A_DAY) * Decimal("0.10")


def test_a_day_is_one_row_and_exact(table, stream):
    day = {"start": "2026-11-22T21:00:00Z", "end": "2026-11-23T21:00:00Z", "step": "all"}
    assert '"total":288.00,' in ask(table, stream, **day).body
    by_shop = document(ask(table, stream, "sales", group_by="shop", order_by="-n", **day))["data"]
    assert [row["shop"] for row in by_shop] == ["a", "b", "c", "d", "e", "f"]
    assert by_shop[0]["total"] == 6


def test_windows_are_read_from_start_up_to_end(table, stream):
    minute = {"start": "2026-11-23T20:10:00Z", "end": "2026-11-23T20:11:00Z"}
    answer = document(ask(table, stream, **minute))
    assert [row["window_start"] for row in answer["data"]] == ["2026-11-23T20:10:00Z"]
    assert answer["statistics"]["items_read"] == len(WRITERS)


def test_a_named_group_is_read_from_its_own_bucket(table, stream):
    minute = {"start": "2026-11-23T20:30:00Z", "end": "2026-11-23T20:31:00Z", "group_by": "shop,clerk"}
    every = document(ask(table, stream, "sales", **minute))
    one = document(ask(table, stream, "sales", where=["shop:b", "clerk:y"], **minute))
    assert one["data"] == [row for row in every["data"] if (row["shop"], row["clerk"]) == ("b", "y")]
    assert one["statistics"]["items_read"] < every["statistics"]["items_read"]


def test_an_answer_is_as_complete_as_the_shard_furthest_behind(table, stream):
    assert document(ask(table, stream))["complete_until"] is None
    for number, shard in enumerate(stream.list_shards(30_000), 1):
        last = Record("7", position("7"), "key", START_MS + number * 1000, b"")
        table.advance(STREAM, shard.shard_id, last, 30_000)
    assert document(ask(table, stream))["complete_until"] == "2026-11-23T20:00:01Z"


def test_a_read_that_has_no_time_is_a_reason_to_come_again(table, stream):
    answer = ask(table, stream, remaining_ms=0)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


def test_a_metric_redefined_under_its_name_is_a_conflict(client, stream):
    redefined = Metric(name="totals", event_type="sale", measures={"n": MEASURES["n"]})
    catalog = Catalog({"sale": Sale}, [redefined])
    other = AggregatesTable(client, TABLE, catalog, stage_lateness_ms=DAY_MS)
    assert ask(other, stream, catalog=catalog).status == 409


def test_shares_are_handed_over_one_at_a_time(table):
    inside, most, shares = 0, 0, []

    def take(plan, share):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        shares.append(share)
        inside -= 1

    cost = table.read_shares([AN_HOUR], take, 60_000)
    assert cost.items_read == len(shares) > len(A_DAY[-60:])
    assert most == 1


def test_nothing_is_handed_over_once_a_read_has_failed(table):
    taken = []

    def take_slowly(plan, share):
        time.sleep(0.1)
        taken.append(share)

    with pytest.raises(TransientError, match="out of time"):
        table.read_shares([AN_HOUR], take_slowly, timeout_ms=300)
    taken_in_time = len(taken)
    time.sleep(0.3)
    assert len(taken) == taken_in_time < 60


def test_what_the_taker_raises_ends_the_read(table):
    def refuse(plan, share):
        raise LookupError(share.window_start_ms)

    with pytest.raises(LookupError):
        table.read_shares([AN_HOUR], refuse, 60_000)
