"""Capture: the changes of a table, each as one event on the events stream. No boto3 here.

Whatever a batch holds, a try at it makes the same events again, under the same ids and partition keys: what comes twice
is known again by ingest, within DEDUP_HORIZON. So that little comes twice, requests are put one after the other, and
none behind one that the stream did not take whole: beyond the checkpoint lies at most what one request has put. The
changes of one item go to one shard; where the stream took only a part of a request, what it took later stands behind.

A table is captured in one way only. DynamoDB can put its changes on the stream itself, under ids of its own: with both,
each change counts twice.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from msgspec import Struct, field

from chalicelib.consumers.ports import DeadLetterStore, RecordStream, StreamRecord
from chalicelib.consumers.put_requests import fitting_record, in_requests
from chalicelib.consumers.put_until_taken import put_until_taken
from chalicelib.consumers.response import deliver_again
from chalicelib.errors import TransientError
from chalicelib.records.batch import Record
from chalicelib.records.change_events import change_event
from chalicelib.records.cloudevents import shorten
from chalicelib.records.rejection import Reason, Refusal, Rejected
from chalicelib.records.table_changes import TableChange, TableRecord, parse_table_records

RESERVE_MS = 2_000  # kept back of the invocation's time to answer
WHOLE_BATCH = ""  # no sequence number: Lambda takes it for a failure of the whole batch, and delivers all of it again
SHARD = "changes"  # stands for the shard, which Lambda does not tell


class CaptureReport(Struct):
    """What became of one batch of a table's changes, for the answer, the metrics and the log. It holds no payload.

    Shapes: checkpoint is the sequence number from which to retry, None when all is done.
    """

    table: str
    records: int
    captured: int = 0
    dead_letters: Counter[Reason] = field(default_factory=Counter)
    checkpoint: str | None = None
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def response(self) -> dict[str, Any]:
        """Lambda's partial batch response."""
        return deliver_again([self.checkpoint])


class Capture:
    """The consumer of a table's stream. `pause` waits so many milliseconds."""

    def __init__(
        self,
        table: str,
        event_type: str,
        stream: RecordStream,
        dead_letters: DeadLetterStore,
        pause: Callable[[int], None],
    ) -> None:
        self._table = table
        self._event_type = event_type
        self._stream = stream
        self._dead_letters = dead_letters
        self._pause = pause

    def __call__(self, event: Mapping[str, Any], remaining_ms: Callable[[], int]) -> CaptureReport:
        """Put an event for each change of a batch.

        Shapes: event is Lambda's event of the table's stream; remaining_ms tells what is left of the invocation's time.
        Source: AWS Lambda Developer Guide, "Configuring partial batch response with DynamoDB and Lambda".
        """

        def time_left_ms() -> int:
            return max(0, remaining_ms() - RESERVE_MS)

        records = parse_table_records(event)
        report = CaptureReport(self._table, len(records))
        outcomes = [_record_to_put(record, self._event_type) for record in records]
        # Ahead of the events: what is put behind a record whose letter then fails would come twice.
        done = self._store_dead_letters(records, outcomes, time_left_ms(), report)
        done = self._put(outcomes[:done], time_left_ms, report)
        report.dead_letters.update(each.reason for each in outcomes[:done] if isinstance(each, Refusal))
        if done < len(records):
            report.checkpoint = _checkpoint(records, done)
        return report

    def _store_dead_letters(
        self,
        records: Sequence[TableRecord],
        outcomes: Sequence[StreamRecord | Refusal],
        timeout_ms: int,
        report: CaptureReport,
    ) -> int:
        """Store what is no change. Returns: how many records, from the front, have no letter still to be stored."""
        letters = {
            place: _letter_of(record, outcome)
            for place, (record, outcome) in enumerate(zip(records, outcomes, strict=True))
            if isinstance(outcome, Refusal)
        }
        if not letters:
            return len(records)
        failed = self._dead_letters.put_dead_letters(self._table, SHARD, letters, timeout_ms)
        report.errors.update(failed.values())
        return min(failed, default=len(records))

    def _put(
        self, outcomes: Sequence[StreamRecord | Refusal], time_left_ms: Callable[[], int], report: CaptureReport
    ) -> int:
        """Put the events, request by request. Returns: how many records, from the front, are done with."""
        placed = [(place, outcome) for place, outcome in enumerate(outcomes) if isinstance(outcome, StreamRecord)]
        for request in in_requests(placed, lambda each: each[1].payload_bytes):
            left = set(range(len(request)))
            try:
                events = [event for _, event in request]
                for taken in put_until_taken(self._stream, events, time_left_ms, self._pause):
                    left.difference_update(taken)
                    report.captured += len(taken)
            except TransientError as error:
                report.errors[str(error)] += 1
                return request[min(left)][0]
        return len(outcomes)


def _record_to_put(record: TableRecord, event_type: str) -> StreamRecord | Refusal:
    """The events stream's record of a change, or why there is none."""
    change = record.change
    if isinstance(change, Refusal):
        return change
    try:
        event = change_event(change, event_type)
    except (ValueError, RecursionError) as error:
        return Refusal(Reason.INVALID, shorten(str(error)))
    too_large = Refusal(Reason.INVALID, "its event is too large for a record of the stream, even compressed")
    return fitting_record(_partition_key(change), event) or too_large


def _partition_key(change: TableChange) -> str:
    """The same for all changes of an item. A digest: a key of any type and length fits, and is not told."""
    return _digest(change.item)


def _letter_of(record: TableRecord, refusal: Refusal) -> tuple[Record, Sequence[Rejected]]:
    """The dead letter of a record, and what stands for the record of a stream that it is kept under.

    Why the digest beside the sequence number: Lambda does not tell the shard, and two might number alike.
    """
    data = record.data
    digest = _digest(data)
    sequence_number = f"{record.sequence_number or 'unnumbered'}-{digest}"
    key = digest if isinstance(record.change, Refusal) else _partition_key(record.change)
    kept_under = Record(sequence_number, "", key, record.created_at_ms, data)
    return kept_under, [Rejected(refusal, key, None, data)]


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()


def _checkpoint(records: Sequence[TableRecord], place: int) -> str:
    """What Lambda is to go on from, so that the record at this place comes again."""
    numbers = [record.sequence_number for record in records[: place + 1] if record.sequence_number]
    return numbers[-1] if numbers else WHOLE_BATCH
