"""What an event source mapping does next for one shard. No thread, no clock, no AWS here.

Records and the time come in as arguments; out comes one decision at a time, and somebody else acts on it:

    mapping.fetched(records, now_ms)
    match mapping.decide(now_ms):
        case Invoke(records):             mapping.answered(response, now_ms) or mapping.failed(now_ms)
        case GiveUp(records, condition):  mapping.given_up(len(records))
        case Wait(until_ms):              fetch some more, or sleep

The threads of the local stage run it against an emulator, the simulation against a seeded world, by the same rules.
What a record looks like is no concern of it, so that Kinesis and DynamoDB Streams share it.

Source: AWS Lambda Developer Guide, "Using Lambda to process records from Amazon Kinesis Data Streams" and
"Configuring partial batch response with Kinesis Data Streams and Lambda".
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from typing import Any, Generic, Protocol, TypeVar

BATCH_SIZE_MAX = 10_000  # Lambda's own limit for a Kinesis or DynamoDB event source
PAYLOAD_BYTES_MAX = 6 * 1024 * 1024  # Lambda's limit for the event of a synchronous invocation
ENVELOPE_BYTES = len('{"Records":[]}')
FOR_EVER = -1

RETRY_ATTEMPTS_EXHAUSTED = "RetryAttemptsExhausted"
RECORD_AGE_EXCEEDED = "RecordAgeExceeded"


class Fetched(Protocol):
    """All that the mapping needs to know of a record."""

    @property
    def sequence_number(self) -> str:
        """A decimal of up to 129 digits, as the service wrote it."""

    @property
    def arrived_ms(self) -> int:
        """When the stream accepted it."""

    @property
    def payload_bytes(self) -> int:
        """What it takes in the event: its JSON with the data in base64, not the bytes that the producer put."""


Record = TypeVar("Record", bound=Fetched)


class OutOfOrderError(Exception):
    """A source handed over a record that is not beyond the one before it: the source's fault, never the producer's."""


@dataclass(frozen=True, slots=True)
class MappingOptions:
    """The options of an event source mapping that matter for one shard; the defaults are Lambda's.

    Shapes: lets_through says of a record whether a filter lets it through; None where all are.
    """

    batch_size: int = 100
    batching_window_ms: int = 0
    bisect_batch_on_function_error: bool = False
    report_batch_item_failures: bool = False
    maximum_retry_attempts: int = FOR_EVER
    maximum_record_age_ms: int = FOR_EVER
    lets_through: Callable[[Any], bool] | None = None
    backoff_ms_first: int = 100
    backoff_ms_max: int = 3_000  # Lambda's own climbs to minutes; nobody waits for that at a desk

    def __post_init__(self) -> None:
        if not 1 <= self.batch_size <= BATCH_SIZE_MAX:
            raise ValueError(f"batch_size is {self.batch_size}; Lambda takes 1 to {BATCH_SIZE_MAX}")


@dataclass(frozen=True, slots=True)
class Invoke(Generic[Record]):
    """Call the function with these records, then report `answered` or `failed`."""

    records: Sequence[Record]


@dataclass(frozen=True, slots=True)
class GiveUp(Generic[Record]):
    """Send word of these records, a batch or the front of one, to the destination, then report `given_up`."""

    records: Sequence[Record]
    condition: str
    invocations: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until_ms`; None: before more records are fetched."""

    until_ms: int | None


@dataclass(frozen=True, slots=True)
class _Batch(Generic[Record]):
    records: Sequence[Record]
    retries: int = 0
    invocations: int = 0
    delivered_again: bool = False


def records_done(response: Any, sequence_numbers: Sequence[str]) -> int | None:
    """How many records, from the front, a partial batch response says are done.

    Shapes:  response, the function's answer as parsed JSON; sequence_numbers, the batch's, in order.
    Returns: all of them for an empty answer, those before the lowest identifier for another, None for an answer that
             counts as total failure: an identifier that is empty, null, under another key, or not of this batch.
    """
    failures = response.get("batchItemFailures") if isinstance(response, dict) else None
    if not failures:
        return len(sequence_numbers)
    index_of = {sequence_number: index for index, sequence_number in enumerate(sequence_numbers)}
    try:
        return min(index_of[failure["itemIdentifier"]] for failure in failures)
    except (KeyError, TypeError):
        return None


class ShardMapping(Generic[Record]):
    """One shard's share of an event source mapping: in order, one invocation in flight, at least once.

    `deliver_again` is asked after each batch that succeeded; when it says yes, the batch is delivered a second time, as
    Lambda does when it does not hear the answer to the first.
    """

    def __init__(self, options: MappingOptions, deliver_again: Callable[[], bool] = lambda: False) -> None:
        self.options = options
        self.checkpoint: str | None = None
        self._deliver_again = deliver_again
        self._waiting: deque[Record] = deque()  # fetched, not in a batch yet
        self._waiting_since_ms = 0
        self._batches: deque[_Batch[Record]] = deque()  # cut and not settled: one, or what bisecting made of it
        self._last_fetched: str | None = None
        self._shard_has_ended = False
        self._failures_in_a_row = 0
        self._not_before_ms = 0

    @property
    def room(self) -> int:
        """How many more records to fetch at most: one full batch waits beside the one that is worked on, no more."""
        return max(0, self.options.batch_size - len(self._waiting))  # the options may have changed meanwhile

    @property
    def drained(self) -> bool:
        """Whether the shard has ended and each of its records is settled, so that its children may begin."""
        return self._shard_has_ended and self.idle

    @property
    def idle(self) -> bool:
        """Whether each record fetched so far is settled."""
        return not self._waiting and not self._batches

    def fetched(self, records: Sequence[Record], now_ms: int) -> None:
        """Take over records that follow the last ones fetched.

        Raises: OutOfOrderError when they do not follow.
        Why:    what no filter lets through is in no batch, whose window begins without it, and is done with as soon as
                all before it is.
        Source: AWS Lambda Developer Guide, "Control which events Lambda sends to your function".
        """
        for record in records:
            if self._last_fetched is not None and int(record.sequence_number) <= int(self._last_fetched):
                raise OutOfOrderError(f"{record.sequence_number} was fetched after {self._last_fetched}")
            self._last_fetched = record.sequence_number
        if not self._waiting:
            self._waiting_since_ms = now_ms
        self._waiting.extend(filter(self.options.lets_through, records) if self.options.lets_through else records)
        self._pass_over()

    def shard_ended(self) -> None:
        """No record will follow: what waits need not wait for the batching window."""
        self._shard_has_ended = True

    def decide(self, now_ms: int) -> Invoke[Record] | GiveUp[Record] | Wait:
        """Say what to do now; saying it changes nothing but the cut of a batch, so it may be asked again."""
        if not self._batches:
            if not self._waiting:
                return Wait(None)
            if not self._a_batch_is_due(now_ms):
                return Wait(self._waiting_since_ms + self.options.batching_window_ms)
            self._batches.append(self._cut(now_ms))
        batch = self._batches[0]
        too_old = self._count_too_old(batch.records, now_ms)
        if too_old:
            return GiveUp(batch.records[:too_old], RECORD_AGE_EXCEEDED, batch.invocations)
        if self._retries_are_spent(batch):
            return GiveUp(batch.records, RETRY_ATTEMPTS_EXHAUSTED, batch.invocations)
        if now_ms < self._not_before_ms:
            return Wait(self._not_before_ms)
        return Invoke(batch.records)

    def answered(self, response: Any, now_ms: int) -> None:
        """The function returned `response` (parsed JSON) for the batch of the last `Invoke`."""
        records = self._batches[0].records
        done: int | None = len(records)
        if self.options.report_batch_item_failures:
            done = records_done(response, [record.sequence_number for record in records])
        if done is None:
            self.failed(now_ms)
        elif done == len(records):
            self._succeeded()
        else:
            self._succeeded_up_to(done, now_ms)

    def failed(self, now_ms: int) -> None:
        """The function raised, timed out or crashed with the batch of the last `Invoke`: none of it counts as done."""
        batch = self._batches.popleft()
        invocations = batch.invocations + 1
        if self.options.bisect_batch_on_function_error and len(batch.records) > 1:
            middle = len(batch.records) // 2
            halves = (batch.records[:middle], batch.records[middle:])
            self._batches.extendleft(_Batch(half, batch.retries, invocations) for half in reversed(halves))
        else:
            self._batches.appendleft(_Batch(batch.records, batch.retries + 1, invocations))
        self._back_off(now_ms)

    def given_up(self, count: int) -> None:
        """Word of the last `GiveUp`'s `count` records has reached the destination: the shard goes on behind them."""
        self._settle(count)

    def _succeeded(self) -> None:
        batch = self._batches[0]
        if not batch.delivered_again and self._deliver_again():
            self._batches[0] = replace(batch, delivered_again=True)
        else:
            self._settle(len(batch.records))

    def _succeeded_up_to(self, done: int, now_ms: int) -> None:
        """Bisecting changes nothing here: the batch is cut at the number that the function returned."""
        if done:
            self._settle(done)
        batch = self._batches[0]
        self._batches[0] = _Batch(batch.records, batch.retries + 1, batch.invocations + 1)
        self._back_off(now_ms)

    def _settle(self, count: int) -> None:
        batch = self._batches.popleft()
        self.checkpoint = batch.records[count - 1].sequence_number
        rest = batch.records[count:]
        if rest:
            self._batches.appendleft(replace(batch, records=rest))
        self._failures_in_a_row = 0
        self._not_before_ms = 0
        self._pass_over()

    def _pass_over(self) -> None:
        if self.idle:
            self.checkpoint = self._last_fetched

    def _back_off(self, now_ms: int) -> None:
        pause_ms = min(self.options.backoff_ms_max, self.options.backoff_ms_first << min(self._failures_in_a_row, 30))
        self._failures_in_a_row += 1
        self._not_before_ms = now_ms + pause_ms

    def _retries_are_spent(self, batch: _Batch[Record]) -> bool:
        return self.options.maximum_retry_attempts != FOR_EVER and batch.retries > self.options.maximum_retry_attempts

    def _count_too_old(self, records: Sequence[Record], now_ms: int) -> int:
        if self.options.maximum_record_age_ms == FOR_EVER:
            return 0
        arrived_before_ms = now_ms - self.options.maximum_record_age_ms
        return sum(1 for _ in takewhile(lambda record: record.arrived_ms < arrived_before_ms, records))

    def _a_batch_is_due(self, now_ms: int) -> bool:
        fitting = self._count_fitting()
        batch_is_full = fitting == self.options.batch_size
        payload_is_full = fitting < len(self._waiting)
        window_is_over = now_ms >= self._waiting_since_ms + self.options.batching_window_ms
        return batch_is_full or payload_is_full or window_is_over or self._shard_has_ended

    def _count_fitting(self) -> int:
        """How many of the waiting records one event holds; one at the least, however large it is."""
        commas = 1  # each record is counted with the comma behind it; the last has none
        room_bytes = PAYLOAD_BYTES_MAX - ENVELOPE_BYTES + commas
        fitting = 0
        for record in islice(self._waiting, self.options.batch_size):
            room_bytes -= record.payload_bytes + commas
            if room_bytes < 0 and fitting:
                break
            fitting += 1
        return fitting

    def _cut(self, now_ms: int) -> _Batch[Record]:
        records = [self._waiting.popleft() for _ in range(self._count_fitting())]
        self._waiting_since_ms = now_ms
        return _Batch(records)
