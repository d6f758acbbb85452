"""Alerts: a threshold on a measure of a metric, for each group and window. How one is declared, and when it fires.

No boto3, clock or environment here; a mistake in a declaration is found at import and names itself.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.aggregates.measures import Count, Distinct, Max, Measure, Min, Sum, Value
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.windows import parse_duration
from chalicelib.errors import DefinitionError

DIGITS_MAX = 96  # before the point and behind it, as of a sum: a threshold of 1e999999999 would take a gigabyte
NUMBERS = {"integer", "decimal"}  # the types of measures that a threshold can be held against


class Rule(Struct, frozen=True):
    """When a value is worth an alert; `kind` is its name in messages. Thresholds are exact: an int or a Decimal."""

    kind: ClassVar[str]
    once_true: ClassVar[tuple[type[Measure], ...]] = ()  # measures for which a window that has fired goes on to
    looks_back: ClassVar[bool] = False  # whether the window before matters
    threshold: Decimal | int

    def fires(self, value: Value, before: Value | None) -> bool:
        """Whether this value of a window does, after that of the window before (None: it has none)."""
        raise NotImplementedError


class Above(Rule, frozen=True):
    """The value is above the threshold."""

    kind: ClassVar[str] = "above"
    once_true: ClassVar[tuple[type[Measure], ...]] = (Count, Distinct, Sum, Max)

    def fires(self, value: Value, before: Value | None) -> bool:  # noqa: ARG002, D102  as Rule's
        return value > self.threshold


class Below(Rule, frozen=True):
    """The value is below the threshold."""

    kind: ClassVar[str] = "below"
    once_true: ClassVar[tuple[type[Measure], ...]] = (Min,)

    def fires(self, value: Value, before: Value | None) -> bool:  # noqa: ARG002, D102  as Rule's
        return value < self.threshold


class RateOfChange(Rule, frozen=True):
    """The rate of change against the window before, `(value - before) / |before|`, has reached the threshold.

    One of 0 or more is reached from below (0.5: half as much again), a negative one from above (-0.9: a tenth is left,
    or less). Where the window before has no value, or 0, there is no rate and so no alert.
    """

    kind: ClassVar[str] = "rate_of_change"
    looks_back: ClassVar[bool] = True

    def fires(self, value: Value, before: Value | None) -> bool:  # noqa: D102  as Rule's
        if not before:
            return False
        was = Fraction(before)  # a quotient of decimals would be rounded
        rate = (Fraction(value) - was) / abs(was)
        return rate >= self.threshold if self.threshold >= 0 else rate <= self.threshold


class Alert(Struct, frozen=True, kw_only=True):
    """A rule, for each window of a metric and each of its groups.

    Shapes: measure is one of the metric's, by its name; by, some of the metric's dimensions: without any the total over
            all groups is looked at; step, one of the sizes of the metric's windows, by default its base window.
    """

    name: str
    metric: str
    measure: str
    rule: Rule
    by: tuple[str, ...] = ()
    step: str | None = None

    def step_ms(self, metric: Metric) -> int:
        """The size of the windows that are looked at, milliseconds."""
        return parse_duration(self.step) if self.step else metric.window_ms

    def fires_early(self, metric: Metric) -> bool:
        """Whether a window that is not over yet can raise it.

        Why: of a measure that only grows, what is above a threshold stays so. Sum and Count shrink again by negative
             numbers and by what is taken back, and a Distinct by a hair where one estimate follows another; then the
             alert says that the value was above it at some moment.
        """
        return isinstance(metric.measures[self.measure], self.rule.once_true)

    def with_threshold(self, threshold: Decimal) -> "Alert":
        """The same alert with another threshold."""
        return replace(self, rule=replace(self.rule, threshold=threshold))


def check_alerts(alerts: Sequence[Alert], catalog: Catalog) -> tuple[Alert, ...]:
    """Check the declared alerts against the catalog, and give them back.

    Raises: DefinitionError, naming the alert at fault.
    """
    names = set()
    for alert in alerts:
        if not isinstance(alert, Alert):
            raise DefinitionError(f"alert {alert!r} is not declared by Alert(…)")
        _check(alert, catalog)
        if alert.name in names:
            raise DefinitionError(f"two alerts are named {alert.name!r}")
        names.add(alert.name)
    return tuple(alerts)


def parse_threshold(text: str) -> Decimal:
    """Read a threshold that somebody has set.

    Raises: ValueError when it is no finite number, or one of too many digits.
    """
    try:
        threshold = Decimal(text.strip())
    except InvalidOperation:
        threshold = Decimal("NaN")
    if not _is_exact_number(threshold):
        raise ValueError("a threshold is a finite number")
    return threshold


class Overridden(Struct, frozen=True):
    """The alerts with the thresholds that hold now.

    Shapes: refused are the alerts whose value is no number; unknown is how many values are for no alert.
    """

    alerts: tuple[Alert, ...]
    refused: tuple[str, ...]
    unknown: int


def override_thresholds(alerts: Sequence[Alert], texts: Mapping[str, str]) -> Overridden:
    """Put the thresholds set at run time in the place of the declared ones.

    Shapes: texts, what is set, by the alert's name. An alert whose text is no number keeps its declared threshold.
    """
    by_name = {alert.name: alert for alert in alerts}
    refused = []
    for name in by_name.keys() & texts.keys():
        try:
            by_name[name] = by_name[name].with_threshold(parse_threshold(texts[name]))
        except ValueError:
            refused.append(name)
    return Overridden(tuple(by_name.values()), tuple(refused), unknown=len(texts.keys() - by_name.keys()))


def _check(alert: Alert, catalog: Catalog) -> None:
    def require(holds: bool, rule: str) -> None:
        if not holds:
            raise DefinitionError(f"alert {alert.name!r}: {rule}")

    # It becomes part of a parameter's name, and of a key.
    is_plain = isinstance(alert.name, str) and bool(re.fullmatch(r"[a-z][a-z0-9_]{0,62}", alert.name))
    require(is_plain, "a name is 1..63 of a-z, 0-9, _, a letter first")
    require(alert.metric in catalog.metrics, f"no metric is named {alert.metric!r}")
    metric = catalog.metrics[alert.metric]
    require(alert.measure in metric.measures, f"its metric has no measure {alert.measure!r}")
    require(metric.measures[alert.measure].type_name in NUMBERS, f"the measure {alert.measure!r} is no number")
    require(isinstance(alert.by, tuple), f"its dimensions {alert.by!r} are no tuple")
    for dimension in alert.by:
        require(dimension in metric.by, f"its metric has no dimension {dimension!r}")
    require(len(set(alert.by)) == len(alert.by), "it groups by a dimension twice")
    require(alert.step is None or isinstance(alert.step, str), f"its step {alert.step!r} is no text")
    try:
        is_size = alert.step_ms(metric) in metric.steps_ms
    except ValueError as error:
        raise DefinitionError(f"alert {alert.name!r}: {error}") from error
    require(is_size, f"its metric has no windows of {alert.step}")
    is_rule = isinstance(alert.rule, Rule) and type(alert.rule) is not Rule
    require(is_rule, f"{alert.rule!r} is no Above(…), Below(…) or RateOfChange(…)")
    threshold = alert.rule.threshold
    require(_is_exact_number(threshold), f"its threshold {threshold!r} is no finite int or Decimal")


def _is_exact_number(threshold: Any) -> bool:
    if not isinstance(threshold, int | Decimal) or isinstance(threshold, bool):
        return False
    _, digits, exponent = Decimal(threshold).as_tuple()
    if isinstance(exponent, str):  # of what is infinite, or no number
        return False
    return len(digits) + exponent <= DIGITS_MAX and -exponent <= DIGITS_MAX
