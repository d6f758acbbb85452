"""Final results: once a window is over and complete, it is told so, for no change does.

A window's last change comes while later events may still be on their way; that none is any more shows only when time
has passed. The message is the window's as fan-out publishes it, but for `final`.
"""

from collections.abc import Callable, Sequence
from functools import partial as bind

from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.windows import format_duration, format_instant, window_ends
from chalicelib.consumers.cut import cut
from chalicelib.consumers.fan_out import GROUPS_AT_ONCE, WINDOWS_AT_ONCE, groups_max
from chalicelib.consumers.publish import Publish, PublishReport, Sending
from chalicelib.consumers.result_message import write_window
from chalicelib.consumers.settle import Duty
from chalicelib.errors import TransientError
from chalicelib.reading.merged import MetricWindow, read_windows
from chalicelib.reading.ports import ROLLUPS, SettledReader, ShareReader

RESERVE_MS = 1_000  # kept back of the time to note how far the metric is


class FinalResults:
    """The duty of publishing the last message of each window.

    Shapes: roll_up is the duty that comes before, settled tells how far it is; tell is told what became of the
            messages, after each slice.
    """

    purpose = "results"

    def __init__(
        self,
        roll_up: Duty,
        settled: SettledReader,
        shares: ShareReader,
        publish: Publish,
        tell: Callable[[PublishReport], None],
    ) -> None:
        self._roll_up = roll_up
        self._settled = settled
        self._shares = shares
        self._publish = publish
        self._tell = tell

    def subject(self, metric: Metric) -> str:
        """The metric's name: with a rollup that is added, final messages of it begin, and none comes again."""
        return metric.name

    def grace_ms(self, metric: Metric) -> int:
        """How long after its end a window can still change, milliseconds."""
        return self._roll_up.grace_ms(metric)

    def step_ms(self, metric: Metric) -> int:
        """The size of the metric's base windows, milliseconds."""
        return metric.window_ms

    def see_to(self, metric: Metric, start_ms: int, end_ms: int, remaining_ms: Callable[[], int]) -> bool:
        """Publish the final message of every stored window that ends in `(start_ms, end_ms]`, the smaller ones first.

        Why they are final: Settle asks for windows whose end, and the grace on top, the stream's completeness has
        passed, and it read the completeness before this reads anything. So every event that they can ever have was
        committed before, and is in what is read here. Of rollups it is when their own duty has settled them.
        Returns: whether all are published, or kept as dead letters; not while the rollups among them are not settled.
        Raises: TransientError, naming what failed.
        """
        if not metric.published:
            return True
        rollups_ms = [last_ms for step_ms in metric.steps_ms[1:] for last_ms in window_ends(start_ms, end_ms, step_ms)]
        if rollups_ms:
            settled = self._settled.read_settled(ROLLUPS, _time_left(remaining_ms)).get(self._roll_up.subject(metric))
            if settled is None or settled.until(self.grace_ms(metric)) < max(rollups_ms):
                return False
        report = PublishReport()
        try:
            for step_ms in metric.steps_ms:
                ends_ms = window_ends(start_ms, end_ms, step_ms)
                windows = [MetricWindow(metric.name, step_ms, window_end_ms - step_ms) for window_end_ms in ends_ms]
                for some in cut(windows, lambda _: groups_max(metric), WINDOWS_AT_ONCE, GROUPS_AT_ONCE):
                    self._publish_finals(metric, some, bind(_time_left, remaining_ms), report)
        finally:
            self._tell(report)
        return True

    def _publish_finals(
        self, metric: Metric, windows: Sequence[MetricWindow], time_left_ms: Callable[[], int], report: PublishReport
    ) -> None:
        merged = read_windows(self._shares, {metric.name: metric}, windows, lambda _: True, time_left_ms)
        # No change told of these; a dead letter is named by its window, and so overwritten by a repeat.
        sendings = [
            Sending(
                f"{metric.name}.{format_duration(each.step_ms)}.{format_instant(each.window_start_ms)}",
                write_window(each),
            )
            for each in merged
        ]
        if self._publish(sendings, time_left_ms, report):
            raise TransientError(next(iter(report.errors), "not published"))


def _time_left(remaining_ms: Callable[[], int]) -> int:
    return max(0, remaining_ms() - RESERVE_MS)
