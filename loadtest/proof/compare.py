"""What a metric answers, held against what it has to: every group of every window. Pure.

Where a range of values may be right, because nobody knows what became of some events, the expectation is given twice:
without them, and with all of them.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from chalicelib.aggregates.measures import EXACT, Mean
from chalicelib.aggregates.windows import format_instant
from loadtest.expectation import Ranked
from loadtest.proof import bounds
from loadtest.proof.api import MetricFacts, Row, Value
from loadtest.proof.verdict import Compared, Difference, Estimate, Kind

Key = tuple[int, tuple[str, ...]]  # the window's start, epoch milliseconds, and the group
Truth = Mapping[str, Any]  # by measure an exact number; of quantiles `amounts`, Ranked
Truths = Mapping[Key, Truth]

ADDED = ("count", "sum")
COMBINE: Mapping[str, Callable[[list[Any]], Any]] = {"count": sum, "sum": sum, "min": min, "max": max}


class Comparison:
    """Compares the rows of one metric, as they come, with what there has to be.

    Shapes: least has what is known to be counted; most, what is counted if all that is unsure is, `least` if nothing
            is; ranks, by measure that is a quantile, which; is_of_all, the rows are of all windows together.
    """

    def __init__(
        self,
        metric: MetricFacts,
        least: Truths,
        most: Truths,
        ranks: Mapping[str, float],
        *,
        is_of_all: bool = False,
    ) -> None:
        self.differences: list[Difference] = []
        self.unproved: list[str] = []
        self._metric = metric
        self._least, self._most = least, most
        self._ranks = ranks
        self._is_of_all = is_of_all
        self._seen: set[Key] = set()
        self._groups: set[Key] = set()
        self._values = 0
        self._overflowed: set[int] = set()
        self._rows_of: defaultdict[int, list[Row]] = defaultdict(list)
        self._errors: defaultdict[str, list[float]] = defaultdict(list)
        self._sums: defaultdict[str, Decimal] = defaultdict(Decimal)

    def run(self, rows: Iterable[Row], *, is_own: bool) -> None:
        """Compare these rows; all that the run's windows have, and no others'.

        Shapes: is_own, nobody else has used the stage: what is beyond a group limit is the run's.
        """
        kept = list(rows)
        self._overflowed = {row.window_ms for row in kept if row.is_overflow}
        for row in kept:
            if is_own or not row.is_overflow:
                self._add_up(row)
            if row.window_ms in self._overflowed:
                self._rows_of[row.window_ms].append(row)
            else:
                self._take(row)
        least, most = _by_window(self._least, self._overflowed), _by_window(self._most, self._overflowed)
        for window_ms in sorted(self._overflowed):
            self._compare_totals(window_ms, least[window_ms], most[window_ms], is_own=is_own)
        missing = (key for key in self._least if key not in self._seen and key[0] not in self._overflowed)
        for window_ms, group in sorted(missing):
            told = self._told(self._least[window_ms, group])
            self._differ(Kind.MISSING, Row(window_ms, group, {}), "", told, "")

    @property
    def _name(self) -> str:
        return f"{self._metric.name}, all windows together" if self._is_of_all else self._metric.name

    @property
    def compared(self) -> Compared:
        """How much was."""
        windows = {window_ms for window_ms, _ in self._groups}
        return Compared(self._name, len(windows), len(self._groups), self._values, len(self._overflowed))

    @property
    def sums(self) -> Mapping[str, Decimal]:
        """By measure that is a count or a sum, that of all rows."""
        return self._sums

    def estimates(self) -> list[Estimate]:
        """How far the estimates were off; too many outside their bound are a difference."""
        told = []
        for name, bound in self._metric.errors.items():
            errors = self._errors[name]
            outside = sum(error > bound.bound for error in errors)
            allowed = bounds.outside_max(len(errors), bound)
            worst = max(errors, default=0.0) / bound.bound
            told.append(
                Estimate(
                    self._name,
                    name,
                    bound.bound,
                    bound.confidence,
                    len(errors),
                    outside,
                    allowed,
                    round(worst, 3),
                )
            )
            if allowed is not None and outside > allowed:
                wanted = f"at most {allowed:,} of {len(errors):,} outside the bound of {bound.bound:.2%}"
                self.differences.append(Difference(Kind.BOUND, self._metric.name, "", "", name, wanted, f"{outside:,}"))
        return told

    def _add_up(self, row: Row) -> None:
        for name, kind in self._metric.kinds.items():
            value = row.values[name]
            if kind in ADDED and value is not None:
                self._sums[name] = EXACT.add(self._sums[name], Decimal(value))

    def _take(self, row: Row) -> None:
        key: Any = (row.window_ms, row.group)
        most = self._most.get(key)
        if most is None:
            self._differ(Kind.EXTRA, row, "", "", self._told(row.values))
            return
        if key in self._seen:
            self._differ(Kind.TWICE, row, "", "", self._told(row.values))
            return
        self._seen.add(key)
        self._groups.add(key)
        least = self._least.get(key, {})
        for name in self._metric.kinds:
            least_value, most_value = self._truth(least, name), self._truth(most, name)
            if most_value is None:
                self.unproved.append(f"{self._metric.name}: nobody knows what {name} has to be")
            elif name not in self._metric.errors:
                self._values += 1
                self._compare(row, name, least_value, most_value)
            elif _is_one(least_value, most_value):
                self._values += 1
                self._estimate(row, name, most_value)

    def _truth(self, truth: Truth, name: str) -> Any:
        return truth.get("amounts" if name in self._ranks else name)

    def _compare(self, row: Row, name: str, least: Any, most: Any) -> None:
        counted = row.values[name]
        if least == most:
            is_right = counted == most
        elif self._metric.kinds[name] == "mean":  # it neither rises nor falls with what is added
            is_right = counted is not None and counted == self._mean(row)
        else:
            low, high = _ends(least, most)
            # With no event that is sure there is no least value: any up to the greatest, or from the smallest, will do.
            is_open = least is None and self._metric.kinds[name] in {"min", "max"}
            is_right = counted is not None and (is_open or low <= counted <= high)
        if is_right:
            return
        expected = "the sum by the count"
        if least == most:
            expected = _text(most)
        elif self._metric.kinds[name] != "mean":
            expected = " to ".join(map(_text, _ends(least, most)))
        self._differ(Kind.VALUE, row, name, expected, _text(counted))

    def _mean(self, row: Row) -> Value:
        kinds = {kind: name for name, kind in self._metric.kinds.items()}
        if "sum" not in kinds or "count" not in kinds:
            return None
        return Mean("").finish(row.values[kinds["sum"]], row.values[kinds["count"]])

    def _estimate(self, row: Row, name: str, truth: Any) -> None:
        bound, counted = self._metric.errors[name], row.values[name]
        if counted is None:
            self._differ(Kind.VALUE, row, name, "an estimate", "")
            return
        if isinstance(truth, Ranked):
            rank = self._ranks[name]
            error = bounds.rank_error(rank, truth.ranks(Decimal(counted)))
            expected = f"the value at rank {rank:g} ± {bound.bound:.2%} of {len(truth):,}"
        else:
            error = bounds.relative_error(counted, truth)
            expected = f"{truth:,} ± {bound.bound:.2%}"
        self._errors[name].append(error)
        if bounds.is_too_far(error, bound):
            self._differ(Kind.BOUND, row, name, expected, f"{_text(counted)}, {error:.2%} off")

    def _compare_totals(self, window_ms: int, least: Sequence[Truth], most: Sequence[Truth], *, is_own: bool) -> None:
        """Compare what a window comes to where its groups could not be told apart."""
        if not is_own:
            self.unproved.append(
                f"{self._metric.name}, {self._window(window_ms)}: beyond the metric's group limit others' groups may "
                "be counted with the run's"
            )
            return
        rows = self._rows_of[window_ms]
        window = Row(window_ms, (), {})
        for name, kind in self._metric.kinds.items():
            combine = COMBINE.get(kind)
            if combine is None or not any(name in truth for truth in most):
                continue
            self._values += 1
            low, high = (_combined(combine, [truth[name] for truth in truths]) for truths in (least, most))
            counted = _combined(combine, [value for row in rows if (value := row.values[name]) is not None])
            if not min(low, high) <= counted <= max(low, high):
                expected = _text(high) if low == high else f"{_text(min(low, high))} to {_text(max(low, high))}"
                self._differ(Kind.TOTAL, window, name, expected, _text(counted))
        for row in rows:
            if not row.is_overflow:
                self._compare_at_most(row)

    def _compare_at_most(self, row: Row) -> None:
        """See that a group has no more than was sent of it; the rest may be counted beyond the limit."""
        key: Any = (row.window_ms, row.group)
        sent = self._most.get(key)
        if sent is None:
            self._differ(Kind.EXTRA, row, "", "", self._told(row.values))
            return
        for name, kind in self._metric.kinds.items():
            value = row.values[name]
            if kind in ADDED and name in sent and value is not None and value > sent[name]:
                self._differ(Kind.VALUE, row, name, f"at most {_text(sent[name])}", _text(value))

    def _told(self, values: Mapping[str, Any]) -> str:
        exact = ((name, values.get(name)) for name in self._metric.kinds if name not in self._metric.errors)
        known = [f"{name} {_text(value)}" for name, value in exact if value is not None]
        return ", ".join(known) or "a row"

    def _window(self, window_ms: int) -> str:
        return "all windows" if self._is_of_all else format_instant(window_ms)

    def _differ(self, kind: Kind, row: Row, measure: str, expected: str, counted: str) -> None:
        named = ", ".join(
            f"{dimension}={'(beyond the limit)' if value is None else value}"
            for dimension, value in zip(self._metric.dimensions, row.group, strict=False)
        )
        window = self._window(row.window_ms)
        self.differences.append(Difference(kind, self._metric.name, window, named, measure, expected, counted))


def _by_window(truths: Truths, windows: Collection[int]) -> Mapping[int, list[Truth]]:
    by_window: defaultdict[int, list[Truth]] = defaultdict(list)
    for (window_ms, _), truth in truths.items() if windows else ():
        if window_ms in windows:
            by_window[window_ms].append(truth)
    return by_window


def _ends(least: Any, most: Any) -> tuple[Decimal, Decimal]:
    low, high = sorted(Decimal(0) if each is None else Decimal(each) for each in (least, most))
    return low, high


def _combined(combine: Callable[[list[Any]], Any], values: list[Any]) -> Decimal:
    return Decimal(combine(values)) if values else Decimal(0)


def _is_one(least: Any, most: Any) -> bool:
    """Whether there is one truth; without it an estimate cannot be near to it."""
    if isinstance(least, Ranked) and isinstance(most, Ranked):
        return least is most or least.cents == most.cents
    return bool(least == most)


def sums_of(truths: Truths, names: Collection[str]) -> dict[str, Decimal]:
    """The sum of each of these measures over all groups of all windows."""
    sums = dict.fromkeys(names, Decimal(0))
    for truth in truths.values():
        for name in sums.keys() & truth.keys():
            sums[name] = EXACT.add(sums[name], Decimal(truth[name]))
    return sums


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
