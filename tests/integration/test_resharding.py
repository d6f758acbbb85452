"""Resharding for real: a Kinesis that splits and merges shards under load, before the real ingest in real processes.

    shard 0 ──┬── lower ──────────────▶         split, then merged while the producer goes on putting:
              └── upper ──┐                     the producer's map of the shards is out of date twice
    shard 1 ──────────────┴── merged ─▶

Real here: the producer, `app.ingest` in Lambda's runtime client, the event source mapping with the options that are
declared for it (batches smaller, some delivered twice), tick, the queries. Emulated: Kinesis by kinesis-local, DynamoDB
and S3 by MiniStack.
"""

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import orjson
import pytest
from aws_kinesis_agg.aggregator import AggRecord

from chalicelib.access.grant import EVERYTHING
from chalicelib.aggregates.windows import format_instant
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.aws.clients import CONFIG
from chalicelib.aws.events_stream import EventsStream
from chalicelib.consumers.tick import TICK_TYPE, Tick
from chalicelib.query import http
from chalicelib.query.endpoints import Query
from chalicelib.reading.completeness import complete_until
from chalicelib.records.kpl import deaggregate, is_aggregate
from chalicelib.records.shard import Shard
from chalicelib.wiring.stage import CATALOG
from loadtest.producer import Encoding, Producer
from loadtest.producer.shards import hash_key
from localstage import declarations, source
from localstage.aws import client, environment_variables, session
from localstage.kinesis import KinesisSource
from localstage.plan import Planner
from localstage.poller import EventSourceMapping
from localstage.redelivery import Redelivery
from localstage.runtime import Answer, Function
from ops import resources
from ops.template import intrinsic_values, load, resolved
from tests.builders import DAY_MS, MINUTE_MS, order
from tests.integration.kinesis_local import server
from tests.integration.kinesis_local.server import KinesisLocal

PROJECT_DIR = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 60  # for one step on a busy machine; each takes some seconds
CALL_MS = 10_000
USERS = 50
AGGREGATED, PLAIN = 32, 8  # events a round
REDELIVERED = 0.2  # of the batches


def now_ms() -> int:
    return int(time.time() * 1000)


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.05)


@dataclass(frozen=True)
class Delivery:
    """One batch given to the function, with when it began and ended."""

    shard_id: str
    sequence_numbers: tuple[str, ...]
    began: float
    ended: float
    is_committed: bool


class WatchedFunction:
    """A function that notes what it is given, and that can be held, so that its shards fall behind."""

    def __init__(self, function: Function) -> None:
        self.spec = function.spec
        self.begun: set[str] = set()  # shards that have asked for an invocation, held or not
        self.deliveries: list[Delivery] = []
        self._function = function
        self._may_go = threading.Event()
        self._may_go.set()

    def invoke(self, event: bytes) -> Answer:
        records = orjson.loads(event)["Records"]
        (shard_id,) = {record["eventID"].partition(":")[0] for record in records}
        numbers = tuple(record["kinesis"]["sequenceNumber"] for record in records)
        self.begun.add(shard_id)
        self._may_go.wait()
        began = time.monotonic()
        answer = self._function.invoke(event)
        is_committed = not answer.function_error and json.loads(answer.payload) == {"batchItemFailures": []}
        self.deliveries.append(Delivery(shard_id, numbers, began, time.monotonic(), is_committed))
        return answer

    def of(self, shard_id: str) -> list[Delivery]:
        return [delivery for delivery in self.deliveries if delivery.shard_id == shard_id]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Begin no invocation meanwhile; those under way go on to their end."""
        self._may_go.clear()
        try:
            yield
        finally:
            self._may_go.set()

    def close(self) -> None:
        self._function.close()
        self._may_go.set()


class WatchedSource(KinesisSource):
    """A stream that notes how often the mapping has been told of each shard."""

    def __init__(self, *arguments: str) -> None:
        super().__init__(*arguments)
        self.times_listed: Counter[str] = Counter()

    def shards(self) -> list[source.Shard]:
        shards = super().shards()
        self.times_listed.update(shard.shard_id for shard in shards)
        return shards

    def has_been_listed(self, *shards: Shard) -> bool:
        """Whether the mapping has seen these shards, and has had the time to begin with them if it would."""
        return all(self.times_listed[shard.shard_id] > 1 for shard in shards)


class Stage:
    """A stage whose stream is on kinesis-local and whose ingest runs."""

    def __init__(
        self, name: str, kinesis: Any, endpoint_url: str, watched: WatchedSource, function: WatchedFunction
    ) -> None:
        self.stream = f"highwater-{name}-events"
        self.kinesis = kinesis
        self.source = watched
        self.function = function
        dynamodb = session().client("dynamodb", endpoint_url=endpoint_url, config=CONFIG)
        self.table = AggregatesTable(dynamodb, f"highwater-{name}-aggregates", CATALOG, stage_lateness_ms=DAY_MS)
        self._events_stream = EventsStream(kinesis, self.stream)
        self._dead_letters = (client("s3", endpoint_url), f"highwater-{name}-dead-letters")
        self._query = Query(
            CATALOG,
            stage=name,
            stream=self.stream,
            lateness_ms=DAY_MS,
            shares=self.table,
            progress=self.table,
            settled=self.table,
            shards=self._events_stream,
            letters=None,
            clock_ms=now_ms,
        )
        self._began_ms = now_ms()

    # ---- shards

    def shards(self) -> list[Shard]:
        return self._events_stream.list_shards(CALL_MS)

    def open_shards(self) -> list[Shard]:
        """In the order of their hash keys."""
        return sorted((shard for shard in self.shards() if shard.is_open), key=lambda each: int(each.starting_hash_key))

    def split(self, shard: Shard) -> list[Shard]:
        """Split it in the middle; its children, the lower first."""
        middle = (int(shard.starting_hash_key) + int(shard.ending_hash_key) + 1) // 2
        wait_until_active(self.kinesis, self.stream)
        self.kinesis.split_shard(StreamName=self.stream, ShardToSplit=shard.shard_id, NewStartingHashKey=str(middle))
        return [child for child in self.open_shards() if shard.shard_id in child.parents]

    def merge(self, lower: Shard, upper: Shard) -> Shard:
        wait_until_active(self.kinesis, self.stream)
        self.kinesis.merge_shards(
            StreamName=self.stream, ShardToMerge=lower.shard_id, AdjacentShardToMerge=upper.shard_id
        )
        (merged,) = [child for child in self.open_shards() if lower.shard_id in child.parents]
        return merged

    # ---- what is on the stream, and what has become of it

    def records(self) -> dict[str, list[dict[str, Any]]]:
        """Every record of the stream, by shard."""
        records: dict[str, list[dict[str, Any]]] = {}
        for shard in self.shards():
            position = {"ShardId": shard.shard_id, "ShardIteratorType": "TRIM_HORIZON"}
            iterator = self.kinesis.get_shard_iterator(StreamName=self.stream, **position).get("ShardIterator")
            read = records[shard.shard_id] = []
            while iterator:
                page = self.kinesis.get_records(ShardIterator=iterator, Limit=10_000)
                read += page["Records"]
                iterator = page.get("NextShardIterator") if page["Records"] else None
        return records

    def tick(self) -> None:
        assert Tick(self._events_stream)(now_ms(), lambda: CALL_MS).failed == 0

    def complete_until(self) -> int | None:
        return complete_until(self.shards(), self.table.read_progress(self.stream, CALL_MS))

    def is_complete_past(self, instant_ms: int) -> bool:
        return (self.complete_until() or 0) > instant_ms

    def catch_up(self) -> None:
        """Tick, and wait until the answers hold all that was accepted before; nothing else is waited for."""
        accepted_ms = max(
            int(record["ApproximateArrivalTimestamp"].timestamp() * 1000)
            for records in self.records().values()
            for record in records
        )
        time.sleep(0.01)  # a tick of the same millisecond as the last event would not move beyond it
        self.tick()
        wait_until(lambda: self.is_complete_past(accepted_ms), "complete_until moves past the last event")

    def answer(self, metric: str, by: str, measures: Sequence[str]) -> dict[str, tuple[Any, ...]]:
        """What the API would answer for the whole time of the test: the measures, by group."""
        start_ms = self._began_ms // MINUTE_MS * MINUTE_MS
        end_ms = now_ms() // MINUTE_MS * MINUTE_MS + MINUTE_MS
        parameters = {
            "start": [format_instant(start_ms)],
            "end": [format_instant(end_ms)],
            "step": ["all"],
            "group_by": [by],
        }
        settled = http.respond(lambda: self._query.windows(EVERYTHING, metric, parameters, None, lambda: CALL_MS))
        assert settled.status == 200, settled.body
        rows = json.loads(settled.body, parse_float=Decimal)["data"]
        return {row[by]: tuple(row[measure] for measure in measures) for row in rows}

    def dead_letters(self) -> list[str]:
        s3, bucket = self._dead_letters
        return [listed["Key"] for listed in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def wait_until_active(kinesis: Any, stream: str) -> None:
    def status() -> str:
        return kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"]

    wait_until(lambda: status() == "ACTIVE", "the stream is active")


@pytest.fixture(scope="module")
def kinesis_local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KinesisLocal]:
    server.require()
    with KinesisLocal(tmp_path_factory.mktemp("kinesis") / "kinesis.log") as running:
        yield running


@pytest.fixture(scope="module")
def run_stage(
    kinesis_local: KinesisLocal, endpoint_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str, int], Stage]]:
    """Makes a stage of this name and number of shards, which runs until the module's end."""
    kinesis = client("kinesis", kinesis_local.endpoint_url)
    with ExitStack() as running:

        def run(name: str, shards: int) -> Stage:
            template = load(PROJECT_DIR)
            there = resources.ensure(
                name,
                endpoint_url=endpoint_url,
                session=session(),
                shards=1,  # of MiniStack's stream, which nobody uses
                template=template,
                outputs=intrinsic_values(template),
            )
            environment = {
                **environment_variables(endpoint_url),
                "AWS_ENDPOINT_URL_KINESIS": kinesis_local.endpoint_url,
                "STAGE": name,
            }
            smaller_batches = {"ingest": {"batch_size": 40, "batching_window_ms": 200}}
            planner = Planner(PROJECT_DIR, name, resolved(template, there.outputs), environment, smaller_batches)
            plan = planner.plan(declarations.read(PROJECT_DIR, planner.app_environment()))
            (ingest,) = plan.kinesis
            kinesis.create_stream(StreamName=ingest.stream, ShardCount=shards)
            wait_until_active(kinesis, ingest.stream)
            log_path = tmp_path_factory.mktemp(name) / "ingest.log"
            function = WatchedFunction(Function(ingest.function, log_path))
            watched = WatchedSource(
                kinesis_local.endpoint_url, ingest.stream, ingest.starting_position, ingest.role_arn
            )
            mapping = EventSourceMapping(
                source=watched,
                function=function,  # type: ignore[arg-type]
                options=ingest.options,
                destination=None,
                redelivery=Redelivery(REDELIVERED),
            )
            mapping.start()
            running.callback(mapping.join)
            running.callback(function.close)
            running.callback(mapping.stop)
            return Stage(name, kinesis, endpoint_url, watched, function)

        yield run


class Load(threading.Thread):
    """A producer service that puts orders, aggregated and plain, in rounds, until the block ends."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(name="load", daemon=True)
        self.accepted_rounds = 0
        self.round_of: dict[str, int] = {}  # by event id
        self.by_currency: dict[str, Counter[str]] = defaultdict(Counter)
        self.by_user: dict[str, Counter[str]] = defaultdict(Counter)
        self.producer = Producer(stage.kinesis, stage.stream, encoding=Encoding.AGGREGATE)
        self._error: Exception | None = None
        self._stopping = threading.Event()

    def has_reached(self, *shards: Shard) -> bool:
        """Whether the stream has put some of these events on each of the shards."""
        assert self._error is None
        return {shard.shard_id for shard in shards} <= self.producer.receipt.last_sequence_numbers.keys()

    def wait_for_rounds(self, count: int) -> None:
        """Wait until so many more rounds have been accepted."""
        accepted = self.accepted_rounds + count
        wait_until(lambda: self._error or self.accepted_rounds >= accepted, "the load goes on")
        assert self._error is None

    def run(self) -> None:
        try:
            with self.producer:
                while not self._stopping.wait(0.05):
                    self._put_a_round()
        except Exception as error:  # noqa: BLE001 (raised again where the test sees it)
            self._error = error

    def _put_a_round(self) -> None:
        for place in range(AGGREGATED + PLAIN):
            number = len(self.round_of)
            amount, currency = Decimal(number % 9_973 + 1) / 100, ("EUR", "USD", "GBP")[number % 3]
            user_id = f"user-{number % USERS}"
            event = order(number, time=format_instant(now_ms()), amount=amount, user_id=user_id, currency=currency)
            self.round_of[event["id"]] = self.accepted_rounds
            for sums in (self.by_currency[currency], self.by_user[user_id]):
                sums.update({"count": 1, "amount": amount})  # type: ignore[dict-item]
            self.producer.put(event, Encoding.AGGREGATE if place < AGGREGATED else Encoding.PLAIN)
        self.producer.flush()
        self.accepted_rounds += 1

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stopping.set()
        self.join()
        if self._error:
            raise self._error


def test_every_event_is_counted_once_through_a_split_and_a_merge_under_load(run_stage) -> None:
    stage = run_stage("reshard", 2)
    first, second = stage.open_shards()
    with Load(stage) as load:
        wait_until(lambda: stage.function.of(first.shard_id) and stage.function.of(second.shard_id), "both are read")
        stage.tick()
        wait_until(stage.complete_until, "complete_until is known")

        with stage.function.held():
            held_ms = now_ms()
            load.wait_for_rounds(2)  # the parent's children have to wait for it
            lower, upper = stage.split(first)
            wait_until(lambda: load.has_reached(lower, upper), "both children have records")
            wait_until(lambda: stage.source.has_been_listed(lower, upper), "the mapping knows the children")
            assert 0 < (stage.complete_until() or 0) <= held_ms, "known, and no later than what can be committed"
            assert not stage.function.begun & {lower.shard_id, upper.shard_id}
            split_ms = now_ms()
        stage.tick()
        wait_until(lambda: stage.is_complete_past(split_ms), "complete_until moves past the split")

        with stage.function.held():
            held_ms = now_ms()
            load.wait_for_rounds(2)
            merged = stage.merge(upper, second)
            wait_until(lambda: load.has_reached(merged), "the merged shard has records")
            wait_until(lambda: stage.source.has_been_listed(merged), "the mapping knows the merged shard")
            assert split_ms < (stage.complete_until() or 0) <= held_ms, "known, and no later than what can be committed"
            assert merged.shard_id not in stage.function.begun
            merged_ms = now_ms()
        stage.tick()
        wait_until(lambda: stage.is_complete_past(merged_ms), "complete_until moves past the merge")
        load.wait_for_rounds(2)
    stage.catch_up()

    assert stage.answer("orders", "currency", ["count", "revenue"]) == totals(load.by_currency)
    assert stage.answer("customers", "user_id", ["orders", "spend"]) == totals(load.by_user)
    assert stage.dead_letters() == []

    records = stage.records()
    assert {shard.shard_id: shard.is_open for shard in stage.shards()} == {
        first.shard_id: False,
        second.shard_id: False,
        lower.shard_id: True,
        upper.shard_id: False,
        merged.shard_id: True,
    }
    last_numbers = {shard_id: read[-1]["SequenceNumber"] for shard_id, read in records.items()}
    progress = stage.table.read_progress(stage.stream, CALL_MS)
    assert {each.shard_id: each.sequence_number for each in progress} == last_numbers
    some_batches_were_delivered_twice(stage)
    children_began_when_their_parents_were_drained(stage, last_numbers)
    only_the_round_that_told_of_the_split_lies_in_the_wrong_child(load, records, lower, upper)


def totals(sums_by_group: Mapping[str, Counter[str]]) -> dict[str, tuple[int, Decimal]]:
    return {group: (sums["count"], Decimal(sums["amount"])) for group, sums in sums_by_group.items()}


def some_batches_were_delivered_twice(stage: Stage) -> None:
    committed = (delivery for delivery in stage.function.deliveries if delivery.is_committed)
    times = Counter((delivery.shard_id, delivery.sequence_numbers) for delivery in committed)
    assert max(times.values()) > 1


def children_began_when_their_parents_were_drained(stage: Stage, last_numbers: Mapping[str, str]) -> None:
    for child in stage.shards():
        began = min(delivery.began for delivery in stage.function.of(child.shard_id))
        for parent_id in child.parents:
            of_parent = stage.function.of(parent_id)
            assert any(last_numbers[parent_id] in each.sequence_numbers for each in of_parent if each.is_committed)
            assert max(delivery.ended for delivery in of_parent) <= began, (parent_id, child.shard_id)


def only_the_round_that_told_of_the_split_lies_in_the_wrong_child(
    load: Load, records: Mapping[str, Sequence[Mapping[str, Any]]], lower: Shard, upper: Shard
) -> None:
    """The producer promises that all events of a record hash into one shard, as far as it knows the shards."""
    rounds, astray = set(), set()
    for child in (lower, upper):
        for event in (event for record in records[child.shard_id] for event in events_in(record["Data"])):
            rounds.add(load.round_of[event["id"]])
            hashed = hash_key(event["data"]["user_id"])
            if not int(child.starting_hash_key) <= hashed <= int(child.ending_hash_key):
                astray.add(load.round_of[event["id"]])
    assert astray == {min(rounds)}


def events_in(data: bytes) -> list[dict[str, Any]]:
    """The orders in a record; no ticks."""
    events = [orjson.loads(payload) for payload in (deaggregate(data).payloads if is_aggregate(data) else [data])]
    return [event for event in events if event["type"] != TICK_TYPE]


# ---- what a producer sends again around a reshard


def put_plain(stage: Stage, event: Mapping[str, Any], user_id: str) -> str:
    """Put the event as one record under its user's key. Returns: the shard that took it."""
    put = stage.kinesis.put_record(StreamName=stage.stream, PartitionKey=user_id, Data=orjson.dumps(event))
    return put["ShardId"]


def put_kpl_aggregate(stage: Stage, events: Sequence[Mapping[str, Any]], explicit_hash_key: str) -> str:
    """Put one record as the KPL does: user records under their user's key, itself under "a" and an explicit hash key.

    Returns: the shard that took it.
    """
    aggregate = AggRecord()
    for event in events:
        aggregate.add_user_record(event["data"]["user_id"], orjson.dumps(event))
    put = stage.kinesis.put_record(
        StreamName=stage.stream,
        PartitionKey="a",
        ExplicitHashKey=explicit_hash_key,
        Data=aggregate.get_contents()[2],
    )
    return put["ShardId"]


def order_of(user_id: str) -> dict[str, Any]:
    return order(user_id, time=format_instant(now_ms()), amount=1, user_id=user_id)


def test_an_event_sent_again_after_a_split_counts_once(run_stage) -> None:
    stage = run_stage("sent-again", 1)
    (parent,) = stage.open_shards()
    events = {user_id: order_of(user_id) for user_id in (f"user-{number}" for number in range(8))}
    assert {put_plain(stage, event, user_id) for user_id, event in events.items()} == {parent.shard_id}
    children = {child.shard_id for child in stage.split(parent)}
    assert {put_plain(stage, event, user_id) for user_id, event in events.items()} == children
    stage.catch_up()
    assert stage.answer("customers", "user_id", ["orders", "spend"]) == dict.fromkeys(events, (1, 1))
    assert stage.dead_letters() == []


def test_what_the_kpl_sends_again_after_a_split_counts_once(run_stage) -> None:
    stage = run_stage("kpl", 1)
    lower, upper = stage.split(*stage.open_shards())
    events = {user_id: order_of(user_id) for user_id in (f"user-{number}" for number in range(8))}
    astray = {user_id for user_id in events if hash_key(user_id) >= int(upper.starting_hash_key)}
    assert astray
    assert astray != events.keys()

    # Filled before the split, for the parent; the stream gives it to the lower child, whatever is in it.
    assert put_kpl_aggregate(stage, list(events.values()), lower.starting_hash_key) == lower.shard_id
    stage.catch_up()
    counted = stage.answer("customers", "user_id", ["orders", "spend"])
    assert counted == dict.fromkeys(events.keys() - astray, (1, 1)), "those of the upper child wait for the KPL"

    sent_again = [events[user_id] for user_id in astray]
    assert put_kpl_aggregate(stage, sent_again, upper.starting_hash_key) == upper.shard_id
    stage.catch_up()
    assert stage.answer("customers", "user_id", ["orders", "spend"]) == dict.fromkeys(events, (1, 1))
    assert stage.dead_letters() == []
