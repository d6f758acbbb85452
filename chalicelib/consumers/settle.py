"""Settle: windows that nothing changes any more are seen to, each once, in order, from where it was left.

A change of a window has a record of its own on the table's stream; that a window is over and complete has none. So
`tick` asks, once a minute, whether the stream's completeness has passed the end of further windows, and has those seen
to: their rollups, their last result, their alerts. How far each metric is, for each of these *duties*, is stored; what
fails, or is not done in time, is taken up by the next minute's tick.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial as bind
from typing import Protocol

from msgspec import Struct, field

from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.windows import UNIT_MS, window_start
from chalicelib.consumers.ports import SettledStore
from chalicelib.errors import DefinitionChangedError, TransientError
from chalicelib.reading.completeness import complete_until
from chalicelib.reading.ports import ProgressReader, Settled, ShardLister

HOUR_MS = UNIT_MS["h"]
RESERVE_MS = 1_000  # kept back of the invocation's time to report


class Duty(Protocol):
    """What is to be done about windows that are over and complete."""

    purpose: str

    def subject(self, metric: Metric) -> str:
        """Under which name it is noted how far this metric is; under another one, the duty begins anew."""

    def grace_ms(self, metric: Metric) -> int:
        """How long after its end a window of this metric counts as open, milliseconds."""

    def step_ms(self, metric: Metric) -> int:
        """The size of the smallest windows of this metric that there is anything to do about, milliseconds."""

    def see_to(self, metric: Metric, start_ms: int, end_ms: int, remaining_ms: Callable[[], int]) -> bool:
        """See to the windows that end in `(start_ms, end_ms]`, of every size.

        Shapes: both ends fall on windows of the duty's step, and lie within an hour or one such window.
        Returns: whether all is done; what was done may come again.
        Raises: TransientError.
        """


class SettleReport(Struct):
    """What one duty came to: how many slices of windows were seen to, how many metrics are behind, and why."""

    slices: int = 0
    behind: int = 0
    errors: Counter[str] = field(default_factory=Counter)


class Settle:
    """Sees to one duty, for all metrics."""

    def __init__(self, metrics: Iterable[Metric], duty: Duty, store: SettledStore) -> None:
        self._metrics = list(metrics)
        self._duty = duty
        self._store = store
        self._failed: set[str] = set()  # metrics whose last slice may have been too much at once

    def __call__(self, complete_until_ms: int, remaining_ms: Callable[[], int]) -> SettleReport:
        """Go on with each metric, a slice in turn, so that none waits for another's backlog.

        Shapes: complete_until_ms is what the stream's completeness was before this reads anything else.
        Raises: TransientError when it cannot be read how far the metrics are.
        """
        report = SettleReport()
        positions = self._store.read_settled(self._duty.purpose, remaining_ms())
        waiting = [_Metric(metric, positions.get(self._duty.subject(metric))) for metric in self._metrics]
        while waiting and remaining_ms() > 0:
            waiting = [each for each in waiting if self._go_on(each, complete_until_ms, remaining_ms, report)]
        report.behind += len(waiting)
        return report

    def _go_on(
        self, each: "_Metric", complete_until_ms: int, remaining_ms: Callable[[], int], report: SettleReport
    ) -> bool:
        """See to one slice of a metric. Returns: whether there is more to do now."""
        metric, step_ms = each.metric, self._duty.step_ms(each.metric)
        grace_ms = self._duty.grace_ms(metric)
        target_ms = window_start(complete_until_ms - grace_ms, step_ms)
        try:
            from_ms, start_ms = self._position(each, target_ms, grace_ms, remaining_ms)
            if start_ms >= target_ms:
                return False
            one_step_ms = window_start(start_ms, step_ms) + step_ms
            end_ms = one_step_ms if metric.name in self._failed else min(target_ms, _slice_end(start_ms, step_ms))
            if self._duty.see_to(metric, start_ms, end_ms, remaining_ms):
                settled = Settled(from_ms, end_ms, complete_until_ms)
                subject = self._duty.subject(metric)
                if self._store.advance_settled(self._duty.purpose, subject, each.settled, settled, remaining_ms()):
                    each.settled = settled
                    report.slices += 1
                    self._failed.discard(metric.name)
                    return end_ms < target_ms
                return False  # another tick is at it
        except (TransientError, DefinitionChangedError) as error:  # of one metric, and no reason to leave the others
            report.errors[str(error)] += 1
        report.behind += 1
        self._failed.add(metric.name)
        return False

    def _position(
        self, each: "_Metric", target_ms: int, grace_ms: int, remaining_ms: Callable[[], int]
    ) -> tuple[int, int]:
        """From where the metric's windows are settled, and up to where they are."""
        if each.settled:
            return each.settled.from_ms, each.settled.until(grace_ms)
        first_ms = self._store.first_window(each.metric, remaining_ms())
        if first_ms is None or first_ms >= target_ms:
            return target_ms, target_ms
        # Back to the beginning of the largest window that holds the first, for nothing is stored before that.
        return window_start(first_ms, each.metric.steps_ms[-1]), window_start(first_ms, self._duty.step_ms(each.metric))


class SettleAll:
    """Sees to every duty, as far as the events stream is complete.

    Shapes: duties, by purpose, in the order in which they are seen to.
    """

    def __init__(
        self, stream: str, shards: ShardLister, progress: ProgressReader, duties: Mapping[str, Settle]
    ) -> None:
        self._stream = stream
        self._shards = shards
        self._progress = progress
        self._duties = duties

    def __call__(self, remaining_ms: Callable[[], int]) -> dict[str, SettleReport]:
        """Go on with each duty. Returns: what each came to; nothing while it is not known how complete the stream is.

        Raises: TransientError when that cannot be read in time.
        """
        shards = self._shards.list_shards(_time_left(remaining_ms))
        complete_until_ms = complete_until(shards, self._progress.read_progress(self._stream, _time_left(remaining_ms)))
        reports: dict[str, SettleReport] = {}
        if complete_until_ms is None:
            return reports
        for purpose, settle in self._duties.items():
            # Each may take an equal part of the time that is left, so that the last has some when the first has not.
            waiting = len(self._duties) - len(reports)
            kept_ms = _time_left(remaining_ms) * (waiting - 1) // waiting
            try:
                reports[purpose] = settle(complete_until_ms, bind(_time_left, remaining_ms, RESERVE_MS + kept_ms))
            except TransientError as error:
                reports[purpose] = SettleReport(behind=1, errors=Counter([str(error)]))
        return reports


def _time_left(remaining_ms: Callable[[], int], reserve_ms: int = RESERVE_MS) -> int:
    return max(0, remaining_ms() - reserve_ms)


class _Metric(Struct):
    """A metric, and how far it is."""

    metric: Metric
    settled: Settled | None


def _slice_end(start_ms: int, step_ms: int) -> int:
    """The end of the slice that begins here: within an hour, or one window further."""
    slice_ms = step_ms * max(1, HOUR_MS // step_ms)
    return window_start(start_ms, slice_ms) + slice_ms
