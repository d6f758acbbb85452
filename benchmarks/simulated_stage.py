"""A stage in this process: the real consumers on tables in memory, each second of a minute, everything counted.

Ingest has a container a shard, as Lambda gives it one, and a batch each batching window. The changes of the
aggregates table go to as many shards of its stream as the table would have partitions; of each, fan-out takes a batch
a second and rollup one in 30 seconds, or as soon as 10 000 changes wait, of those changes that the filters of their
mappings let through. Tick runs once a
minute, and its records are ingested.

A minute is one of many: before it there was another, long enough ago for all that has to be found once to be known. It
ends within its hour; the hour is settled besides. That reads each minute's shares once, so those of this one count;
what it takes besides comes once an hour, so a sixtieth of it does. What is not there: handlers' effects, dead letters,
late events, the final messages of hours, and days.

CPU is this process's own, all threads, while a consumer runs.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from functools import partial as bind
from math import ceil
from time import process_time
from typing import Any, TypeVar
from zlib import crc32

import orjson
from msgspec import Struct, field
from msgspec.structs import astuple

from benchmarks.capacity import CountingClient
from benchmarks.ingest_cpu import NoEffects, OneShard
from benchmarks.memory_dynamodb import Item, MemoryDynamoDB
from benchmarks.orders import aggregated, lambda_event, orders
from chalicelib import definitions
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aws.aggregates_filters import fan_out_patterns, rollup_patterns
from chalicelib.aws.aggregates_keys import alert_of, window_of
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.aws.alerts_table import AlertsTable
from chalicelib.aws.ids_table import IdsTable
from chalicelib.consumers.alerts import Alerts
from chalicelib.consumers.counted_ids import CountedIds
from chalicelib.consumers.fan_out import FanOut
from chalicelib.consumers.final_results import FinalResults
from chalicelib.consumers.ingest import Ingest
from chalicelib.consumers.ports import (
    Message,
    Published,
    StoredChange,
    StreamRecord,
    ThresholdsRead,
)
from chalicelib.consumers.publish import Publish
from chalicelib.consumers.rollup import RollUp
from chalicelib.consumers.settle import Duty, Settle, SettleAll
from chalicelib.consumers.tick import Tick
from chalicelib.records.shard import Shard
from chalicelib.wiring.decoder import make_decoder
from chalicelib.wiring.stage import WATCHED
from localstage.filters import filter_of
from localstage.source import EncodedRecord

T = TypeVar("T")

STREAM = "highwater-bench-events"  # as `benchmarks.orders` names it
AGGREGATES, IDS = "aggregates", "ids"
FUNCTIONS = ("ingest", "fan_out", "rollup", "tick")
STARTED_MS = 1_795_471_080_000  # the last minute but one of an hour
MINUTE_S, HOUR_MS = 60, 3_600_000
MINUTES_AN_HOUR = 60
LATENESS_MS = 10_000  # so that the minute is settled by the tick after the next; what lateness is costs nothing
SPREAD_MS = 900  # of an event's time before its arrival: a batch of a second is of one window, but for the first
ROLLUP_SECONDS, CHANGES_MAX = 30, 10_000  # of the mappings in app.py
PARTITION_WRITE_UNITS = 1_000  # a second, of DynamoDB
PARTITIONS_FIRST = 4  # of a table that is on demand
PUBLISH_BYTES, PUT_PAYLOAD_BYTES = 64 * 1024, 25 * 1024
REMAINING_MS = 10**9
FIRST_SEQUENCE_NUMBER = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898
SEQUENCE_NUMBER_STEP = (1 << 80) + (1 << 38) + 977  # as neighbours on a shard of Kinesis differ


class Spent(Struct):
    """What one function has taken. Units: cpu_s, seconds of CPU; publishes of SNS, of 64 KB each."""

    invocations: int = 0
    cpu_s: float = 0.0
    requests: float = 0
    write_units: float = 0
    read_units: float = 0.0
    publishes: int = 0


class Load(Struct, frozen=True):
    """What a stage is given.

    Shapes: events, of each shard, a batch each `batch_seconds`; seconds, at most a minute. Of shards, `ingesting` are
            ingested; each stands for others besides, whose partials and progress are put as its own are: they have the
            same load, so ingest would come to the same. All else reads what all of them have put.
    """

    shards: int = 1
    ingesting: int = 10
    events: int = 100
    batch_seconds: int = 1
    seconds: int = MINUTE_S
    customers: int = 1_000
    events_per_record: int = 200

    @property
    def others(self) -> int:
        """For how many others each shard that is ingested stands."""
        return self.shards // min(self.shards, self.ingesting) - 1


class Spending(Struct):
    """What a load has come to.

    Shapes: by function; tables, write units by table; partition_writes, write units a second by partition key, on
            average. changes are batches as rollup was given them.
    """

    events: int
    seconds: int
    shards: int
    records: int
    put_payload_units: int
    functions: dict[str, Spent]
    tables: dict[str, float]
    partition_writes: dict[str, float]
    changes: list[list[StoredChange]] = field(default_factory=list)


class SimulatedStage:
    """One stage. Shapes: metrics, with buckets and spread as an adopter of so many shards would set them."""

    def __init__(self, metrics: Sequence[Metric], load: Load, *, partitions: int = PARTITIONS_FIRST) -> None:
        self.catalog = Catalog(definitions.EVENT_TYPES, metrics)
        self.database = MemoryDynamoDB(self._note)
        self._load = load
        self._partitions = partitions
        self._clients: dict[str, CountingClient] = {}
        self._spent = {name: Spent() for name in FUNCTIONS}
        self._filters = {
            "fan_out": _of_keys(fan_out_patterns(self.catalog, WATCHED)),
            "rollup": _of_keys(rollup_patterns(self.catalog)),
        }
        self._waiting: dict[str, defaultdict[int, list[StoredChange]]] = {
            name: defaultdict(list) for name in self._filters
        }
        self._changes: list[list[StoredChange]] = []
        self._put: list[Item] = []
        self._now_ms = STARTED_MS
        self._topic = _Topic()
        self._stream = _Stream([f"shardId-{number:012d}" for number in range(load.shards)])
        self._partition_writes: Counter[str] = Counter()
        self.rollup = self.make_rollup("rollup")
        self._fan_out = self._make_fan_out()
        self._tick, self._settle = Tick(self._stream), self._make_settle()
        self._ingests = self._make_ingests(self._stream.shard_ids[: load.ingesting])
        self._sequence_number = FIRST_SEQUENCE_NUMBER

    def run(self, tell: Callable[[], None] = lambda: None) -> Spending:
        """Give it the load. Shapes: tell is called once for each second."""
        load, records, payload_units = self._load, 0, 0
        self._warm_up()
        for second in range(load.seconds):
            self._now_ms = STARTED_MS + (second + 1) * 1_000 - 1
            if (second + 1) % load.batch_seconds == 0:
                payloads = self._payloads()
                payload_units += load.shards * sum(-(-len(payload) // PUT_PAYLOAD_BYTES) for payload in payloads)
                records += load.shards * len(payloads)
                self._ingest(payloads)
            self._carry_on("fan_out", is_due=True)
            self._carry_on("rollup", is_due=second % ROLLUP_SECONDS == ROLLUP_SECONDS - 1)
            tell()
        self._now_ms = STARTED_MS + 2 * MINUTE_S * 1_000
        self._run_tick()
        self._carry_on("fan_out", is_due=True)
        self._carry_on("rollup", is_due=True)
        for name, spent in self._spent.items():
            client = self.client(name)
            spent.requests = client.requests.total()
            spent.write_units = client.write_units.total()
            spent.read_units = sum(client.read_units.values())
        self._settle_hour()
        of_ingest, stand_for = self._spent["ingest"], 1 + load.others
        self._spent["ingest"] = Spent(*(stand_for * count for count in astuple(of_ingest)))
        ids = stand_for * self.client("ingest").write_units[IDS]
        tables = {IDS: ids, AGGREGATES: sum(spent.write_units for spent in self._spent.values()) - ids}
        writes = {partition: units / load.seconds for partition, units in self._partition_writes.items()}
        return Spending(
            load.events * load.shards * (load.seconds // load.batch_seconds),
            load.seconds,
            load.shards,
            records,
            payload_units,
            dict(self._spent),
            tables,
            writes,
            self._changes,
        )

    def client(self, name: str) -> CountingClient:
        """The client of one function, which counts for it."""
        return self._clients.setdefault(name, CountingClient(self.database))

    def table(self, name: str) -> AggregatesTable:
        """The aggregates table, as one function has it."""
        return AggregatesTable(self.client(name), AGGREGATES, self.catalog, LATENESS_MS)  # type: ignore[arg-type]

    def make_rollup(self, name: str) -> RollUp:
        """The rollups, with what they take counted under this name."""
        table = self.table(name)
        # As long as the load lasts its hours are open, as they are where the lateness is a day.
        return RollUp(self.catalog, LATENESS_MS, table, table, clock_ms=lambda: STARTED_MS, watched=WATCHED)

    def _payloads(self) -> list[bytes]:
        """The records of a batch; of every shard the same, which no shard can tell."""
        load = self._load
        made = orders(
            load.events,
            customers=load.customers,
            spread_ms=load.batch_seconds * SPREAD_MS,
            seed=self._now_ms,
            arrived_at_ms=self._now_ms,
        )
        return aggregated(made, load.events_per_record)

    def _ingest(self, payloads: list[bytes]) -> None:
        for shard_id, ingest in self._ingests.items():
            event = lambda_event(
                payloads,
                self._sequence_number,
                SEQUENCE_NUMBER_STEP,
                shard_id=shard_id,
                arrived_at_ms=self._now_ms,
            )
            report = self._timed("ingest", bind(ingest, event, _remaining_ms))
            if report.failed_sequence_number:
                raise RuntimeError(f"a batch failed: {dict(report.errors)}")
        self._sequence_number += len(payloads) * SEQUENCE_NUMBER_STEP

    def _warm_up(self) -> None:
        """Count an hour before, and have all that lies before the minute settled; nothing of it is counted here."""
        self._now_ms = STARTED_MS - HOUR_MS
        self._ingest(self._payloads())
        self._now_ms = STARTED_MS + LATENESS_MS
        self._run_tick()
        for client in self._clients.values():
            client.requests.clear()
            client.write_units.clear()
            client.read_units.clear()
        for waiting in self._waiting.values():
            waiting.clear()
        self._spent = {name: Spent() for name in FUNCTIONS}
        self._partition_writes.clear()
        self._topic.publishes = 0

    def _settle_hour(self) -> None:
        """Settle the hour, with its one minute, and add to tick what of that is a minute's."""
        minutes, hour = "tick: the hour's minutes", "tick: the hour"
        roll_up = RollUp(
            self.catalog, LATENESS_MS, self.table(minutes), self.table(hour), clock_ms=lambda: self._now_ms
        )
        settle = Settle(self.catalog.metrics.values(), roll_up, self.table(hour))
        started = process_time()
        settle(STARTED_MS + HOUR_MS, _remaining_ms)
        spent = self._spent["tick"]
        spent.cpu_s += process_time() - started
        of_minutes, of_hour = self.client(minutes), self.client(hour)
        spent.read_units += sum(of_minutes.read_units.values())
        spent.read_units += sum(of_hour.read_units.values()) / MINUTES_AN_HOUR
        spent.write_units += of_hour.write_units.total() / MINUTES_AN_HOUR
        spent.requests += (of_minutes.requests.total() + of_hour.requests.total()) / MINUTES_AN_HOUR

    def _run_tick(self) -> None:
        self._timed("tick", lambda: self._tick(self._now_ms, _remaining_ms))
        self._ingest([self._stream.ticks[0].data])
        self._spent["tick"].invocations -= 1  # both are one
        self._timed("tick", lambda: self._settle(_remaining_ms))
        self._spent["tick"].publishes = self._topic.publishes - self._spent["fan_out"].publishes

    def _carry_on(self, name: str, *, is_due: bool) -> None:
        """Give a function of the table's stream what waits for it, if its batching window is over or a batch full."""
        for partition, changes in list(self._waiting[name].items()):
            while changes and (is_due or len(changes) >= CHANGES_MAX):
                batch, changes[:] = changes[:CHANGES_MAX], changes[CHANGES_MAX:]
                published = self._topic.publishes
                function: Any = self._fan_out if name == "fan_out" else self.rollup
                report: Any = self._timed(name, bind(function, batch, _remaining_ms))
                self._spent[name].publishes += self._topic.publishes - published
                if name == "rollup":
                    self._changes.append(batch)
                if report.failed_sequence_number:
                    raise RuntimeError(f"{name} of partition {partition} failed: {dict(report.errors)}")

    def _timed(self, name: str, work: Callable[[], T]) -> T:
        started = process_time()
        done = work()
        self._spent[name].cpu_s += process_time() - started
        self._spent[name].invocations += 1
        self._pass_on()
        return done

    def _note(self, table: str, item: Item) -> None:
        if table == AGGREGATES:
            self._put.append(item)

    def _pass_on(self) -> None:
        """Have the table's stream tell of what was put, and put what other shards put at the same time."""
        put, self._put = self._put, []
        for item in put:
            self._tell(item)
            for other in self._others_of(item):
                self.database.keep(AGGREGATES, other)
                self._tell(other)

    def _others_of(self, item: Item) -> Iterator[Item]:
        """What the shards put that the one stands for that has put this."""
        start, _, writer = item["sk"]["S"].rpartition("#")
        prefix, _, shard_id = writer.rpartition("/")
        if not shard_id.startswith("shardId-"):
            return
        name, step, _ = item["pk"]["S"].split("#")
        metric = self.catalog.metrics.get(name)
        number, ingested = int(shard_id.removeprefix("shardId-")), len(self._ingests)
        for other in range(number + ingested, self._load.shards, ingested):
            other_id = f"shardId-{other:012d}"
            if metric is None:  # progress
                yield {**item, "sk": {"S": other_id}}
                continue
            other_writer = f"{prefix}/{other_id}"
            partition = metric.partition_of(int(item["pk"]["S"].rpartition("#")[2]) // metric.spread, other_writer)
            yield {**item, "pk": {"S": f"{name}#{step}#{partition}"}, "sk": {"S": f"{start}#{other_writer}"}}

    def _tell(self, item: Item) -> None:
        """Have the table's stream tell of an item that was put."""
        partition_key, sort_key = item["pk"]["S"], item["sk"]["S"]
        key = window_of(self.catalog, partition_key, sort_key) or alert_of(partition_key, sort_key)
        change = StoredChange(str(self._now_ms), key)
        for name, waiting in self._waiting.items():
            if self._filters[name](partition_key):
                waiting[crc32(partition_key.encode()) % self._partitions].append(change)
        self._partition_writes[partition_key] += -(-len(item.get("groups", {}).get("B", b"")) // 1024) or 1

    def _make_ingests(self, shard_ids: Sequence[str]) -> Mapping[str, Ingest]:
        table, ids = self.table("ingest"), IdsTable(self.client("ingest"), IDS, HOUR_MS)  # type: ignore[arg-type]
        decoder = make_decoder(self.catalog, LATENESS_MS, HOUR_MS)
        return {
            shard_id: Ingest(
                self.catalog,
                decoder,
                partials=table,
                dead_letters=_NoLetters(),
                progress=table,
                ids=CountedIds(ids, OneShard(shard_id), HOUR_MS),
                effects=NoEffects(),
            )
            for shard_id in shard_ids
        }

    def _make_alerts(self, name: str) -> Alerts:
        table = self.table(name)
        return Alerts(
            [alert for alert in definitions.ALERTS if alert.metric in self.catalog.metrics],
            shares=table,
            first_window=table.first_window,
            store=AlertsTable(self.client(name), AGGREGATES, self.catalog, LATENESS_MS),  # type: ignore[arg-type]
            thresholds=_Thresholds(),
            tell=lambda _: None,
        )

    def _make_publish(self) -> Publish:
        return Publish(self._topic, _NoLetters(), AGGREGATES, "bench", lambda: self._now_ms)

    def _make_fan_out(self) -> FanOut:
        table = self.table("fan_out")
        return FanOut(
            self.catalog,
            stage_lateness_ms=LATENESS_MS,
            stream=STREAM,
            shares=table,
            shards=self._stream,
            progress=table,
            publish=self._make_publish(),
            clock_ms=lambda: self._now_ms,
            watch=self._make_alerts("fan_out"),
            watched=WATCHED,
            alerts=AlertsTable(self.client("fan_out"), AGGREGATES, self.catalog, LATENESS_MS),  # type: ignore[arg-type]
        )

    def _make_settle(self) -> SettleAll:
        table, roll_up = self.table("tick"), self.make_rollup("tick")
        finals = FinalResults(roll_up, table, table, self._make_publish(), lambda _: None)
        duties: list[Duty] = [self._make_alerts("tick"), roll_up, finals]
        settles = {duty.purpose: Settle(self.catalog.metrics.values(), duty, table) for duty in duties}
        return SettleAll(STREAM, self._stream, table, settles)


def _of_keys(patterns: Sequence[str]) -> Callable[[str], bool]:
    """Whether a filter lets changes of a partition key through; of each, all are alike."""
    lets_through = filter_of(patterns)

    @cache
    def lets_key_through(partition_key: str) -> bool:
        change = {"eventName": "MODIFY", "dynamodb": {"Keys": {"pk": {"S": partition_key}}}}
        return lets_through(EncodedRecord("", 0, orjson.dumps(change)))

    return lets_key_through


def partitions_needed(write_units_a_second: float) -> int:
    """How many partitions a table has that takes so many write units a second, and so how many shards its stream."""
    return max(PARTITIONS_FIRST, ceil(write_units_a_second / PARTITION_WRITE_UNITS))


class _Topic:
    """SNS, which takes everything; it counts by what SNS charges."""

    def __init__(self) -> None:
        self.publishes = 0

    def publish_messages(self, messages: Sequence[Message], timeout_ms: int) -> list[Published]:  # noqa: ARG002
        self.publishes += sum(-(-message.payload_bytes // PUBLISH_BYTES) for message in messages)
        return [Published() for _ in messages]


class _Stream:
    """The events stream, as tick and readers of completeness have it."""

    def __init__(self, shard_ids: Sequence[str]) -> None:
        self.shard_ids = shard_ids
        self.ticks: list[StreamRecord] = []

    def list_shards(self, timeout_ms: int) -> list[Shard]:  # noqa: ARG002
        return [Shard(shard_id, is_open=True) for shard_id in self.shard_ids]

    def put_records(self, records: Sequence[StreamRecord], timeout_ms: int) -> list[int]:  # noqa: ARG002
        self.ticks = list(records)
        return []


class _Thresholds:
    """No threshold is set at run time."""

    def read_thresholds(self, timeout_ms: int) -> ThresholdsRead:  # noqa: ARG002
        return ThresholdsRead({})


class _NoLetters:
    """Nothing here is a dead letter."""

    def put_dead_letters(self, *_: Any) -> Mapping[int, str]:
        raise RuntimeError("something was refused")


def _remaining_ms() -> int:
    return REMAINING_MS
