"""What must be stored, by a plain description of the stream: independent of the code under test, and naive.

It imports nothing of the code under test but the types of what is stored. Each rule stands here once, in the order in
which it applies, and is written to be checked by reading: whether an event is remembered is found by walking back over
the events counted before it, one by one. What becomes of a record depends on nothing that comes after it, so the
oracle can judge each record at the moment when the stream accepts it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from chalicelib.aggregates.partial import Partial, PartialKey
from tests.simulation.stream import KPL_PARTITION_KEY, Event, Order, Piece, Poison, Record, Shard

MINUTE_MS = 60_000
LARGE_AMOUNT = Decimal(5_000)

Counts = Counter[tuple[str, int, tuple[str, ...], str]]  # (metric, window start, group, measure) → value


@dataclass(frozen=True)
class Limits:
    """The bounds of a run. `ids_max=0` is a stream on which no id is ever remembered."""

    lateness_ms: int = 86_400_000
    future_tolerance_ms: int = 300_000
    horizon_ms: int = 40_000
    ids_max: int = 60


@dataclass(slots=True)
class Verdict:
    """What must become of one record. `misplaced` counts user records, `duplicates` counts events."""

    sequence_number: str
    counted: list[Event] = field(default_factory=list)
    dead_letters: list[str] = field(default_factory=list)
    duplicates: int = 0
    misplaced: int = 0


@dataclass
class Expected:
    """What must be stored of some records.

    `dead_letters` has only the records that have any, by sequence number; `large` holds the (source, id) of each order
    that a handler must announce.
    """

    counts: Counts = field(default_factory=Counter)
    dead_letters: dict[str, list[str]] = field(default_factory=dict)
    duplicates: int = 0
    misplaced: int = 0
    large: set[tuple[str, str]] = field(default_factory=set)

    def add(self, verdict: Verdict) -> None:
        """Take one more record in."""
        for event in verdict.counted:
            if event.order:
                self._count(event.time_ms // MINUTE_MS * MINUTE_MS, event.order)
                if event.order.amount >= LARGE_AMOUNT:
                    self.large.add(event.identity)
        if verdict.dead_letters:
            self.dead_letters[verdict.sequence_number] = verdict.dead_letters
        self.duplicates += verdict.duplicates
        self.misplaced += verdict.misplaced

    def _count(self, window_start_ms: int, order: Order) -> None:
        for metric, group in (("orders", (order.currency, order.order_type)), ("customers", (order.user_id,))):
            self.counts[metric, window_start_ms, group, "count"] += 1
            self.counts[metric, window_start_ms, group, "sum"] += order.amount


def expected(shards: Iterable[Shard], limits: Limits) -> Expected:
    """What must be stored of all records of these shards, parents listed before their children."""
    oracle = Oracle(limits)
    whole = Expected()
    for shard in shards:
        oracle.add_shard(shard.shard_id, shard.keys, shard.parents)
        for record in shard.records:
            whole.add(oracle.judge(shard.shard_id, record))
    return whole


@dataclass(slots=True)
class _Counting:
    """That an event was counted: in which record, and with which text."""

    identity: tuple[str, str]
    text: bytes
    arrived_at_ms: int
    sequence_number: int


class Oracle:
    """Judges records one by one: those of a shard in order, and a parent's last before its child's first."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._shards: dict[str, Shard] = {}
        self._countings: dict[str, list[_Counting]] = {}
        self._ever_counted: set[tuple[str, str]] = set()  # what no shard ever counted is not looked for

    def add_shard(self, shard_id: str, keys: range, parents: tuple[str, ...] = ()) -> None:
        """A shard opens; its parents, which were added before, take no more records."""
        self._shards[shard_id] = Shard(shard_id, keys, parents)
        self._countings[shard_id] = []

    def judge(self, shard_id: str, record: Record) -> Verdict:
        """Say what must become of the next record of this shard."""
        verdict = Verdict(record.sequence_number)
        events = []
        for user_record in record.user_records:
            if _is_misplaced(user_record.hash_key, record.partition_key, self._shards[shard_id]):
                verdict.misplaced += 1
                continue
            for piece in user_record.pieces:
                if reason := self._refusal(piece, record.arrived_at_ms):
                    verdict.dead_letters.append(reason)
                else:
                    events.append(piece)
        # What cannot be counted by itself is found before any event is compared, so those dead letters come first.
        for event in events:
            before = self._counted_before(shard_id, event, record.arrived_at_ms)
            if before is None:
                verdict.counted.append(event)
                counting = _Counting(event.identity, event.text, record.arrived_at_ms, int(record.sequence_number))
                self._countings[shard_id].append(counting)
                self._ever_counted.add(event.identity)
            elif before.text == event.text:
                verdict.duplicates += 1
            else:
                verdict.dead_letters.append("conflicting duplicate")
        return verdict

    def _refusal(self, piece: Piece, arrived_at_ms: int) -> str | None:
        """Why this piece cannot be counted, whatever was counted before it."""
        if isinstance(piece, Poison):
            return piece.reason
        if piece.time_ms < arrived_at_ms - self._limits.lateness_ms:
            return "too late"
        if piece.time_ms > arrived_at_ms + self._limits.future_tolerance_ms:
            return "from the future"
        return None

    def _counted_before(self, shard_id: str, event: Event, arrived_at_ms: int) -> _Counting | None:
        """The last remembered counting of this event's identity, if the horizon reaches back to it."""
        if event.identity not in self._ever_counted:
            return None
        remembered = list(self._remembered(shard_id, event.identity, self._limits.ids_max))
        if not remembered:
            return None
        last = max(remembered, key=lambda counting: (counting.arrived_at_ms, counting.sequence_number))
        return last if arrived_at_ms - last.arrived_at_ms <= self._limits.horizon_ms else None

    def _remembered(self, shard_id: str, identity: tuple[str, str], ids_max: int) -> Iterator[_Counting]:
        """Walk back over the last `ids_max` countings of this shard, then into each parent with what is left of them.

        Gives the last counting of the identity on each way back; what lies before it on the same way is past.
        """
        if ids_max == 0:
            return
        recent = self._countings[shard_id][-ids_max:]
        for counting in reversed(recent):
            if counting.identity == identity:
                yield counting
                return
        for parent_id in self._shards[shard_id].parents:
            yield from self._remembered(parent_id, identity, ids_max - len(recent))


def _is_misplaced(hash_key: int | None, partition_key: str, shard: Shard) -> bool:
    """Whether a reshard led this user record to a shard that is not its own; the KPL sends it once more."""
    is_in_kpl_aggregate = hash_key is not None and partition_key == KPL_PARTITION_KEY
    return is_in_kpl_aggregate and bool(shard.parents) and hash_key not in shard.keys


def stored_counts(partials: Mapping[PartialKey, Partial]) -> Counts:
    """What the partials hold, in the form of `Expected.counts`: merged over writers and buckets."""
    counts: Counts = Counter()
    for key, partial in partials.items():
        for group, (count, total, *_) in partial.groups.items():
            counts[key.metric, key.window_start_ms, group, "count"] += count
            counts[key.metric, key.window_start_ms, group, "sum"] += Decimal(total)
    return counts
