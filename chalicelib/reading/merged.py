"""Windows as a whole: what is stored of a window in all its buckets, by all writers, merged."""

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import NamedTuple

from msgspec import Struct

from chalicelib.aggregates.metric import GroupKey, Metric
from chalicelib.aggregates.partial import Groups, Merging
from chalicelib.reading.plans import Span, join_plans, plan_below, plan_span
from chalicelib.reading.ports import ReadPlan, ShareReader, StoredShare


class MetricWindow(NamedTuple):
    """One window of a metric, of whatever buckets. Units: milliseconds; step_ms is one of the metric's `steps_ms`."""

    metric: str
    step_ms: int
    window_start_ms: int

    @property
    def window_end_ms(self) -> int:
        """The instant at which the window is over."""
        return self.window_start_ms + self.step_ms


class MergedWindow(Struct, frozen=True):
    """All that is stored of a window.

    Shapes: groups are of all buckets; the overflow group, if there is one, has the key OVERFLOW. revision only grows.
            is_final: nothing can change it any more.
    """

    metric: Metric
    step_ms: int
    window_start_ms: int
    groups: Groups
    revision: int
    is_final: bool

    @property
    def window(self) -> MetricWindow:
        """Which window it is."""
        return MetricWindow(self.metric.name, self.step_ms, self.window_start_ms)


class _Read(Struct):
    """What has been read of a window."""

    merging: Merging[GroupKey]
    revision: int = 0


def read_windows(
    reader: ShareReader,
    metrics: Mapping[str, Metric],
    windows: Iterable[MetricWindow],
    is_final: Callable[[MetricWindow], bool],
    time_left_ms: Callable[[], int],
) -> list[MergedWindow]:
    """Read windows whole, consistently; a rollup too large to be stored, from the windows that it is made of.

    Shapes: metrics, by name, has those of the windows.
    Returns: the windows in order, without those of which nothing is stored. A revision is the sum of the revisions of
             all shares read: each only grows, and so does the sum.
    Raises: TransientError when a read failed or was not done in time; DefinitionChangedError.
    """
    read: dict[MetricWindow, _Read] = {}
    plans = join_plans(
        plan_span(metric, Span(window.step_ms, window.window_start_ms, window.window_end_ms), range(metric.buckets))
        for window in sorted(set(windows))
        for metric in [metrics[window.metric]]
    )
    made_of: dict[int, MetricWindow] = {}  # by a plan's identity: an hour is read for its own sake, and for its day's
    while plans:
        below: list[ReadPlan] = []

        def take(plan: ReadPlan, share: StoredShare, below: list[ReadPlan] = below) -> None:
            own = MetricWindow(plan.metric.name, plan.step_ms, share.window_start_ms)
            window = made_of.get(id(plan), own)
            of_window = read.setdefault(window, _Read(Merging(plan.metric.accumulators)))
            if share.groups is None:  # its revision is that of what it is made of, which is read instead
                below.append(plan_below(plan, share))
                made_of[id(below[-1])] = window
            else:
                of_window.revision += share.revision
                of_window.merging.add(share.groups.items())

        reader.read_shares(plans, take, time_left_ms())
        plans = below
    return [
        MergedWindow(
            metrics[window.metric],
            window.step_ms,
            window.window_start_ms,
            of_window.merging.groups,
            of_window.revision,
            is_final(window),
        )
        for window, of_window in sorted(read.items(), key=itemgetter(0))
    ]
