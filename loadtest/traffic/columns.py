"""What a worker's events are, as columns: their kinds, and what stands in them. Pure, and the same on every machine.

Chance is Philox, whose every block of bits can be had by its number: event n takes block n, so that whatever asks for
event n, in whatever order, has the same. Only whole numbers are reckoned with: powers and roots differ in their last
digit from one processor to the next.

Repeats. A duplicate has the very bytes of an event before it, its *original*, and a conflict its id with another
amount. Originals are usual or late ones, for only what counts is remembered. One in so many originals is kept for
conflicts and has no duplicates, and all conflicts of one original are alike. So what becomes of its repeats does not
depend on which of them the stream accepted first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from loadtest.profile import Events
from loadtest.recording import Run
from loadtest.traffic.arrivals import Ints, Schedule
from loadtest.traffic.names import ORDER_TYPES

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
WAYS = 2**32  # each chance is 32 bits
CHANCES = 8  # of each event: four words of 64 bits, one block of Philox

BLOCK_EVENTS = 8_192
BLOCKS_HELD = 32  # so many that at 20 000 events a second repeats still find originals of ten seconds ago; 21 MB

CENTS_MIN, CENTS_MAX = 10_00, 4_999_99
LARGE_CENTS, LARGE_CENTS_SPREAD = 5_000_00, 4_000_00
LARGE_ONE_IN = 10_000  # a handler runs for each large order, and DynamoDB is written for each run

FOR_CONFLICTS_ONE_IN = 8
AT_ONCE_EVENTS = 8  # a duplicate that comes at once comes so many events behind, or nearly
LATER_MS_MIN, LATER_MS_SPREAD = 1_000, 9_000
CONFLICT_MS_MIN = 3_000  # so far behind that its original was accepted, if ever
ORIGINAL_MS_MAX = 300_000  # well within the horizon in which the stage remembers it

TOO_LATE_BY_MS = FUTURE_BY_MS = 2 * DAY_MS  # further than any backlog could carry it back into the bounds


class Kind(IntEnum):
    """What is the matter with an event. Those up to HOT are originals, which count by themselves."""

    USUAL = 0
    LATE = 1
    HOT = 2
    DUPLICATE = 3
    CONFLICT = 4
    TOO_LATE = 5
    FUTURE = 6
    MALFORMED = 7
    INVALID = 8
    UNKNOWN_TYPE = 9
    BROKEN_AGGREGATE = 10


POISON = (Kind.MALFORMED,) * 8 + (Kind.INVALID,) * 8 + (Kind.UNKNOWN_TYPE,) * 3 + (Kind.BROKEN_AGGREGATE,)


@dataclass(frozen=True, slots=True)
class Columns:
    """Events, column by column.

    Shapes: what stands in event i. originals, the number of the event whose id it has, its own unless it is a
            duplicate or a conflict; customers, currencies and order_types by their number in `names`; encodings, by
            their place in `Planner.encodings`. Units: times_ms, epoch milliseconds; cents.
    """

    numbers: Ints
    kinds: NDArray[np.uint8]
    originals: Ints
    times_ms: Ints
    customers: Ints
    cents: Ints
    currencies: Ints
    order_types: Ints
    encodings: Ints


class Planner:
    """Tells what the events of one worker are."""

    def __init__(self, run: Run, worker: int) -> None:
        events = run.profile.events
        self.schedule = Schedule(run.profile.arrivals, run.workers, worker)
        self.encodings = tuple(events.encodings)
        self._run = run
        self._currencies = events.currencies
        self._key = np.array([run.seed, worker], dtype=np.uint64)
        self._kinds, self._kind_edges = _kinds(events)
        self._customer_edges = _zipf_edges(events.customers, events.zipf)
        self._hot = events.customers
        self._encoding_edges = _edges(list(events.encodings.values()))
        self._late_ms = min(HOUR_MS, run.lateness_ms // 4)
        self._block = lru_cache(BLOCKS_HELD)(self._make_block)

    def columns(self, first: int, last: int) -> Columns:
        """What the events from number first to last, both included, are."""
        numbers = np.arange(first, last + 1, dtype=np.int64)
        chances = self._chances(first, len(numbers))
        kinds = self._raw_kinds(chances)
        due_ms = self.schedule.due_ms(numbers)
        originals = self._originals(numbers, kinds, chances, due_ms)
        repeats = np.flatnonzero((kinds == Kind.DUPLICATE) | (kinds == Kind.CONFLICT))
        kinds[repeats[originals[repeats] == numbers[repeats]]] = Kind.USUAL  # there was nothing to repeat
        repeats = repeats[originals[repeats] != numbers[repeats]]

        of_content, content_due_ms, content_kinds = chances, due_ms, kinds
        if len(repeats):
            of_content, content_due_ms, content_kinds = chances.copy(), due_ms.copy(), kinds.copy()
            of_content[repeats], content_kinds[repeats] = self._look_up(originals[repeats])
            content_due_ms[repeats] = self.schedule.due_ms(originals[repeats])
        cents = _cents(of_content)
        cents[kinds == Kind.CONFLICT] += 1
        customers = np.searchsorted(self._customer_edges, of_content[:, 1], side="right")
        customers[content_kinds == Kind.HOT] = self._hot
        encodings = np.searchsorted(self._encoding_edges, chances[:, 5], side="right")
        if len(self.encodings) > 1 and len(repeats):
            same = np.searchsorted(self._encoding_edges, of_content[repeats, 5], side="right") == encodings[repeats]
            encodings[repeats[same]] = (encodings[repeats[same]] + 1) % len(self.encodings)
        return Columns(
            numbers,
            kinds,
            originals,
            self._run.started_ms + content_due_ms + self._shift_ms(content_kinds, of_content),
            customers,
            cents,
            of_content[:, 3] % self._currencies,
            of_content[:, 4] % len(ORDER_TYPES),
            encodings,
        )

    def _chances(self, first: int, count: int) -> Ints:
        """Of each event, eight times 32 random bits."""
        words = np.random.Philox(counter=first, key=self._key).random_raw(count * CHANCES // 2)
        return words.astype("<u8").view("<u4").astype(np.int64).reshape(count, CHANCES)

    def _raw_kinds(self, chances: Ints) -> NDArray[np.uint8]:
        """The kinds, before it is known whether a repeat has something to repeat."""
        kinds = self._kinds[np.searchsorted(self._kind_edges, chances[:, 0], side="right")]
        poison = kinds == Kind.MALFORMED
        kinds[poison] = np.array(POISON, np.uint8)[chances[poison, 6] % len(POISON)]
        return kinds

    def _originals(self, numbers: Ints, kinds: NDArray[np.uint8], chances: Ints, due_ms: Ints) -> Ints:
        """The number whose id each event has."""
        originals = numbers.copy()
        for kind, is_for_conflicts in ((Kind.DUPLICATE, 0), (Kind.CONFLICT, 1)):
            places = np.flatnonzero(kinds == kind)
            if not len(places):
                continue
            spread, other = chances[places, 6], chances[places, 7]
            back_ms = LATER_MS_MIN + spread % LATER_MS_SPREAD + (CONFLICT_MS_MIN if is_for_conflicts else 0)
            wanted = self.schedule.spread_before(due_ms[places] - back_ms, other)
            if kind == Kind.DUPLICATE:
                wanted = np.where(spread & 1, wanted, numbers[places] - 1 - other % AT_ONCE_EVENTS)
            found = self._last_original(wanted, is_for_conflicts)
            is_near = (found >= 0) & (due_ms[places] - self.schedule.due_ms(np.maximum(found, 0)) <= ORIGINAL_MS_MAX)
            originals[places[is_near]] = found[is_near]
        return originals

    def _last_original(self, numbers: Ints, is_for_conflicts: int) -> Ints:
        """The last original at each of these numbers or before it, of its block; -1 where there is none."""
        found = np.full(len(numbers), -1, np.int64)
        blocks = numbers // BLOCK_EVENTS
        for block in np.unique(blocks[numbers >= 0]).tolist():
            here = blocks == block
            found[here] = self._block(block).last_originals[is_for_conflicts][numbers[here] - block * BLOCK_EVENTS]
        return found

    def _look_up(self, numbers: Ints) -> tuple[Ints, NDArray[np.uint8]]:
        """The chances and the kinds of these events, which are originals."""
        chances = np.empty((len(numbers), CHANCES), np.int64)
        blocks = numbers // BLOCK_EVENTS
        for block in np.unique(blocks).tolist():
            here = blocks == block
            chances[here] = self._block(block).chances[numbers[here] - block * BLOCK_EVENTS]
        return chances, self._raw_kinds(chances)

    def _make_block(self, block: int) -> "_Block":
        first = block * BLOCK_EVENTS
        chances = self._chances(first, BLOCK_EVENTS)
        numbers = np.arange(first, first + BLOCK_EVENTS, dtype=np.int64)
        is_original = self._raw_kinds(chances) <= Kind.HOT
        is_for_conflicts = chances[:, 7] // LARGE_ONE_IN % FOR_CONFLICTS_ONE_IN == 0
        kept = (is_original & ~is_for_conflicts, is_original & is_for_conflicts)
        duplicated, conflicting = (np.maximum.accumulate(np.where(each, numbers, -1)) for each in kept)
        return _Block(chances, (duplicated, conflicting))

    def _shift_ms(self, kinds: NDArray[np.uint8], chances: Ints) -> Ints:
        """How far from the instant when it is due an event's time lies."""
        shift_ms = np.zeros(len(kinds), np.int64)
        late = kinds == Kind.LATE
        shift_ms[late] = -self._late_ms - chances[late, 6] % (self._late_ms // 4 + 1)
        shift_ms[kinds == Kind.TOO_LATE] = -self._run.lateness_ms - TOO_LATE_BY_MS
        shift_ms[kinds == Kind.FUTURE] = FUTURE_BY_MS
        return shift_ms


@dataclass(frozen=True, slots=True)
class _Block:
    """What is kept of a block of events.

    Shapes: last_originals, at or before each event, the last original that has duplicates, and the last for conflicts.
    """

    chances: Ints
    last_originals: tuple[Ints, Ints]


def _kinds(events: Events) -> tuple[NDArray[np.uint8], Ints]:
    """The kinds, and at which chance each ends but the last, the usual one. Poison stands as MALFORMED."""
    shares = events.shares
    weights: Mapping[Kind, float] = {
        Kind.DUPLICATE: shares.duplicates,
        Kind.CONFLICT: shares.conflicts,
        Kind.LATE: shares.late,
        Kind.TOO_LATE: shares.too_late,
        Kind.FUTURE: shares.future,
        Kind.MALFORMED: shares.poison,
        Kind.HOT: shares.hot,
    }
    edges = np.minimum(np.cumsum(list(weights.values())) * WAYS, WAYS).astype(np.int64)
    return np.array([*weights, Kind.USUAL], np.uint8), edges


def _edges(weights: list[float]) -> Ints:
    """At which chance each but the last of these ends."""
    ends = np.cumsum(weights)
    edges: Ints = (ends[:-1] / ends[-1] * WAYS).astype(np.int64)
    return edges


def _zipf_edges(customers: int, exponent: float) -> Ints:
    """At which chance each customer but the last ends: the k-th of them has 1/k^exponent of the first one's orders."""
    exact = Context(prec=15)  # Decimal's powers are the same everywhere
    power = -Decimal(exponent)
    return _edges([float(exact.power(Decimal(rank), power)) for rank in range(1, customers + 1)])


def _cents(chances: Ints) -> Ints:
    """Amounts as shops have them, many small and few great ones (Pareto's), and now and then a large order."""
    cents = CENTS_MIN * WAYS // (chances[:, 2] + 1)
    cents = np.where(cents <= CENTS_MAX, cents, CENTS_MIN + cents % (CENTS_MAX - CENTS_MIN))
    is_large = chances[:, 7] % LARGE_ONE_IN == 0
    amounts: Ints = np.where(is_large, LARGE_CENTS + chances[:, 2] % LARGE_CENTS_SPREAD, cents)
    return amounts
