"""Ingest: a batch of the events stream into partials and dead letters, exactly once.

Decode, fold in memory into one delta per partial, and put each partial's whole new state on the condition that it
still has the checkpoint that the state was built on. What stands there instead comes back with the refusal and becomes
the new base, onto which only the records beyond its checkpoint are folded: so a replayed, re-cut or doubled batch adds
nothing twice. The first record of which anything could not be stored is the checkpoint that goes back to Lambda.
docs/guarantees.md works the hard cases through.
"""

from bisect import bisect_right
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any

from msgspec import Struct, field

from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.partial import Groups, Partial, PartialKey, absorb, fold
from chalicelib.aggregates.windows import window_start
from chalicelib.consumers.ports import (
    Committed,
    Conflict,
    DeadLetterStore,
    Failed,
    PartialPut,
    PartialStore,
    ProgressStore,
)
from chalicelib.errors import TransientError
from chalicelib.records.batch import Batch, parse_batch
from chalicelib.records.decode import Decoded, Decoder
from chalicelib.records.rejection import Reason

RESERVE_MS = 2_000  # kept back of the invocation's time to store progress and to answer
ROUNDS_MAX = 5  # a put is refused only when another invocation of this shard won; that it wins so often is a fault
CACHED_GROUPS_MAX = 200_000  # some 100 MB at 500 bytes a group in memory


class IngestReport(Struct):
    """What became of one batch, for the answer, the metrics and the log. It holds no payload."""

    stream: str
    shard_id: str
    records: int
    events: int = 0
    dead_letters: Counter[Reason] = field(default_factory=Counter)
    partials: int = 0
    rebases: int = 0
    write_units: float = 0.0
    overflowed_groups: int = 0
    failed_sequence_number: str | None = None
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def response(self) -> dict[str, Any]:
        """The answer that Lambda expects: the record from which to retry, if any."""
        failures = [self.failed_sequence_number] if self.failed_sequence_number else []
        return {"batchItemFailures": [{"itemIdentifier": failure} for failure in failures]}


class PartialCache:
    """The partials that this container stored last, the least recently used dropped beyond a number of groups.

    Why it may be stale or empty: it only saves a refused put; the store's condition decides.
    """

    def __init__(self, groups_max: int = CACHED_GROUPS_MAX) -> None:
        self._partials: OrderedDict[PartialKey, Partial] = OrderedDict()
        self._groups = 0
        self._groups_max = groups_max

    def get(self, key: PartialKey) -> Partial | None:
        """The partial as this container last saw it stored."""
        return self._partials.get(key)

    def keep(self, key: PartialKey, partial: Partial) -> None:
        """Remember a partial that is now stored."""
        self.drop(key)
        self._partials[key] = partial
        self._groups += len(partial.groups)
        while self._groups > self._groups_max:
            _, oldest = self._partials.popitem(last=False)
            self._groups -= len(oldest.groups)

    def drop(self, key: PartialKey) -> None:
        """Forget a partial."""
        known = self._partials.pop(key, None)
        self._groups -= len(known.groups) if known else 0


class Fold:
    """One decoded batch, folded: the delta that its records beyond a checkpoint add to each partial."""

    def __init__(self, catalog: Catalog, decoder: Decoder, batch: Batch, decoded: Sequence[Decoded]) -> None:
        self._event_types = {kind: name for name, kind in decoder.event_classes.items()}
        self._catalog = catalog
        self._writer = batch.writer
        self._decoded = decoded
        self._positions = [record.position for record in batch.records]
        self._by_first_record: dict[int, dict[PartialKey, Groups]] = {}

    def whole(self) -> dict[PartialKey, Groups]:
        """What the whole batch adds."""
        return self._beyond_record(0)

    def beyond(self, checkpoint: str | None, key: PartialKey) -> Groups | None:
        """What the records beyond the checkpoint add to this partial; None when they add nothing."""
        first = bisect_right(self._positions, checkpoint) if checkpoint else 0
        return self._beyond_record(first).get(key)

    def first_record_of(self, keys: set[PartialKey]) -> int:
        """The place in the batch of the first record that adds to any of these partials."""
        return next(place for place, decoded in enumerate(self._decoded) if not keys.isdisjoint(self._fold([decoded])))

    def _beyond_record(self, first: int) -> dict[PartialKey, Groups]:
        if first not in self._by_first_record:
            self._by_first_record[first] = self._fold(self._decoded[first:])
        return self._by_first_record[first]

    def _fold(self, decoded: Sequence[Decoded]) -> dict[PartialKey, Groups]:
        deltas: dict[PartialKey, Groups] = {}
        for event_type, data, times_ms in self._by_event_type(decoded):
            rows_by_size: dict[int, Mapping[int, Sequence[Any]]] = {}
            for metric in self._catalog.of_event_type(event_type):
                size_ms = metric.window_ms
                if size_ms not in rows_by_size:
                    rows_by_size[size_ms] = _by_window(data, times_ms, size_ms)
                deltas |= fold(metric, self._writer, rows_by_size[size_ms])
        return deltas

    def _by_event_type(self, decoded: Sequence[Decoded]) -> Iterator[tuple[str, Sequence[Any], Sequence[int]]]:
        events = [event for each in decoded for event in each.events]
        times_ms = [time_ms for each in decoded for time_ms in each.times_ms]
        kinds = dict.fromkeys(map(type, events))
        for kind in kinds:
            if len(kinds) == 1:
                yield self._event_types[kind], [event.data for event in events], times_ms
            else:
                is_of_kind = [type(event) is kind for event in events]
                data = [event.data for event in compress(events, is_of_kind)]
                yield self._event_types[kind], data, list(compress(times_ms, is_of_kind))


def _by_window(data: Sequence[Any], times_ms: Sequence[int], size_ms: int) -> Mapping[int, Sequence[Any]]:
    first_ms, last_ms = window_start(min(times_ms), size_ms), window_start(max(times_ms), size_ms)
    if first_ms == last_ms:
        return {first_ms: data}
    rows: dict[int, list[Any]] = defaultdict(list)
    for row, time_ms in zip(data, times_ms, strict=True):
        rows[time_ms - time_ms % size_ms].append(row)  # `window_start`, without a call for each event
    return rows


class Ingest:
    """The consumer of the events stream. One object a container: it keeps the cache of partials."""

    def __init__(
        self,
        catalog: Catalog,
        decoder: Decoder,
        partials: PartialStore,
        dead_letters: DeadLetterStore,
        progress: ProgressStore,
    ) -> None:
        self._catalog = catalog
        self._decoder = decoder
        self._partials = partials
        self._dead_letters = dead_letters
        self._progress = progress
        self._cache = PartialCache()

    def __call__(self, event: Mapping[str, Any], remaining_ms: Callable[[], int]) -> IngestReport:
        """Count a batch.

        Shapes: event is Lambda's Kinesis event; remaining_ms tells what is left of the invocation's time.
        Returns: the report, whose `response` is the answer for Lambda.
        Raises: InvariantError when something that must hold does not; the whole batch is then delivered again.
        """
        batch = parse_batch(event)
        decoded = [self._decoder.decode(record) for record in batch.records]
        report = IngestReport(batch.stream, batch.shard_id, len(batch.records))
        failures = [
            *self._store_dead_letters(batch, decoded, remaining_ms, report),
            *self._commit(batch, decoded, remaining_ms, report),
        ]
        done = min(failures, default=len(batch.records))
        if done and not self._advance(batch, done, report):
            done -= 1  # the last record comes again, adds nothing twice, and takes the progress along
        if done < len(batch.records):
            report.failed_sequence_number = batch.records[done].sequence_number
        report.events = sum(len(each.events) for each in decoded[:done])
        report.dead_letters.update(rejected.refusal.reason for each in decoded[:done] for rejected in each.rejected)
        return report

    def _store_dead_letters(
        self, batch: Batch, decoded: Sequence[Decoded], remaining_ms: Callable[[], int], report: IngestReport
    ) -> set[int]:
        """Store what cannot be counted. Returns the places of the records for which that failed."""
        rejected = {place: (batch.records[place], each.rejected) for place, each in enumerate(decoded) if each.rejected}
        if not rejected:
            return set()
        failed = self._dead_letters.put_dead_letters(batch.stream, batch.shard_id, rejected, _time_left(remaining_ms))
        report.errors["dead letter not stored"] += len(failed)
        return failed

    def _commit(
        self, batch: Batch, decoded: Sequence[Decoded], remaining_ms: Callable[[], int], report: IngestReport
    ) -> list[int]:
        """Put every partial. Returns the place of the first record of which a part could not be stored, if any."""
        folded = Fold(self._catalog, self._decoder, batch, decoded)
        checkpoint = batch.records[-1].position
        bases = {key: self._cache.get(key) for key in folded.whole()}
        unstored: set[PartialKey] = set()
        report.partials = len(bases)
        for _ in range(ROUNDS_MAX):
            plans = (self._plan_put(key, base, folded, checkpoint, report) for key, base in bases.items())
            puts = [put for put in plans if put]
            bases = {}
            for put, outcome in zip(puts, self._partials.put_partials(puts, _time_left(remaining_ms)), strict=True):
                match outcome:
                    case Committed(write_units):
                        self._cache.keep(put.key, put.partial)
                        report.write_units += write_units
                    case Conflict(standing):
                        bases[put.key] = standing
                        report.rebases += 1
                    case Failed(error):
                        unstored.add(put.key)
                        report.errors[error] += 1
            if not bases:
                break
        unstored |= bases.keys()
        return [folded.first_record_of(unstored)] if unstored else []

    def _plan_put(
        self, key: PartialKey, base: Partial | None, folded: Fold, checkpoint: str, report: IngestReport
    ) -> PartialPut | None:
        """The put that brings a partial from its base to the end of the batch; None when nothing is left to add."""
        delta = folded.beyond(base.checkpoint if base else None, key)
        if delta is None:
            return None
        groups, overflowed = absorb(self._catalog.metrics[key.metric], base.groups if base else {}, delta)
        report.overflowed_groups += overflowed
        version = base.version + 1 if base else 1
        return PartialPut(key, base.checkpoint if base else None, Partial(checkpoint, version, groups))

    def _advance(self, batch: Batch, done: int, report: IngestReport) -> bool:
        try:
            report.write_units += self._progress.advance(batch.stream, batch.shard_id, batch.records[done - 1])
        except TransientError as error:
            report.errors[str(error)] += 1
            return False
        return True


def _time_left(remaining_ms: Callable[[], int]) -> int:
    return max(0, remaining_ms() - RESERVE_MS)
