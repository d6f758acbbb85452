"""What one worker's events have come to: its ledger, and its seconds. Pure, but for what it remembers.

Events come by the tens of thousands a second, so nothing here is done once an event: it is told of whole requests.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from loadtest.ledger import OpenLedger
from loadtest.recording import Ledger, Second


class Record(Protocol):
    """A record that `loadtest.traffic` has packed."""

    @property
    def partition_key(self) -> str:
        """By which it finds its shard."""

    @property
    def data(self) -> bytes:
        """Its payload."""

    @property
    def size_bytes(self) -> int:
        """As Kinesis counts a record's size."""

    @property
    def numbers(self) -> Sequence[int]:
        """The events in it."""


@dataclass(slots=True, eq=False)
class Parcel:
    """A record on its way. Shapes: is_lost, whether an answer about it was lost. Units: due_ms, its slot's."""

    record: Record
    due_ms: int
    is_lost: bool = False

    @property
    def partition_key(self) -> str:
        """The record's."""
        return self.record.partition_key

    @property
    def data(self) -> bytes:
        """The record's."""
        return self.record.data


class Bookkeeping:
    """The ledger and the seconds of one worker.

    Shapes: second, of the load, counted from its start. Of each request first `put` is told, then of each record of it
            that it was accepted or refused, or that its answer is lost.
    """

    def __init__(self, worker: int) -> None:
        self._ledger = OpenLedger(worker)
        self._seconds: dict[int, Second] = {}
        self._next = 0  # the first second that was not taken yet
        self.waiting = 0  # events that were due and are not accepted

    def offer(self, events: int, second: int) -> None:
        """Note events that are due."""
        self._second(second).offered += events
        self.waiting += events

    def put(self, parcels: Sequence[Parcel], second: int) -> None:
        """Note a request. What was in one whose answer was lost the stream may hold twice from now on."""
        self._second(second).requests += 1
        self._ledger.send(_numbers(parcels))
        self._ledger.resend(sum(parcel.is_lost for parcel in parcels))

    def accept(self, parcels: Sequence[Parcel], second: int) -> None:
        """Note records that the stream has taken."""
        if not parcels:
            return
        numbers = _numbers(parcels)
        self._ledger.accept(numbers)
        counts = self._second(second)
        counts.accepted += len(numbers)
        counts.records += len(parcels)
        counts.bytes += sum(parcel.record.size_bytes for parcel in parcels)
        self.waiting -= len(numbers)

    def refuse(self, parcels: Sequence[Parcel], second: int, *, is_throttled: bool = True) -> None:
        """Note records that the stream has not taken; an earlier request with one of them it may have."""
        self._second(second).throttled += len(parcels) * is_throttled
        self._ledger.refuse(_numbers(parcel for parcel in parcels if not parcel.is_lost))

    def lose(self, parcels: Iterable[Parcel]) -> None:
        """Note records of which nobody will tell whether the stream has taken them."""
        for parcel in parcels:
            parcel.is_lost = True

    def take_seconds(self, before: int) -> list[Second]:
        """The seconds that are over, each once; what waits is told of the last."""
        taken = [self._seconds.pop(at, Second(at)) for at in range(self._next, before)]
        if taken:
            self._next = before
            taken[-1].waiting = self.waiting
        return taken

    def ledger(self) -> Ledger:
        """What the stream has accepted by now, and of what nobody can tell."""
        return self._ledger.close()

    def _second(self, second: int) -> Second:
        second = max(second, self._next)  # one that was taken is not told again
        counts = self._seconds.get(second)
        if counts is None:
            counts = self._seconds[second] = Second(second)
        return counts


def _numbers(parcels: Iterable[Parcel]) -> list[int]:
    return list(chain.from_iterable(parcel.record.numbers for parcel in parcels))
