"""Which alerts a window raises, decided from its groups. Pure; nothing is stored here."""

from collections.abc import Iterable, Iterator, Mapping

from chalicelib.aggregates.measures import Count, Distinct, Sum, Value
from chalicelib.aggregates.metric import OVERFLOW, GroupKey, Metric
from chalicelib.aggregates.partial import Groups, States, merge_groups
from chalicelib.alerts import Alert
from chalicelib.consumers.ports import RaisedAlert
from chalicelib.reading.merged import MergedWindow

ZERO_OF_NOTHING = (Count, Distinct, Sum)  # measures that have a value where nothing was counted

Values = Mapping[GroupKey, Value]


def regroup(metric: Metric, groups: Groups, by: tuple[str, ...]) -> Iterator[tuple[GroupKey, States]]:
    """Name the groups of a metric by fewer dimensions; several may then have one name, and are to be merged.

    Why without the overflow group unless it is all one: nobody knows which groups are in it.
    """
    places = [metric.by.index(dimension) for dimension in by]
    for group, states in groups.items():
        if group != OVERFLOW:
            yield tuple([group[place] for place in places]), states
        elif not by:
            yield OVERFLOW, states


def values_of(alert: Alert, metric: Metric, groups: Groups) -> Values:
    """What the alert's measure is of each group; a group of which it is nothing is not in it.

    Shapes: groups as the alert is by.
    """
    finish = metric.finishers[alert.measure]
    finished = {group: finish(states) for group, states in groups.items()}
    return {group: value for group, value in finished.items() if value is not None}


def values_of_nothing(alert: Alert, metric: Metric) -> Values:
    """What the alert's measure is of a window without data: a total of events, values and numbers is 0."""
    is_zero = not alert.by and isinstance(metric.measures[alert.measure], ZERO_OF_NOTHING)
    return {OVERFLOW: 0} if is_zero else {}


def raised_early(alert: Alert, window: MergedWindow) -> Iterable[RaisedAlert]:
    """Hold a window that may not be over against an alert that looks at no other."""
    groups = merge_groups(window.metric, [regroup(window.metric, window.groups, alert.by)])
    return raised_by(alert, window.metric, window.window_start_ms, values_of(alert, window.metric, groups), {})


def raised_by(
    alert: Alert, metric: Metric, window_start_ms: int, values: Values, before: Values
) -> Iterable[RaisedAlert]:
    """Hold a window's values, and those of the window before, against an alert."""
    for group, value in values.items():
        was = before.get(group)
        if alert.rule.fires(value, was):
            yield RaisedAlert(
                alert=alert.name,
                metric=metric.name,
                step_ms=alert.step_ms(metric),
                window_start_ms=window_start_ms,
                group=dict(zip(alert.by, group, strict=True)),
                measure=alert.measure,
                rule=alert.rule.kind,
                threshold=alert.rule.threshold,
                value=value,
                before=was,
            )
