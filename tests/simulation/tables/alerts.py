"""Which alerts must have been raised, which may have been, and which never.

A rule that what is counted cannot make untrue is decided by what a window holds in the end. Any other is held against a
window once, when the stream is complete up to its end, whatever comes late after that: it is decided where nothing came
late. Where something did, what was raised has to lie between what the window held in time and what it holds in the end.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction

from chalicelib.aggregates.metric import Metric
from chalicelib.alerts import Above, Alert, RateOfChange
from chalicelib.reading.ports import Settled
from tests.simulation.tables.oracle import OVERFLOW, Counted, Group, Groups, Oracle, merged
from tests.simulation.tables.stage import NAMES

Number = int | Decimal | Fraction
Values = Mapping[Group, Number]

GROWING = {("above", "number"), ("above", "total"), ("above", "greatest"), ("below", "least")}


class Looked:
    """One alert, over the windows that were looked at.

    `since_ms` is the start of the oldest window that has been stored all the time; None: there is none.
    """

    def __init__(self, alert: Alert, metric: Metric, oracle: Oracle, settled: Settled, since_ms: int | None) -> None:
        self._alert = alert
        self._metric = metric
        self._step_ms = alert.step_ms(metric)
        self._from_ms, self._until_ms = settled.from_ms, settled.until_ms
        self._since_ms = since_ms
        self._windows = oracle.windows(metric, self._step_ms)
        self._counted = [each for each in oracle.counted if each.event.type == metric.event_type]
        self._kind = alert.rule.kind
        self.is_early = (self._kind, alert.measure) in GROWING
        self.grows = metric.event_type == "order.placed"

    def must_be_raised(self) -> Iterator[tuple[int, Group]]:
        """The windows and groups of which it is certain."""
        if self.is_early:
            starts_ms = set(self._windows)
        else:
            first_ms = self._from_ms - self._from_ms % self._step_ms
            starts_ms = {
                start_ms
                for start_ms in range(first_ms, self._until_ms - self._step_ms + 1, self._step_ms)
                if self._is_decided(start_ms)
            }
        for start_ms in starts_ms:
            yield from ((start_ms, group) for group in self._holds_for(start_ms))

    def can_be_raised(self, start_ms: int, group: Group, value: Number) -> bool:
        """Whether the rule can have been true of the window at any moment."""
        if self.is_early and not self.grows:
            return self._ever_added(start_ms, group) > self._alert.rule.threshold
        if self.is_early or self._is_decided(start_ms):
            return group in self._holds_for(start_ms)
        if self._alert.measure not in ("number", "total") or not self.grows:
            return True
        last = self._values(self._windows.get(start_ms, {})).get(group, 0)
        return 0 <= value <= last

    def _holds_for(self, start_ms: int) -> set[Group]:
        values = self._values(self._windows.get(start_ms, {}))
        if not values and self._is_zero_of_nothing(start_ms):
            values = {OVERFLOW: 0}
        before = self._values(self._windows.get(start_ms - self._step_ms, {}))
        return {group for group, value in values.items() if self._holds(value, before.get(group))}

    def _holds(self, value: Number, before: Number | None) -> bool:
        rule = self._alert.rule
        if isinstance(rule, RateOfChange):
            if not before:
                return False
            change = (Fraction(value) - Fraction(before)) / abs(Fraction(before))
            return change >= rule.threshold if rule.threshold >= 0 else change <= rule.threshold
        return value > rule.threshold if isinstance(rule, Above) else value < rule.threshold

    def _values(self, groups: Groups) -> Values:
        """The measure of each group that the alert is by; the overflow group is of no group."""
        places = [self._metric.by.index(dimension) for dimension in self._alert.by]
        shares = [
            {tuple(group[place] for place in places): states}
            for group, states in groups.items()
            if group != OVERFLOW or not places
        ]
        regrouped = merged(self._metric, shares)
        names = [NAMES[accumulator.kind] for accumulator in self._metric.accumulators]
        values = {group: dict(zip(names, states, strict=True)) for group, states in regrouped.items()}
        if self._alert.measure == "mean":
            return {group: Fraction(of["total"]) / of["number"] for group, of in values.items()}
        return {group: of[self._alert.measure] for group, of in values.items()}

    def _is_zero_of_nothing(self, start_ms: int) -> bool:
        return not self._alert.by and self._alert.measure in ("number", "total") and self._is_after_first(start_ms)

    def _is_after_first(self, start_ms: int) -> bool:
        return self._since_ms is not None and self._since_ms < start_ms + self._step_ms

    def _is_decided(self, start_ms: int) -> bool:
        """Whether nothing came late to the window, or to the one before, and it is known whether it is empty."""
        end_ms = start_ms + self._step_ms
        is_late = any(
            each.arrived_ms >= end_ms and start_ms - self._step_ms <= each.event.time_ms < end_ms
            for each in self._counted
        )
        return not is_late and self._is_after_first(start_ms)

    def _ever_added(self, start_ms: int, group: Group) -> int:
        """How many rows were ever added there, whatever was taken back."""
        return sum(
            _adds(self._alert, each, group)
            for each in self._counted
            if start_ms <= each.event.time_ms < start_ms + self._step_ms
        )


def _adds(alert: Alert, counted: Counted, group: Group) -> int:
    return sum(
        row.sign > 0 and tuple(row.values[dimension] for dimension in alert.by) == group for row in counted.event.rows
    )
