"""Y: what it costs to fold one metric of plain lines, the least that an engine in Python could do. All else is in Y.

`orjson.loads`, `Decimal` and a dict, over the same events as plain lines of JSON: no shard, no record, no checks, no
ids, nothing stored. It drifts with the machine, so it is measured just before whatever is held against it, over the
same events, and only the ratio of such a pair counts.
"""

import gc
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from statistics import median, quantiles
from time import process_time
from typing import TypeVar

import orjson
from msgspec import Struct

Input = TypeVar("Input")
Totals = dict[tuple[str, str], tuple[int, Decimal]]  # (currency, order_type) → (count, revenue)


class Paired(Struct, frozen=True):
    """What rounds came to: medians, and between which quartiles the ratios lay.

    Units: y_us and us are microseconds of CPU an event, of all threads of the process; in_y is their ratio.
    """

    in_y: float
    in_y_lower: float
    in_y_upper: float
    us: float
    y_us: float
    rounds: int

    def __str__(self) -> str:
        return f"{self.in_y:.2f} Y ({self.in_y_lower:.2f}-{self.in_y_upper:.2f})"


def fold_lines(lines: Iterable[bytes]) -> Totals:
    """Y itself: count and revenue of orders by currency and order type."""
    groups: dict[tuple[str, str], list[int | Decimal]] = {}
    for line in lines:
        data = orjson.loads(line)["data"]
        key = (data["currency"], data["order_type"])
        amount = Decimal(str(data["amount"]))
        group = groups.get(key)
        if group is None:
            groups[key] = [1, amount]
        else:
            group[0] += 1
            group[1] += amount
    return {key: (int(count), Decimal(revenue)) for key, (count, revenue) in groups.items()}


def measure(work: Callable[[Input], object], rounds: Iterable[tuple[Sequence[bytes], Input]]) -> Paired:
    """Hold a work against Y, round by round, Y first.

    Shapes: a round is its events as lines, and the same events as the work takes them; two rounds at least. Works that
            take turns cool each other's caches, which costs a tenth: give each a series of its own, as it has a process
            of its own where it runs.
    """
    pairs = [(cpu_us(fold_lines, lines, len(lines)), cpu_us(work, given, len(lines))) for lines, given in rounds]
    ratios = [us / y_us for y_us, us in pairs]
    lower, middle, upper = quantiles(ratios, n=4, method="inclusive")
    return Paired(middle, lower, upper, median(us for _, us in pairs), median(y_us for y_us, _ in pairs), len(pairs))


def cpu_us(work: Callable[[Input], object], given: Input, events: int) -> float:
    """CPU microseconds for each event; garbage of before is cleared away first, its own it pays for."""
    gc.collect()
    started = process_time()
    work(given)
    return (process_time() - started) / events * 1e6
