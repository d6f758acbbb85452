"""A table of stored windows, and around it what publishes them."""

from decimal import Decimal

import orjson

from chalicelib.aggregates.measures import Count, Sum
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.partial import Partial, PartialKey
from chalicelib.aggregates.rollup import WindowKey
from chalicelib.consumers.fan_out import FanOut
from chalicelib.consumers.final_results import FinalResults
from chalicelib.consumers.ports import StoredChange
from chalicelib.consumers.publish import Publish
from chalicelib.consumers.rollup import RollUp
from chalicelib.definitions import OrderPlaced
from chalicelib.reading.ports import ROLLUPS, Settled
from tests.builders import MINUTE_MS, NOON_MS, STREAM
from tests.fakes import MemoryAggregates, MemoryDeadLetters, MemoryShards, MemoryTopic

TABLE = "highwater-test-aggregates"
HOUR_MS = 60 * MINUTE_MS
LATENESS_MS = 5 * MINUTE_MS
SALES = Metric(
    name="sales",
    event_type="order.placed",
    by=("currency",),
    measures={"n": Count(), "total": Sum("amount")},
    buckets=3,
    spread=2,
)
WHOLE = Metric(name="whole", event_type="order.placed", measures={"n": Count()}, rollups=())
CATALOG = Catalog({"order.placed": OrderPlaced}, [SALES, WHOLE])


def states(number):
    return (number, Decimal(number))


class World:
    """Stores shares of windows, and takes note of the changes. `remaining_ms` is the time that an invocation has."""

    def __init__(self):
        self.table = MemoryAggregates()
        self.topic = MemoryTopic()
        self.dead_letters = MemoryDeadLetters()
        self.shards = MemoryShards()
        self.changes = []
        self.now_ms = NOON_MS
        self.remaining_ms = 60_000
        self.reports = []

    def fan_out(self, changes=None, **hooks):
        """Hand the changes so far, or these, to fan_out, as one batch. Returns: its report."""
        changes, self.changes = (self.changes, []) if changes is None else (changes, self.changes)
        consumer = FanOut(
            CATALOG,
            stage_lateness_ms=LATENESS_MS,
            stream=STREAM,
            shares=self.table,
            shards=self.shards,
            progress=self.table,
            publish=self.publish("fan_out"),
            clock_ms=lambda: self.now_ms,
            **hooks,
        )
        return consumer(changes, lambda: self.remaining_ms)

    def final_results(self):
        return FinalResults(self.roll_up(), self.table, self.table, self.publish("final_results"), self.reports.append)

    def roll_up(self):
        return RollUp(CATALOG, LATENESS_MS, self.table, self.table, clock_ms=lambda: self.now_ms)

    def settle_rollups(self, until_minute):
        """Have the rollups settled that end up to this minute after noon."""
        until_ms = NOON_MS + until_minute * MINUTE_MS
        assert self.roll_up().see_to(SALES, NOON_MS, until_ms, lambda: 60_000)
        self.table.settled[ROLLUPS, SALES.layout] = Settled(NOON_MS, until_ms, until_ms + LATENESS_MS)

    def publish(self, name):
        return Publish(self.topic, self.dead_letters, TABLE, name, lambda: self.now_ms)

    def store(self, minute, groups, *, metric=SALES, writer="w"):
        """Store a writer's share of the groups, bucket by bucket, in a minute after noon. Returns: its changes."""
        start_ms = NOON_MS + minute * MINUTE_MS
        by_partition = {}
        for group, of_group in groups.items():
            partition = metric.partition_of(metric.bucket_of(group), writer)
            by_partition.setdefault(partition, {})[group] = of_group
        changes = []
        for partition, some in by_partition.items():
            key = PartialKey(metric.name, partition, start_ms, writer)
            version = self.table.partials[key].version + 1 if key in self.table.partials else 1
            self.table.partials[key] = Partial("1", version, some)
            window = WindowKey(metric.name, MINUTE_MS, metric.bucket_in(partition), start_ms)
            changes.append(self.note(window))
        return changes

    def note(self, key):
        self.changes.append(StoredChange(str(len(self.changes) + 1), key))
        return self.changes[-1]

    def complete_until(self, minute):
        """Have every shard committed up to this minute after noon."""
        for shard in self.shards.list_shards(1):
            self.table.progress[STREAM, shard.shard_id] = ("p", "1", NOON_MS + minute * MINUTE_MS)

    def published(self):
        """What has been published and not been taken from here yet, without ids."""
        messages, self.topic.messages = self.topic.messages, []
        bodies = [orjson.loads(message.body) for message in messages]
        return [{name: value for name, value in body.items() if name != "id"} for body in bodies]

    def told(self):
        """The same, in short: metric, minutes after noon, step in minutes, revision, whether final."""
        return [
            (each["metric"], each["window_start"][11:16], each["window_end"][11:16], each["revision"], each["final"])
            for each in self.published()
        ]
