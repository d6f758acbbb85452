"""When a worker's events are due: open arrivals, which wait for nothing, dealt to slots. Pure.

        rate │       ┌────█────   a slot is due when its last event is: at its end
             │    ┌──┘    █       events lie evenly in their slot, to the millisecond; a burst's all at one instant
             │ ┌──┘       █       of the load's events, all workers together, every workers-th is this worker's
             └─┴──┴──┴──┴─┴──┴─ t
               ramp   slot  burst

Event numbers rise with time. All is whole milliseconds and whole events, so that every machine has the same.
"""

import numpy as np
from numpy.typing import NDArray

from loadtest.profile import Arrivals

Ints = NDArray[np.int64]

SLOT_EVENTS = 100  # at fewer, many records would hold a single event
SLOT_MS_MIN, SLOT_MS_MAX = 100, 500


class Schedule:
    """The slots of one worker, as columns.

    Shapes: firsts[i] is the number of slot i's first event, firsts[i + 1] that of the next slot; empty slots are among
            them. Units: starts_ms, from the load's start; widths_ms, a burst's is 1.
    """

    def __init__(self, arrivals: Arrivals, workers: int, worker: int) -> None:
        slot_ms = _slot_ms(arrivals.rate / workers)
        end_ms = round(arrivals.seconds * 1000)
        edges_ms = np.append(np.arange(0, end_ms, slot_ms, dtype=np.int64), end_ms)
        counts = np.diff(_share(_due_before(arrivals, edges_ms), workers, worker))
        starts_ms, widths_ms = edges_ms[:-1], np.diff(edges_ms)
        bursts_ms = _bursts_ms(arrivals, end_ms) // slot_ms * slot_ms
        if arrivals.burst is not None and len(bursts_ms):
            # Ahead of the slot that begins at the same instant.
            places = np.searchsorted(starts_ms, bursts_ms)
            of_burst = _share(np.array([0, arrivals.burst.events]), workers, worker)[1]
            starts_ms = np.insert(starts_ms, places, bursts_ms)
            widths_ms = np.insert(widths_ms, places, 1)
            counts = np.insert(counts, places, of_burst)
        self.starts_ms: Ints = starts_ms
        self.widths_ms: Ints = widths_ms
        self.firsts: Ints = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])

    @property
    def total(self) -> int:
        """How many events there are."""
        return int(self.firsts[-1])

    def slots_of(self, numbers: Ints) -> Ints:
        """The slot of each of these events."""
        return np.searchsorted(self.firsts, numbers, side="right") - 1

    def due_ms(self, numbers: Ints) -> Ints:
        """When each of these events is due, from the load's start."""
        slots = self.slots_of(numbers)
        firsts = self.firsts[slots]
        return self.starts_ms[slots] + (numbers - firsts) * self.widths_ms[slots] // (self.firsts[slots + 1] - firsts)

    def spread_before(self, due_ms: Ints, chance: Ints) -> Ints:
        """An event for each of these instants, due by then: one of the slot before that in which it lies.

        Shapes: chance, 32 random bits each. Returns: numbers; -1 where there is no such event.
        """
        slots = np.maximum(np.searchsorted(self.starts_ms, due_ms, side="right") - 1, 0)
        end = self.firsts[slots]
        first = self.firsts[np.maximum(slots - 1, 0)]
        return np.where(first < end, first + (chance * (end - first) >> 32), end - 1)


def _slot_ms(rate: float) -> int:
    return min(SLOT_MS_MAX, max(SLOT_MS_MIN, round(SLOT_EVENTS / rate * 10) * 100))


def _due_before(arrivals: Arrivals, instants_ms: Ints) -> Ints:
    """How many of the load's events, bursts apart, are due before each instant."""
    seconds = instants_ms / 1000
    ramp = arrivals.ramp_seconds
    in_ramp = np.minimum(seconds, ramp)
    ramped = arrivals.rate * in_ramp * in_ramp / (2 * ramp) if ramp else np.zeros(len(seconds))
    before: Ints = np.floor(ramped + arrivals.rate * (seconds - in_ramp)).astype(np.int64)
    return before


def _share(counts: Ints, workers: int, worker: int) -> Ints:
    """How many of the first so many events are this worker's."""
    return (counts + (workers - 1 - worker)) // workers


def _bursts_ms(arrivals: Arrivals, end_ms: int) -> Ints:
    if arrivals.burst is None:
        return np.zeros(0, np.int64)
    every = arrivals.burst.every_seconds
    instants = np.arange(1, int(arrivals.seconds / every) + 1) * every * 1000
    return instants[instants < end_ms].astype(np.int64)
