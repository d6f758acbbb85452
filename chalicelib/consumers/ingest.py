"""Ingest: a batch of the events stream into partials and dead letters, exactly once.

Decode, drop what was counted before, fold in memory into one delta per partial, and put each partial's whole new state
on the condition that it still has the checkpoint that the state was built on. What stands there instead comes back
with the refusal and becomes the new base, onto which only the records beyond its checkpoint are folded: so a replayed,
re-cut or doubled batch adds nothing twice. The first record of which anything could not be stored is the checkpoint
that goes back to Lambda. docs/guarantees.md works the hard cases through.
"""

import gc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.partial import Partial, PartialKey, absorb
from chalicelib.consumers.cache import PartialCache
from chalicelib.consumers.counted_ids import CountedIds
from chalicelib.consumers.fold import BatchFold
from chalicelib.consumers.handle import Handling
from chalicelib.consumers.ports import (
    Committed,
    Conflict,
    DeadLetterStore,
    Done,
    EffectRunner,
    Failed,
    PartialPut,
    PartialStore,
    ProgressStore,
    Refused,
)
from chalicelib.consumers.response import deliver_again
from chalicelib.effects import Handler
from chalicelib.errors import TransientError
from chalicelib.identity.judge import Judged
from chalicelib.records.batch import Batch, parse_batch
from chalicelib.records.decode import Decoded, Decoder
from chalicelib.records.rejection import Reason, Refusal
from chalicelib.records.stretches import change, first_of, placed, records_in

RESERVE_MS = 2_500  # kept back of the invocation's time to store the progress …
LOG_RESERVE_MS = 1_500  # … of that to log the ids …
ANSWER_RESERVE_MS = 500  # … and of that to answer
ROUNDS_MAX = 5  # a put is refused only when another invocation of this shard won; that it wins so often is a fault


class IngestReport(Struct):
    """What became of one batch, for the answer, the metrics and the log. It holds no payload."""

    stream: str
    shard_id: str
    records: int
    events: int = 0
    duplicates: int = 0
    misplaced: int = 0
    dead_letters: Counter[Reason] = field(default_factory=Counter)
    partials: int = 0
    rebases: int = 0
    write_units: float = 0.0
    overflowed_groups: int = 0
    effects: int = 0
    ids_held: int = 0
    ids_forgotten: int = 0
    failed_sequence_number: str | None = None
    errors: Counter[str] = field(default_factory=Counter)

    def tell(self, done: Sequence[Decoded]) -> None:
        """Add up what became of the records that are done with."""
        for each in done:
            self.events += len(each.texts)
            self.duplicates += each.duplicates
            self.misplaced += each.misplaced
            self.dead_letters.update([rejected.refusal.reason for rejected in each.rejected])

    @property
    def response(self) -> dict[str, Any]:
        """The answer that Lambda expects: the record from which to retry, if any."""
        return deliver_again([self.failed_sequence_number])


class Ingest:
    """The consumer of the events stream. One object a container: it keeps what is known of partials and of ids."""

    def __init__(
        self,
        catalog: Catalog,
        decoder: Decoder,
        *,
        partials: PartialStore,
        dead_letters: DeadLetterStore,
        progress: ProgressStore,
        ids: CountedIds,
        handlers: Sequence[Handler] = (),
        effects: EffectRunner,
    ) -> None:
        self._catalog = catalog
        self._decoder = decoder
        self._partials = partials
        self._dead_letters = dead_letters
        self._progress = progress
        self._ids = ids
        self._handling = Handling(handlers, decoder)
        self._effects = effects
        self._cache = PartialCache()

    def __call__(self, event: Mapping[str, Any], remaining_ms: Callable[[], int]) -> IngestReport:
        """Count a batch.

        Shapes: event is Lambda's Kinesis event; remaining_ms tells what is left of the invocation's time.
        Returns: the report, whose `response` is the answer for Lambda.
        Raises: InvariantError when something that must hold does not; the whole batch is then delivered again.
        """
        if not event["Records"]:  # Lambda sends no such batch; a release is tried by one
            return IngestReport("", "", 0)
        with _collector_paused():
            return self._count(event, remaining_ms)

    def _count(self, event: Mapping[str, Any], remaining_ms: Callable[[], int]) -> IngestReport:
        batch = parse_batch(event)
        report = IngestReport(batch.stream, batch.shard_id, len(batch.records))
        judged = self._open(batch, remaining_ms, report)
        done = self._store(batch, judged, remaining_ms, report) if judged else 0
        if done < len(batch.records):
            report.failed_sequence_number = batch.records[done].sequence_number
        report.ids_held = self._ids.held
        return report

    def _open(self, batch: Batch, remaining_ms: Callable[[], int], report: IngestReport) -> Judged | None:
        """Tell what is to be counted of each record; None when what was counted before cannot be read now."""
        try:
            hash_keys = self._ids.shard(batch.shard_id, _time_left(remaining_ms)).misplaceable_hash_keys
            decoded = self._decoder.decode_all(batch.records, hash_keys, self._handling.wants)
            return self._ids.judge(batch, decoded, lambda: _time_left(remaining_ms))
        except TransientError as error:
            report.errors[str(error)] += 1
            return None

    def _store(self, batch: Batch, judged: Judged, remaining_ms: Callable[[], int], report: IngestReport) -> int:
        """Store all that the batch comes to. Returns: how many records, from the front, are done with."""
        done = self._commit(batch, judged.decoded, remaining_ms, report)
        decoded = first_of(judged.decoded, done)
        if any(each.events for each in decoded):
            decoded = self._handle(batch, decoded, remaining_ms, report)
        done = self._store_dead_letters(batch, decoded, remaining_ms, report)
        if done and not self._advance(batch, done, remaining_ms, report):
            done -= 1  # the last record comes again, adds nothing twice, and takes the progress along
        # Last of all, for the log of a prefix must not reach beyond what is acknowledged.
        if done and not self._remember(batch, judged, done, remaining_ms, report):
            done = 0
        report.tell(first_of(decoded, done))
        return done

    def _commit(
        self, batch: Batch, decoded: Sequence[Decoded], remaining_ms: Callable[[], int], report: IngestReport
    ) -> int:
        """Put every partial. Returns: how many records, from the front, are stored with all that they add."""
        folded = BatchFold(self._catalog, self._decoder, batch, decoded)
        checkpoint = batch.records[-1].position
        bases = {key: self._cache.get(key) for key in folded.whole}
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
                        self._cache.keep(put.key, standing)
                        bases[put.key] = standing
                        report.rebases += 1
                    case Failed(error):
                        unstored.add(put.key)
                        report.errors[error] += 1
            if not bases:
                break
        unstored |= bases.keys()
        return folded.first_record_of(unstored) if unstored else len(batch.records)

    def _handle(
        self,
        batch: Batch,
        decoded: Sequence[Decoded],
        remaining_ms: Callable[[], int],
        report: IngestReport,
    ) -> Sequence[Decoded]:
        """Have the handlers run. Returns: what the records, from the front, that are done with hold, refusals included.

        Why after the partials: an event is counted whatever its handlers do.
        """
        plan = self._handling.effects_of(decoded)
        outcomes = self._effects.run_all([due.effect for due in plan.due], _time_left(remaining_ms)) if plan.due else ()
        refused = {(each.place, each.index): each.refusal for each in plan.unhandled}
        done = records_in(decoded)
        for due, outcome in zip(plan.due, outcomes, strict=True):
            match outcome:
                case Done():
                    report.effects += 1
                case Refused(error):
                    refused.setdefault((due.place, due.index), Refusal(Reason.NOT_HANDLED, error))
                case Failed(error):
                    done = min(done, due.place)
                    report.errors[error] += 1
        decoded = first_of(decoded, done)
        refused_of: dict[int, list[tuple[int, Refusal]]] = defaultdict(list)
        for (place, index), refusal in sorted(refused.items(), key=itemgetter(0)):
            if place < done:
                refused_of[place].append((index, refusal))

        def with_letters(place: int, each: Decoded) -> Decoded:
            letters = [each.reject(index, refusal, batch.records[place]) for index, refusal in refused_of[place]]
            return replace(each, rejected=[*each.rejected, *letters])

        return change(decoded, refused_of, with_letters) if refused_of else decoded

    def _store_dead_letters(
        self, batch: Batch, decoded: Sequence[Decoded], remaining_ms: Callable[[], int], report: IngestReport
    ) -> int:
        """Store what cannot be counted of these records. Returns: how many, from the front, are done with.

        Why after the partials: each attempt then gets further, however much poison there is, for what is committed
        takes no time again.
        """
        rejected = {place: (batch.records[place], each.rejected) for place, each in placed(decoded) if each.rejected}
        done = records_in(decoded)
        if not rejected:
            return done
        failed = self._dead_letters.put_dead_letters(batch.stream, batch.shard_id, rejected, _time_left(remaining_ms))
        report.errors.update(failed.values())
        return min(failed, default=done)

    def _plan_put(
        self, key: PartialKey, base: Partial | None, folded: BatchFold, checkpoint: str, report: IngestReport
    ) -> PartialPut | None:
        """The put that brings a partial from its base to the end of the batch; None when nothing is left to add."""
        delta = folded.beyond(base.checkpoint if base else None, key)
        if delta is None:
            return None
        groups, overflowed = absorb(self._catalog.metrics[key.metric], base.groups if base else {}, delta)
        report.overflowed_groups += overflowed
        version = base.version + 1 if base else 1
        return PartialPut(key, base.checkpoint if base else None, Partial(checkpoint, version, groups))

    def _advance(self, batch: Batch, done: int, remaining_ms: Callable[[], int], report: IngestReport) -> bool:
        last = batch.records[done - 1]
        try:
            time_left_ms = _time_left(remaining_ms, LOG_RESERVE_MS)
            report.write_units += self._progress.advance(batch.stream, batch.shard_id, last, time_left_ms)
        except TransientError as error:
            report.errors[str(error)] += 1
            return False
        return True

    def _remember(
        self, batch: Batch, judged: Judged, done: int, remaining_ms: Callable[[], int], report: IngestReport
    ) -> bool:
        try:
            time_left_ms = _time_left(remaining_ms, ANSWER_RESERVE_MS)
            write_units, report.ids_forgotten = self._ids.remember(batch, judged, done, time_left_ms)
        except TransientError as error:
            report.errors[str(error)] += 1
            return False
        report.write_units += write_units
        return True


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Leave cycles lie until the batch is done and its memory free.

    Why: the collector begins after so many new lists and tuples, finds none that hang together, and has by then gone
         through each column of the batch: a thirtieth of the handler.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _time_left(remaining_ms: Callable[[], int], reserve_ms: int = RESERVE_MS) -> int:
    return max(0, remaining_ms() - reserve_ms)
