"""Has a worker's events accepted by the stream: each put when it is due, and again until it is accepted.

Three stages, so that none waits for another more than it has to:

    pacing   takes slots when they are due, and never waits for the stage
    packing  makes records of them, while the lanes hold few enough
    lanes    each puts the records of its shards, one request at a time, in the order of the slots; what was refused is
             put again with backoff, and so is, under the same ids, what nobody can tell of

So a shard's records keep the order that `loadtest.traffic` asks for, one shard that is throttled holds up no other
lane, and what a stage cannot take stays behind as slots, which are small: it is told as `waiting`, and never dropped.
A slot is packed by the shards as they are then, and by new ones only when nothing is left that was packed by the old.
"""

import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Protocol

import gevent
from botocore.exceptions import BotoCoreError, ClientError
from gevent.event import Event
from gevent.queue import Queue

from loadtest.generate.bookkeeping import Bookkeeping, Parcel, Record
from loadtest.generate.kinesis import AnswerLostError, NeverSentError, RecordAnswer, RequestRefusedError
from loadtest.generate.pacing import Clock, when_due
from loadtest.producer.delivery import REQUEST_BYTES_MAX, REQUEST_RECORDS_MAX, Retry
from loadtest.producer.shards import ShardMap

# Shards share lanes, so that requests are few where shards are many: each costs 0.7 ms of CPU. (20 000 events a second
# on 32 shards, CPU an event of the whole worker: by 32 lanes 12.5 µs, by 8 lanes 7.9.)
LANES = 8
# One request may hold slots that lie so far apart: within it Kinesis promises no order. `loadtest.traffic` has three
# seconds between an event and one that has to come behind it.
REQUEST_SPAN_MS = 1_000
HELD_BYTES_MAX = 128 * 1024 * 1024  # packed and not accepted


class Slot(Protocol):
    """Events that are due together, from number first to last."""

    @property
    def due_ms(self) -> int:
        """When, epoch milliseconds."""

    @property
    def first(self) -> int:
        """The first event."""

    @property
    def last(self) -> int:
        """The last event."""

    def records(self, shards: ShardMap) -> Sequence[Record]:
        """Pack them."""


Put = Callable[[Sequence[Parcel]], list[RecordAnswer]]
Shards = Callable[[], ShardMap]
# Told of each request: how long it took, milliseconds, the payload's bytes, and what went wrong.
Hear = Callable[[float, int, Exception | None], None]


class ThrottledError(Exception):
    """Some of a request's records were refused; the text is the codes for why."""


class Lane:
    """The records of some shards, in order."""

    def __init__(self) -> None:
        self._parcels: deque[Parcel] = deque()
        self._filled = Event()

    def add(self, parcel: Parcel) -> None:
        """Take one in, behind those that came before."""
        self._parcels.append(parcel)
        self._filled.set()

    def take_request(self) -> list[Parcel]:
        """As many as one request may hold; waits for the first."""
        self._filled.wait()
        request: list[Parcel] = []
        room_bytes = REQUEST_BYTES_MAX
        while self._parcels and len(request) < REQUEST_RECORDS_MAX:
            parcel = self._parcels[0]
            room_bytes -= parcel.record.size_bytes
            if request and (room_bytes < 0 or parcel.due_ms - request[0].due_ms > REQUEST_SPAN_MS):
                break
            request.append(self._parcels.popleft())
        if not self._parcels:
            self._filled.clear()
        return request


class Sender:
    """One worker's load, from its first slot to the last acceptance.

    Shapes: shards asks the stream for its shards; put, as `KinesisPuts`; hear is told of each request.
    """

    def __init__(
        self,
        slots: Iterable[Slot],
        *,
        started_ms: int,
        book: Bookkeeping,
        put: Put,
        shards: Shards,
        clock_ms: Clock,
        hear: Hear,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._slots = slots
        self._started_ms = started_ms
        self._book = book
        self._put = put
        self._ask_shards = shards
        self._shards = shards()
        self._clock_ms = clock_ms
        self._hear = hear
        self._retry = Retry(sleep=gevent.sleep, random=chance)
        self._due: Queue[Slot] = Queue()
        self._lanes = [Lane() for _ in range(LANES)]
        self._held_bytes = 0
        self._progress = Event()

    def run(self, grace_seconds: float) -> None:
        """Send all of it; at the end wait for what is still under way, so long at most.

        Raises: what a stage of it has raised, if one has: an error of ours.
        """
        stages = [gevent.spawn(self._pack), *(gevent.spawn(self._deliver_all, lane) for lane in self._lanes)]
        try:
            for slot in when_due(self._slots, self._clock_ms, gevent.sleep):
                self._book.offer(slot.last - slot.first + 1, self._second())
                self._due.put(slot)
                gevent.sleep(0)  # slots that are late must not keep the lanes from their answers
            with gevent.Timeout(grace_seconds, exception=False):
                self._wait_until(lambda: not self._book.waiting)
        finally:
            gevent.killall(stages)
        for stage in stages:
            stage.get()

    def _wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that only progress of a lane can bring about."""
        while not holds():
            self._progress.clear()
            self._progress.wait()

    def _pack(self) -> None:
        shards = self._shards
        lane_of: dict[str, Lane] = {}  # by partition key, of which a run has as many as customers
        while True:
            slot = self._due.get()
            self._wait_until(lambda: self._held_bytes < HELD_BYTES_MAX)
            if self._shards is not shards:
                self._wait_until(lambda: not self._held_bytes)
                shards, lane_of = self._shards, {}
            for record in slot.records(shards):
                self._held_bytes += record.size_bytes
                lane = lane_of.get(record.partition_key)
                if lane is None:
                    lane = self._lane_for(record.partition_key, shards)
                    lane_of[record.partition_key] = lane
                lane.add(Parcel(record, slot.due_ms))

    def _lane_for(self, partition_key: str, shards: ShardMap) -> Lane:
        return self._lanes[shards.ids.index(shards.shard_of(partition_key)) % LANES]

    def _deliver_all(self, lane: Lane) -> None:
        while True:
            request = lane.take_request()
            self._deliver(request)
            self._held_bytes -= sum(parcel.record.size_bytes for parcel in request)
            self._progress.set()

    def _deliver(self, request: Sequence[Parcel]) -> None:
        """Put records until all are accepted, however often that takes."""
        for failed_attempts in count():
            request = self._put_once(request)
            if not request:
                break
            self._retry.pause(failed_attempts)

    def _put_once(self, request: Sequence[Parcel]) -> Sequence[Parcel]:
        """Put records. Returns: those that were not accepted, or of which nobody can tell."""
        began_ms = self._clock_ms()
        self._book.put(request, self._second())
        left = request
        error: Exception | None = None
        try:
            answers = self._put(request)
        except NeverSentError as unsent:
            error = unsent
            self._book.refuse(request, self._second(), is_throttled=False)
        except RequestRefusedError as refusal:
            error = refusal
            self._book.refuse(request, self._second())
        except AnswerLostError as lost:
            error = lost
            self._book.lose(request)
        else:
            left, error = self._note(request, answers)
        self._hear(self._clock_ms() - began_ms, sum(len(parcel.data) for parcel in request), error)
        return left

    def _note(
        self, request: Sequence[Parcel], answers: Sequence[RecordAnswer]
    ) -> tuple[Sequence[Parcel], Exception | None]:
        """Tick off what was accepted. Returns: what was not, and why."""
        answered = list(zip(request, answers, strict=True))
        self._book.accept([parcel for parcel, answer in answered if answer.error is None], self._second())
        if not {answer.shard_id for _, answer in answered if answer.error is None} <= set(self._shards.ids):
            self._ask_again()  # a shard that we do not know has taken records: the stream was split or merged
        refused = [parcel for parcel, answer in answered if answer.error is not None]
        if not refused:
            return refused, None
        self._book.refuse(refused, self._second())
        reasons = {answer.error for _, answer in answered if answer.error is not None}
        return refused, ThrottledError(", ".join(sorted(reasons)))

    def _ask_again(self) -> None:
        """Ask for the shards; if they cannot be had, the next answer of an unknown one asks again."""
        with contextlib.suppress(BotoCoreError, ClientError):
            self._shards = self._ask_shards()

    def _second(self) -> int:
        return max(0, self._clock_ms() - self._started_ms) // 1000
