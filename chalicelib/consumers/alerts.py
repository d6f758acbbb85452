"""Alerts: a window that crosses a threshold raises an alert once, whoever looks at it and however often.

Windows are looked at twice. *Early*, whenever one changes, for rules that what else is counted cannot make untrue: such
an alert is raised seconds after. And when a window is *over and complete*, for every rule: a duty of
`consumers.settle`, which reads base windows, for the rollups may lag behind what is complete. What is raised is put,
unless it is stored; the put's own change on the table's stream has it published.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, field

from chalicelib.aggregates.metric import GroupKey, Metric
from chalicelib.aggregates.partial import Groups, Merging
from chalicelib.aggregates.windows import window_ends, window_start
from chalicelib.alerts import Alert, override_thresholds
from chalicelib.consumers.ports import AlertStore, Committed, Failed, RaisedAlert, ThresholdReader
from chalicelib.consumers.raise_alerts import raised_by, raised_early, regroup, values_of, values_of_nothing
from chalicelib.reading.merged import MergedWindow, MetricWindow
from chalicelib.reading.plans import Span, plan_span
from chalicelib.reading.ports import ReadPlan, ShareReader, StoredShare

STORED_IDS_MAX = 10_000  # some 2 MB

FirstWindow = Callable[[Metric, int], int | None]


class AlertReport(Struct):
    """What came of looking at some windows, by the alerts' names.

    Shapes: unread names why the thresholds set at run time could not be read; refused are alerts whose threshold set at
            run time is no number; unknown, how many thresholds are set for no alert.
    """

    raised: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    refused: tuple[str, ...] = ()
    unknown: int = 0
    unread: str | None = None


class Alerts:
    """Looks at windows for alerts: the watch of fan-out, and a duty of tick.

    Shapes: alerts are checked against the catalog of the metrics that are shown. first_window tells the start of a
            metric's oldest window, as `SettledStore` does. tell takes a report after each look.
    """

    purpose = "alerts"

    def __init__(
        self,
        alerts: Sequence[Alert],
        *,
        shares: ShareReader,
        first_window: FirstWindow,
        store: AlertStore,
        thresholds: ThresholdReader,
        tell: Callable[[AlertReport], None],
    ) -> None:
        self._alerts = alerts
        self._shares = shares
        self._first_window = first_window
        self._store = store
        self._thresholds = thresholds
        self._tell = tell
        self._stored = _Remembered(STORED_IDS_MAX)

    def __call__(self, windows: Sequence[MergedWindow], timeout_ms: int) -> Collection[MetricWindow]:
        """Hold windows that have changed, and may change further, against the rules that this cannot make untrue.

        Returns: the windows of which not all that they raise is known to be stored.
        """
        if not _early(self._alerts, windows):
            return set()
        report = AlertReport()
        due = _early(self._alerts_now(report, timeout_ms), windows)
        raised = [each for alert, window in due for each in raised_early(alert, window)]
        failed = self._store_new(raised, timeout_ms, report)
        return {MetricWindow(alert.metric, alert.step_ms, alert.window_start_ms) for alert in failed}

    def subject(self, metric: Metric) -> str:
        """The metric, whatever alerts it has: one that is added does not look at what was over before."""
        return metric.name

    def grace_ms(self, metric: Metric) -> int:  # noqa: ARG002  as Duty's
        """Nothing is waited for: an alert that comes when the last late event has is of no use to anybody."""
        return 0

    def step_ms(self, metric: Metric) -> int:
        """The size of the metric's base windows, milliseconds."""
        return metric.window_ms

    def see_to(self, metric: Metric, start_ms: int, end_ms: int, remaining_ms: Callable[[], int]) -> bool:
        """Hold the windows that end in `(start_ms, end_ms]` against every alert of the metric.

        Returns: whether all that they raise is stored.
        Raises: TransientError when they could not be read.
        """
        if all(alert.metric != metric.name for alert in self._alerts):
            return True
        report = AlertReport()
        due = [
            (alert, _View(alert.by, step_ms, window_end_ms - step_ms))
            for alert in self._alerts_now(report, remaining_ms())
            if alert.metric == metric.name
            for step_ms in [alert.step_ms(metric)]
            for window_end_ms in window_ends(start_ms, end_ms, step_ms)
        ]
        raised = list(self._look_at(metric, due, remaining_ms)) if due else []
        return not self._store_new(raised, remaining_ms(), report)

    def _alerts_now(self, report: AlertReport, timeout_ms: int) -> tuple[Alert, ...]:
        """The alerts with the thresholds that hold now."""
        read = self._thresholds.read_thresholds(timeout_ms)
        overridden = override_thresholds(self._alerts, read.texts)
        report.unread, report.refused, report.unknown = read.error, overridden.refused, overridden.unknown
        return overridden.alerts

    def _look_at(
        self, metric: Metric, due: Sequence[tuple[Alert, "_View"]], remaining_ms: Callable[[], int]
    ) -> Iterator[RaisedAlert]:
        """Read the windows that alerts are due of, and tell what they raise."""
        views = {view for _, view in due} | {view.before for alert, view in due if alert.rule.looks_back}
        windows = self._read_views(views, metric, remaining_ms())
        is_some_total_empty = any(not alert.by and not windows[view] for alert, view in due)
        since_ms = self._first_window(metric, remaining_ms()) if is_some_total_empty else None
        for alert, view in due:
            is_empty = not windows[view] and since_ms is not None and since_ms < view.end_ms
            values = values_of_nothing(alert, metric) if is_empty else values_of(alert, metric, windows[view])
            before = values_of(alert, metric, windows[view.before]) if alert.rule.looks_back else {}
            yield from raised_by(alert, metric, view.start_ms, values, before)

    def _read_views(self, views: Collection["_View"], metric: Metric, timeout_ms: int) -> Mapping["_View", Groups]:
        """Merge the base windows that are stored into those of several sizes and groupings that they are part of."""
        windows: dict[_View, Merging[GroupKey]] = {view: Merging(metric.accumulators) for view in views}
        kinds = {(view.by, view.step_ms) for view in views}

        def take(_: ReadPlan, share: StoredShare) -> None:
            for by, step_ms in kinds:
                window = windows.get(_View(by, step_ms, window_start(share.window_start_ms, step_ms)))
                if window is not None and share.groups is not None:
                    window.add(regroup(metric, share.groups, by))

        span = Span(metric.window_ms, min(view.start_ms for view in views), max(view.end_ms for view in views))
        self._shares.read_shares([plan_span(metric, span, range(metric.buckets))], take, timeout_ms)
        return {view: window.groups for view, window in windows.items()}

    def _store_new(self, raised: Sequence[RaisedAlert], timeout_ms: int, report: AlertReport) -> list[RaisedAlert]:
        """Store those that this container has not seen stored. Returns: those that are not known to be."""
        failed = []
        new = [alert for alert in raised if alert.id not in self._stored]
        for alert, outcome in zip(new, self._store.put_alerts(new, timeout_ms), strict=True):
            if isinstance(outcome, Failed):
                report.failed[alert.alert] += 1
                report.errors[outcome.error] += 1
                failed.append(alert)
            else:
                self._stored.add(alert.id)
                if isinstance(outcome, Committed):
                    report.raised[alert.alert] += 1
        self._tell(report)
        return failed


def _early(alerts: Iterable[Alert], windows: Sequence[MergedWindow]) -> list[tuple[Alert, MergedWindow]]:
    """Which alerts these windows may raise before they are over."""
    return [
        (alert, window)
        for alert in alerts
        for window in windows
        if alert.metric == window.metric.name
        and alert.step_ms(window.metric) == window.step_ms
        and alert.fires_early(window.metric)
    ]


class _View(NamedTuple):
    """A window of a metric, as some alerts look at it. Units: milliseconds."""

    by: tuple[str, ...]
    step_ms: int
    start_ms: int

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.step_ms

    @property
    def before(self) -> "_View":
        return self._replace(start_ms=self.start_ms - self.step_ms)


class _Remembered:
    """The last few ids that were added."""

    def __init__(self, ids_max: int) -> None:
        self._ids: dict[str, None] = {}
        self._ids_max = ids_max

    def __contains__(self, alert_id: str) -> bool:
        return alert_id in self._ids

    def add(self, alert_id: str) -> None:
        self._ids[alert_id] = None
        if len(self._ids) > self._ids_max:
            del self._ids[next(iter(self._ids))]
