"""Windows as a whole: what is stored of a window in all its buckets, by all writers, merged."""

from typing import NamedTuple

from msgspec import Struct

from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.partial import Groups


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
