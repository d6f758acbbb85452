"""What the stage must tell after a run: reckoned from what the stream accepted, and from nothing that the stage does.

It makes every accepted event anew and adds it up in plain dicts; amounts are whole cents until the end. It knows no
code of Highwater's; each rule of `docs/guarantees.md` that a run's events meet stands here once more, in its own words:

- an event counts in the window of a minute that its time lies in, in all metrics of orders;
- of those with one id, the first that the stream accepted counts, the others with its bytes are duplicates, and those
  with other content dead letters;
- what is too late, from the future or no valid order is a dead letter, and not remembered.

    expected = expect(run, ledgers)
    expected.metrics["orders"][1_795_521_600_000, ("aBc", "gift")]["revenue"]  # Decimal("1234.50")

Where records were put again after an answer was lost (`Ledger.resent`), the stream may hold their events twice: then
there may be more duplicates and dead letters than this, and never other counts.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, compress
from typing import Any

from loadtest.ledger import count, merge
from loadtest.recording import Ledger, Run
from loadtest.traffic.columns import BLOCK_EVENTS, Columns, Kind, Planner
from loadtest.traffic.names import ORDER_TYPES, Names
from loadtest.traffic.probes import PROBE_CENTS, PROBERS_FROM, probe_due_ms

WINDOW_MS = 60_000
LARGE_CENTS = 5_000_00

Group = tuple[str, ...]
Place = tuple[int, Group]  # the start of a window (epoch milliseconds), and the group as the metric has it

# Why an event of this kind is no order, in the words of dead letters.
REASONS: Mapping[Kind, str] = {
    Kind.TOO_LATE: "too late",
    Kind.FUTURE: "from the future",
    Kind.MALFORMED: "malformed",
    Kind.INVALID: "invalid",
    Kind.UNKNOWN_TYPE: "unknown type",
    Kind.BROKEN_AGGREGATE: "broken aggregate",
}
CONFLICT = "conflicting duplicate"
REPEATS = {Kind.DUPLICATE, Kind.CONFLICT}
KIND_NAMES = {kind: kind.name.lower().replace("_", " ") for kind in Kind}


class Ranked:
    """Amounts in order, to tell at which ranks a value stands."""

    def __init__(self, cents: "Sequence[int]") -> None:
        self.cents = array("q", sorted(cents))

    def __len__(self) -> int:
        return len(self.cents)

    def ranks(self, value: Decimal) -> tuple[float, float]:
        """The share of all amounts that lies below the value, and the share that lies at or below it."""
        cents = value * 100
        return bisect_left(self.cents, cents) / len(self), bisect_right(self.cents, cents) / len(self)


Value = int | Decimal | Ranked
Measures = Mapping[str, Value]


@dataclass
class Expected:
    """What the stage must tell of the run.

    Shapes: metrics, by name, then by window and group, each measure by its name:
                orders: count, revenue, smallest, largest, mean (six decimals, half to even), by (currency, order_type)
                customers: orders, spend, by (user_id,)
                customers_distinct: customers, how many there truly are, by (currency,)
                order_value: count, and amounts, Ranked, by (currency,)
            totals, the same without windows: by group, over all windows together;
            dead_letters, how many by reason; duplicates, events dropped as such; counted, events that count;
            large, how many of these are large orders; kinds, accepted events by what was the matter with them.
    """

    metrics: dict[str, dict[Place, Measures]]
    totals: dict[str, dict[Group, Measures]]
    dead_letters: dict[str, int]
    duplicates: int
    counted: int
    large: int
    kinds: dict[str, int]


def expect(run: Run, ledgers: Sequence[Ledger], progress: Callable[[int, int], None] | None = None) -> Expected:
    """Reckon what the stage must tell once all that the ledgers have as accepted is counted.

    Shapes: ledgers, of workers and probers, in any order; progress is told (events done, of so many) now and then.
    Raises: ValueError for a ledger of a worker or an event that the run does not have.
    """
    merged = merge(ledgers)
    total = sum(count(ledger.accepted) for ledger in merged)
    sums, done = _Sums(), 0
    for ledger in merged:
        adding = _add_probes if ledger.worker >= PROBERS_FROM else _add_events
        for events in adding(sums, run, ledger):
            done += events
            if progress:
                progress(done, total)
    return sums.expected()


class _Sums:
    """What has been added up so far: of each window and group what its orders say."""

    def __init__(self) -> None:
        self.amounts: defaultdict[Place, list[int]] = defaultdict(list)  # by currency and order type
        self.spend: defaultdict[Place, list[int]] = defaultdict(list)  # by customer
        self.buyers: defaultdict[Place, list[str]] = defaultdict(list)  # by currency
        self.dead_letters: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self.duplicates = 0

    def add(self, time_ms: int, customer: str, cents: int, currency: str, order_type: str) -> None:
        """Count one order."""
        window_ms = time_ms - time_ms % WINDOW_MS
        self.amounts[window_ms, (currency, order_type)].append(cents)
        self.spend[window_ms, (customer,)].append(cents)
        self.buyers[window_ms, (currency,)].append(customer)

    def expected(self) -> Expected:
        """All of it, in the form of the metrics."""
        by_currency: defaultdict[Place, list[int]] = defaultdict(list)
        for (window_ms, (currency, _)), amounts in self.amounts.items():
            by_currency[window_ms, (currency,)] += amounts
        measured: dict[str, tuple[Mapping[Place, Sequence[Any]], Callable[[Sequence[Any]], Measures]]] = {
            "orders": (self.amounts, _order_measures),
            "customers": (self.spend, _customer_measures),
            "customers_distinct": (self.buyers, lambda names: {"customers": len(set(names))}),
            "order_value": (by_currency, lambda amounts: {"count": len(amounts), "amounts": Ranked(amounts)}),
        }
        every_amount = list(chain.from_iterable(self.amounts.values()))
        return Expected(
            {
                metric: {place: measure(share) for place, share in shares.items()}
                for metric, (shares, measure) in measured.items()
            },
            {
                metric: {group: measure(whole) for group, whole in _over_windows(shares).items()}
                for metric, (shares, measure) in measured.items()
            },
            dict(self.dead_letters),
            self.duplicates,
            len(every_amount),
            sum(cents >= LARGE_CENTS for cents in every_amount),
            dict(self.kinds),
        )


def _over_windows(shares: Mapping[Place, Sequence[Any]]) -> dict[Group, Sequence[Any]]:
    """Of each group, what all windows have together."""
    whole: defaultdict[Group, list[Any]] = defaultdict(list)
    for (_, group), share in shares.items():
        whole[group] += share
    return dict(whole)


def _order_measures(cents: Sequence[int]) -> Measures:
    return {
        "count": len(cents),
        "revenue": _money(sum(cents)),
        "smallest": _money(min(cents)),
        "largest": _money(max(cents)),
        "mean": _mean(sum(cents), len(cents)),
    }


def _customer_measures(cents: Sequence[int]) -> Measures:
    return {"orders": len(cents), "spend": _money(sum(cents))}


def _money(cents: int) -> Decimal:
    return Decimal(cents).scaleb(-2)


def _mean(cents: int, orders: int) -> Decimal:
    """To six decimals, half to even: in whole millionths, so that nothing is rounded twice."""
    micros, rest = divmod(cents * 10_000, orders)
    if 2 * rest > orders or (2 * rest == orders and micros % 2):
        micros += 1
    return Decimal(micros).scaleb(-6)


def _add_probes(sums: _Sums, run: Run, ledger: Ledger) -> Iterator[int]:
    """Count a prober's events. Gives: how many more are done."""
    names, prober = Names.of(run), ledger.worker - PROBERS_FROM
    for first, last in ledger.accepted:
        for number in range(first, last + 1):
            customer = names.probe_customer(prober, number)
            sums.add(probe_due_ms(run, number), customer, PROBE_CENTS, names.probe_currency, ORDER_TYPES[0])
        sums.kinds["probe"] += last - first + 1
        yield last - first + 1


def _add_events(sums: _Sums, run: Run, ledger: Ledger) -> Iterator[int]:
    """Count a worker's events. Gives: how many more are done."""
    if not 0 <= ledger.worker < run.workers:
        raise ValueError(f"the run has workers from 0 to {run.workers - 1}, none that is {ledger.worker}")
    planner, names = Planner(run, ledger.worker), Names.of(run)
    total = planner.schedule.total
    if ledger.accepted and ledger.accepted[-1][1] >= total:
        raise ValueError(f"worker {ledger.worker} has {total} events, none with number {ledger.accepted[-1][1]}")
    was_accepted = bytearray(total)
    for first, last in ledger.accepted:
        was_accepted[first : last + 1] = b"\1" * (last - first + 1)
    counted_repeats: set[int] = set()  # of originals that were not accepted: that a repeat counts in their place
    for first in range(0, total, BLOCK_EVENTS):
        last = min(first + BLOCK_EVENTS, total) - 1
        accepted = sum(was_accepted[first : last + 1])
        if accepted:
            rows = _rows(planner.columns(first, last), names)
            _add_rows(sums, compress(rows, was_accepted[first : last + 1]), was_accepted, counted_repeats)
            yield accepted


Row = tuple[int, Kind, int, tuple[int, str, int, str, str]]  # number, kind, original, what it says


def _rows(columns: Columns, names: Names) -> Iterator[Row]:
    return zip(
        columns.numbers.tolist(),
        map(Kind, columns.kinds.tolist()),
        columns.originals.tolist(),
        zip(
            columns.times_ms.tolist(),
            map(names.customers.__getitem__, columns.customers.tolist()),
            columns.cents.tolist(),
            map(names.currencies.__getitem__, columns.currencies.tolist()),
            map(ORDER_TYPES.__getitem__, columns.order_types.tolist()),
            strict=True,
        ),
        strict=True,
    )


def _add_rows(sums: _Sums, rows: Iterable[Row], was_accepted: bytearray, counted_repeats: set[int]) -> None:
    """Count events of one worker, in the order of their numbers."""
    for _, kind, original, order in rows:
        sums.kinds[KIND_NAMES[kind]] += 1
        if kind in REASONS:
            sums.dead_letters[REASONS[kind]] += 1
        elif kind not in REPEATS:
            sums.add(*order)
        elif not was_accepted[original] and original not in counted_repeats:
            counted_repeats.add(original)
            sums.add(*order)
        elif kind is Kind.CONFLICT and was_accepted[original]:
            sums.dead_letters[CONFLICT] += 1
        else:  # … of its original, or, conflicts of one original being alike, of the conflict that counts
            sums.duplicates += 1
