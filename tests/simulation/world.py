"""A world of one thread, one source of chance and a virtual clock, in which the real ingest runs.

The event source mapping is the local stage's own pure one. At any call of a store the process may be killed, the call
may fail with or without its effect, or take effect later, and another container may handle records of the same shard in
the midst of it. The world checks after every step what must hold at every moment.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from math import inf
from random import Random

from chalicelib.aggregates.measures import Count, Sum
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.consumers.counted_ids import CountedIds
from chalicelib.consumers.ingest import Ingest
from chalicelib.consumers.ports import Committed, Failed
from chalicelib.consumers.tick import tick_on
from chalicelib.errors import TransientError
from chalicelib.reading.completeness import complete_until
from chalicelib.reading.ports import ShardProgress
from chalicelib.records.shard import Shard
from chalicelib.wiring.stage import HANDLERS
from localstage.mapping import Invoke, MappingOptions, ShardMapping, Wait
from localstage.source import Shard as ListedShard
from localstage.source import startable
from tests.builders import CATALOG, NOON_MS, lambda_event, make_decoder
from tests.fakes import MemoryAggregates, MemoryEffects, MemoryIds
from tests.simulation.calls import Calls
from tests.simulation.faults import Faults, Killed
from tests.simulation.operator import Bucket, Operator
from tests.simulation.oracle import Expected, Limits, Oracle, Verdict, stored_counts
from tests.simulation.producer import Producers
from tests.simulation.stream import HASH_KEYS, Event, Put, Record, UserRecord

DECODER = make_decoder()
LIMITS = Limits()
CONTAINERS_MAX = 3
INVOCATION_MS = 5_000  # after which what a killed invocation had begun may begin again

# What is deployed for a replay: one metric more, of the same events.
LATER_METRIC = Metric(
    name="order_types",
    event_type="order.placed",
    by=("order_type",),
    measures={"count": Count(), "revenue": Sum("amount")},
)
LATER_CATALOG = Catalog(CATALOG.event_types, [*CATALOG.metrics.values(), LATER_METRIC])


@dataclass
class SimulatedShard:
    """A shard: its records, the keys it takes, and the mapping that reads it."""

    shard_id: str
    keys: range
    parents: tuple[str, ...] = ()
    is_open: bool = True
    records: list[Record] = field(default_factory=list)
    mapping: ShardMapping | None = None
    fetched: int = 0
    settled: int = 0  # records that the mapping has been done with, the most it ever was

    def place_of(self, sequence_number: str) -> int:
        """Where a record stands."""
        return next(place for place, sent in enumerate(self.records) if sent.sequence_number == sequence_number)


@dataclass(frozen=True)
class Fetched:
    """A record as the mapping sees it."""

    sent: Record
    arrived_ms: int
    sequence_number: str
    payload_bytes: int = 1


class World:
    """One run's world."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.chance = Random(seed)
        self.faults = faults
        self.now_ms = NOON_MS
        self._aggregates = MemoryAggregates()
        self._progress = MemoryAggregates()
        self.bucket = Bucket()
        self._ids = MemoryIds(ids_an_item=self.chance.choice([4, 1_000]))
        self.effects = MemoryEffects(lambda: self.now_ms, invocation_ms=INVOCATION_MS)
        self.effects.before_act = lambda effect: self._call(lambda: None, lambda: "ThrottlingException")
        self.effects.after_act = lambda effect: self._call(lambda: None, lambda: "ThrottlingException")
        self.catalog = CATALOG
        self.partials = self._aggregates.partials
        self.batches = 0
        self.ticked_at_ms = 0
        self._calls = Calls(self.chance, faults, self._meanwhile)
        self._call = self._calls.make
        self._containers: list[Ingest] = []
        self._running: SimulatedShard | None = None
        self._doubling = False
        self._sequence = 10 ** self.chance.randrange(3, 56)
        self.shards: list[SimulatedShard] = []
        self.verdicts: dict[str, Verdict] = {}
        self._producers = Producers(self.chance, LIMITS)
        self._oracle = Oracle(LIMITS)
        self._events: dict[bytes, Event] = {}
        self.operator = Operator(self.chance, faults, self.bucket, self._events, self._accept)
        half = HASH_KEYS.stop // 2
        for keys in (range(half), range(half, HASH_KEYS.stop)):
            self._add_shard(keys)

    # ── what the world does by itself ──

    def produce(self) -> None:
        """The producers put a record, and what they send again, now and then to the millisecond when it is due."""
        self.now_ms += self.chance.randrange(2_000)
        due_ms = self._producers.next_due_ms
        if due_ms is not None and self.chance.random() < 0.1:
            self.now_ms = max(self.now_ms, due_ms)
        for put in self._producers.next(self.now_ms, [shard for shard in self.shards if shard.is_open]):
            self._accept(put)

    def tick(self) -> None:
        """The minute's tick puts a record on every open shard."""
        self.now_ms += self.chance.randrange(2_000)
        self.ticked_at_ms = self.now_ms
        for shard in self.shards:
            if shard.is_open:
                tick = tick_on(listed(shard), self.now_ms)
                event = Event("/highwater/tick", f"{shard.shard_id}/{self.now_ms}", self.now_ms, tick.data)
                self._accept(Put(tick.partition_key, shard.keys.start, tick.data, (UserRecord((event,)),)))

    def _accept(self, put: Put) -> None:
        shard = next(shard for shard in self.shards if shard.is_open and put.hash_key in shard.keys)
        # Sequence numbers rise within a shard, and a child's are above its parents'.
        self._sequence += self.chance.randrange(1, 10**4)
        record = put.accepted(str(self._sequence), self.now_ms)
        shard.records.append(record)
        pieces = [piece for each in record.user_records for piece in each.pieces]
        self._events |= {piece.text: piece for piece in pieces if isinstance(piece, Event)}
        self.verdicts[record.sequence_number] = self._oracle.judge(shard.shard_id, record)

    def reshard(self) -> None:
        """Split one open shard, or merge two neighbours."""
        open_shards = sorted((shard for shard in self.shards if shard.is_open), key=lambda shard: shard.keys.start)
        if self.chance.random() < 0.5 and len(open_shards) > 1:
            place = self.chance.randrange(len(open_shards) - 1)
            left, right = open_shards[place : place + 2]
            left.is_open = right.is_open = False
            keys = range(left.keys.start, right.keys.stop)
            self._add_shard(keys, (left.shard_id, right.shard_id))
            self.faults.fired["merge"] += 1
        else:
            parent = self.chance.choice(open_shards)
            if parent.keys.stop - parent.keys.start < 2:
                return
            parent.is_open = False
            middle = (parent.keys.start + parent.keys.stop) // 2
            for keys in (range(parent.keys.start, middle), range(middle, parent.keys.stop)):
                self._add_shard(keys, (parent.shard_id,))
            self.faults.fired["split"] += 1

    def work(self) -> None:
        """Let each shard's mapping take a step, in any order."""
        self._begin_shards()
        for shard in self.chance.sample(self.shards, len(self.shards)):
            if shard.mapping and not shard.mapping.drained:
                self._step(shard)
        self.operator.work()
        self._calls.let_late_effects_land()
        self._check_completeness()

    def replay(self) -> None:
        """Read every shard again, from its beginning or from any record on, with new containers or the old ones."""
        self.faults.fired["replay"] += 1
        if self.chance.random() < 0.5:
            self._containers.clear()
        from_the_midst = self.chance.random() < 0.5
        for shard in self.shards:
            shard.mapping = None
            # A mapping begins again where it was before, or earlier: what it left out would never be counted.
            shard.fetched = self.chance.randrange(shard.settled + 1) if from_the_midst else 0

    def deploy_a_metric(self) -> None:
        """Add a metric, and read every shard from its beginning again: so it gets all that the others have."""
        self._containers.clear()
        self.faults.fired["metric added"] += 1
        self.catalog = LATER_CATALOG
        self._progress = MemoryAggregates()  # progress is of the metrics that there are
        for shard in self.shards:
            shard.mapping, shard.fetched = None, 0

    @property
    def drained(self) -> bool:
        """Whether the mapping has every record settled, and no effect is still to come."""
        return (
            self._calls.are_over
            and self.operator.is_done
            and all(
                shard.mapping and shard.fetched == shard.settled == len(shard.records) and shard.mapping.idle
                for shard in self.shards
            )
        )

    # ── the mapping ──

    def _add_shard(self, keys: range, parents: tuple[str, ...] = ()) -> None:
        shard = SimulatedShard(f"shardId-{len(self.shards):012d}", keys, parents)
        self.shards.append(shard)
        self._oracle.add_shard(shard.shard_id, keys, parents)

    def _begin_shards(self) -> None:
        shards = [ListedShard(shard.shard_id, frozenset(shard.parents)) for shard in self.shards]
        started = {shard.shard_id for shard in self.shards if shard.mapping}
        drained = {shard.shard_id for shard in self.shards if shard.mapping and shard.mapping.drained}
        names = {shard.shard_id for shard in startable(shards, started, drained)}
        for shard in self.shards:
            if shard.shard_id in names:
                options = MappingOptions(
                    batch_size=self.chance.randrange(1, 8),
                    bisect_batch_on_function_error=self.chance.random() < 0.5,
                    report_batch_item_failures=True,
                    backoff_ms_first=1,
                )
                shard.mapping = ShardMapping(options, lambda: self.faults.hits(self.chance, "delivered_again"))

    def _step(self, shard: SimulatedShard) -> None:
        mapping = shard.mapping
        fetched = [
            Fetched(sent, sent.arrived_at_ms, sent.sequence_number)
            for sent in shard.records[shard.fetched : shard.fetched + mapping.room]
        ]
        shard.fetched += len(fetched)
        mapping.fetched(fetched, self.now_ms)
        if not shard.is_open and shard.fetched == len(shard.records):
            mapping.shard_ended()
        match mapping.decide(self.now_ms):
            case Invoke(records):
                self._invoke(shard, mapping, [record.sent for record in records])
            case Wait(until_ms) if until_ms is not None:
                self.now_ms = max(self.now_ms, until_ms)

    def _invoke(self, shard: SimulatedShard, mapping: ShardMapping, records: list[Record]) -> None:
        container = self._container()
        try:
            response = self._run(container, shard, records)
        except Killed:
            mapping.failed(self.now_ms)
        else:
            self._containers = [*self._containers, container][-CONTAINERS_MAX:]
            mapping.answered(response, self.now_ms)
            if mapping.checkpoint:
                shard.settled = max(shard.settled, shard.place_of(mapping.checkpoint) + 1)

    def _run(self, container: Ingest, shard: SimulatedShard, records: list[Record]) -> dict:
        self.batches += 1
        before, self._running = self._running, shard
        no_time = self.faults.hits(self.chance, "out_of_time")
        event = lambda_event([])
        for sent in records:
            event["Records"] += lambda_event(
                [sent.data],
                first=int(sent.sequence_number),
                shard=shard.shard_id,
                arrived_at_ms=sent.arrived_at_ms,
                partition_key=sent.partition_key,
            )["Records"]
        try:
            return container(event, lambda: 0 if no_time else 60_000).response
        finally:
            self._running = before

    def _container(self) -> Ingest:
        if self._containers and not self.faults.hits(self.chance, "cold"):
            return self._containers.pop(self.chance.randrange(len(self._containers)))
        held_max = self.chance.choice([50, 1_000])  # of all shards: below, the one least recently used is forgotten
        return Ingest(
            self.catalog,
            DECODER,
            partials=self,
            dead_letters=self,
            progress=self,
            ids=CountedIds(self, self, LIMITS.horizon_ms, LIMITS.ids_max, held_max),
            handlers=HANDLERS,
            effects=self.effects,
        )

    def _meanwhile(self) -> None:
        if self.faults.hits(self.chance, "doubled"):
            self._double()

    def _double(self) -> None:
        """Another container handles records of the running shard, as a forgotten invocation would; nobody hears it."""
        shard = self._running
        if self._doubling:
            return
        # A batch is given out only when all before it is settled, so this one begins at the first unsettled record or
        # before it; it ends where some batch may have ended.
        checkpoint = shard.mapping.checkpoint
        first = self.chance.randrange(shard.place_of(checkpoint) + 2 if checkpoint else 1)
        if first == shard.fetched:
            return
        end = self.chance.randrange(first + 1, shard.fetched + 1)
        self._doubling = True
        try:
            self._run(self._container(), shard, shard.records[first:end])
        except Killed:
            pass
        finally:
            self._doubling = False

    # ── the stores: ingest's ports, with faults ──

    def put_partials(self, puts, timeout_ms):
        if not timeout_ms:
            return self._aggregates.put_partials(puts, 0)
        return [self._call(lambda put=put: self._put(put), lambda: Failed("ThrottlingException")) for put in puts]

    def _put(self, put):
        standing = self.partials.get(put.key)
        (outcome,) = self._aggregates.put_partials([put], 1)
        if isinstance(outcome, Committed) and standing:
            assert standing.checkpoint < put.partial.checkpoint, "a checkpoint went back"
        return outcome

    def put_dead_letters(self, stream, shard_id, rejected, timeout_ms):
        failed = dict.fromkeys(rejected, "out of time") if not timeout_ms else {}
        for place, (record, pieces) in rejected.items() if timeout_ms else ():
            put = partial(self.bucket.put, stream, shard_id, record, pieces)
            if error := self._call(put, lambda: "SlowDown"):
                failed[place] = error
        return failed

    def advance(self, stream, shard_id, last, timeout_ms):
        store = partial(self._progress.advance, stream, shard_id, last, timeout_ms)
        return self._call(store, throttled) if timeout_ms else store()

    def read_back(self, writer, *, timeout_ms, **what):
        read = partial(self._ids.read_back, writer, timeout_ms=timeout_ms, **what)
        return self._call(read, throttled) if timeout_ms else read()

    def read_on(self, writer, *, timeout_ms, **what):
        read = partial(self._ids.read_on, writer, timeout_ms=timeout_ms, **what)
        return self._call(read, throttled) if timeout_ms else read()

    def put_run(self, writer, run, timeout_ms):
        if not timeout_ms:
            raise TransientError("out of time")
        for item in self._ids.items_of(run):
            self._call(partial(self._ids.put_item, writer, *item), throttled)
        return 1.0

    def list_shards(self, timeout_ms):
        if not timeout_ms:
            raise TransientError("out of time")
        return self._call(lambda: [listed(shard) for shard in self.shards], throttled)

    # ── what must hold at every moment ──

    def complete_until(self) -> int | None:
        """What an answer would claim now."""
        return complete_until([listed(shard) for shard in self.shards], list(self.progress.values()))

    @property
    def progress(self) -> dict[str, ShardProgress]:
        """How far each shard has been committed."""
        return {
            shard_id: ShardProgress(shard_id, sequence_number, arrived_at_ms)
            for (_, shard_id), (_, sequence_number, arrived_at_ms) in self._progress.progress.items()
        }

    def _check_completeness(self) -> None:
        """Whatever `complete_until` claims is counted."""
        claimed_ms = self.complete_until()
        if claimed_ms is None:
            return
        claimed = self.expected(before_ms=claimed_ms)
        stored = stored_counts(self.partials)
        counts = self.counts(claimed)
        assert all(stored[what] >= value for what, value in counts.items()), "claims what is not counted"
        assert reasons(claimed).items() <= self.bucket.reasons().items(), "claims what is lost"

    def counts(self, expected: Expected) -> Counter:
        """What must be counted in the metrics that are deployed now."""
        counts = Counter(expected.counts)
        if LATER_METRIC.name in self.catalog.metrics:
            for (metric, window_start_ms, group, measure), value in expected.counts.items():
                if metric == "orders":
                    counts[LATER_METRIC.name, window_start_ms, group[1:], measure] += value
        return counts

    def expected(self, before_ms: float = inf) -> Expected:
        """What must be stored of the records that arrived before this instant."""
        expected = Expected()
        for shard in self.shards:
            for record in shard.records:
                if record.arrived_at_ms < before_ms:
                    expected.add(self.verdicts[record.sequence_number])
        return expected


def listed(shard: SimulatedShard) -> Shard:
    """The shard as ListShards has it."""
    first, last = str(shard.keys.start), str(shard.keys.stop - 1)
    return Shard(shard.shard_id, shard.is_open, shard.parents, first, last)


def throttled():
    """What a store raises."""
    raise TransientError("ThrottlingException")


def reasons(expected: Expected) -> dict[str, list[str]]:
    """Sequence number → the reasons of its dead letters, as the bucket tells them."""
    return {sequence_number: sorted(each) for sequence_number, each in expected.dead_letters.items()}
