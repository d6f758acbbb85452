"""Ledgers: which events the stream accepted, as ranges of their numbers. Pure."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from loadtest.recording import Ledger
from loadtest.traffic.arrivals import Ints

Marks = NDArray[np.bool_]  # of an event, by its number, whether it is so
Ranges = list[tuple[int, int]]  # [first, last], rising, apart: between two of them a number is missing


class OpenLedger:
    """The ledger of one worker (or prober) while it sends."""

    def __init__(self, worker: int) -> None:
        self._worker = worker
        self._accepted: Marks = np.zeros(1024, np.bool_)
        self._sent: Marks = np.zeros(1024, np.bool_)
        self._resent = 0

    def send(self, numbers: Sequence[int]) -> None:
        """These events are about to be put: until they are accepted or refused, nobody knows."""
        self._sent = _mark(self._sent, numbers, is_so=True)

    def accept(self, numbers: Sequence[int]) -> None:
        """The stream has accepted these events."""
        self._accepted = _mark(self._accepted, numbers, is_so=True)

    def refuse(self, numbers: Sequence[int]) -> None:
        """The stream has told that it did not accept these events."""
        self._sent = _mark(self._sent, numbers, is_so=False)

    def resend(self, records: int) -> None:
        """So many records are put again without an answer to the time before: the stream may hold them twice."""
        self._resent += records

    def close(self) -> Ledger:
        """The ledger as it is now; what was sent and neither accepted nor refused is unsure."""
        accepted = np.flatnonzero(self._accepted)
        unsure = np.setdiff1d(np.flatnonzero(self._sent), accepted, assume_unique=True)
        return Ledger(self._worker, _ranges(accepted), _ranges(unsure), self._resent)


def to_ranges(numbers: Iterable[int]) -> Ranges:
    """Numbers, in any order and however often, as ranges."""
    return _ranges(np.unique(np.fromiter(numbers, np.int64)))


def count(ranges: Iterable[tuple[int, int]]) -> int:
    """How many numbers lie in the ranges."""
    return sum(last - first + 1 for first, last in ranges)


def merge(ledgers: Iterable[Ledger]) -> list[Ledger]:
    """One ledger for each worker, by worker: what any of its ledgers has as accepted is."""
    merged: dict[int, Ledger] = {}
    for ledger in ledgers:
        known = merged.get(ledger.worker, Ledger(ledger.worker, [], []))
        accepted = _join([*known.accepted, *ledger.accepted])
        unsure = _without(_join([*known.unsure, *ledger.unsure]), accepted)
        merged[ledger.worker] = Ledger(ledger.worker, accepted, unsure, known.resent + ledger.resent)
    return [merged[worker] for worker in sorted(merged)]


def _mark(marks: Marks, numbers: Sequence[int], *, is_so: bool) -> Marks:
    places = np.asarray(numbers, np.int64)
    if len(places) and places.max() >= len(marks):
        marks = np.append(marks, np.zeros(max(len(marks), int(places.max()) + 1 - len(marks)), np.bool_))
    marks[places] = is_so
    return marks


def _ranges(numbers: Ints) -> Ranges:
    """Shapes: numbers rise, each once."""
    if not len(numbers):
        return []
    gaps = np.flatnonzero(np.diff(numbers) > 1)
    firsts, lasts = np.append(numbers[0], numbers[gaps + 1]), np.append(numbers[gaps], numbers[-1])
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def _join(ranges: Iterable[tuple[int, int]]) -> Ranges:
    joined: Ranges = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


def _without(ranges: Ranges, others: Ranges) -> Ranges:
    """What of the ranges lies in none of the others."""
    left: Ranges = []
    for first, last in ranges:
        start = first
        for other_first, other_last in others:
            if other_last < start or other_first > last:
                continue
            if start < other_first:
                left.append((start, other_first - 1))
            start = other_last + 1
        if start <= last:
            left.append((start, last))
    return left
