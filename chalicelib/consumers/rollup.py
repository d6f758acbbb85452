"""Rollup: what changed of the smaller windows is carried into the larger ones, by recomputing these.

For each larger window that a batch of changes touches, once however often it is touched: read what stands, then all
shares of the smaller windows in it, merge them, and put the whole on the condition that what stood still stands. What
stands is read *before* the shares, so of two recomputations the one whose reads are older is refused, and reads again.
So a rollup never goes back, and a batch that comes again, late or doubled, changes nothing. docs/decisions/0005.

While a window is open, only of metrics whose open hours anybody is told of: to queries a rollup counts when it is
settled, and that has all of them recomputed, once. An hour that is carried on as it grows is read a hundred times over,
all writers' minutes of it. What may have been settled is carried on of every metric: a replay can change it.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from msgspec import Struct, field

from chalicelib.aggregates.metric import Catalog, GroupKey, Metric
from chalicelib.aggregates.partial import Merging
from chalicelib.aggregates.rollup import Rollup, WindowKey, pack_groups, step_below, window_above
from chalicelib.aggregates.windows import window_ends
from chalicelib.consumers.ports import Committed, Failed, Overtaken, RollupPut, RollupStore, StoredChange
from chalicelib.consumers.response import deliver_again
from chalicelib.errors import TransientError
from chalicelib.reading.plans import Span, join_plans, plan_span, window_of
from chalicelib.reading.ports import ROLLUPS, ReadPlan, ShareReader, StoredShare

RESERVE_MS = 1_000  # kept back of the invocation's time to answer
ROUNDS_MAX = 5  # a put is refused only when another recomputation won; that it wins so often is a fault
# Windows recomputed together: what is read of them is in memory, and nothing of them is put before all are read. So it
# begins with few, and goes on with more as long as they are quick: a window of many groups takes seconds.
WINDOWS_FIRST, WINDOWS_AT_ONCE = 4, 64
CHUNK_MS = 2_000


class _Merged(Struct):
    """What the smaller windows in one hold together. merging is None when some of it is too large to be stored."""

    merging: Merging[GroupKey] | None
    revision: int = 0


class RollupReport(Struct):
    """What became of one batch of changes, for the answer, the metrics and the log."""

    changes: int = 0
    windows: int = 0
    rollups: int = 0
    overtaken: int = 0
    too_large: int = 0
    write_units: float = 0.0
    failed_sequence_number: str | None = None
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def response(self) -> dict[str, Any]:
        """The answer that Lambda expects: the change from which to retry, if any."""
        return deliver_again([self.failed_sequence_number])


class RollUp:
    """The consumer that keeps the rollups. Stateless once made.

    Shapes: watched names the metrics that have alerts, published or not. clock_ms is never behind the stream's
            completeness, and so tells what cannot have been settled yet.
    """

    purpose = ROLLUPS

    def __init__(
        self,
        catalog: Catalog,
        stage_lateness_ms: int,
        shares: ShareReader,
        rollups: RollupStore,
        *,
        clock_ms: Callable[[], int],
        watched: Collection[str] = (),
    ) -> None:
        self._catalog = catalog
        self._told_of = catalog.told_of(watched)
        self._stage_lateness_ms = stage_lateness_ms
        self._shares = shares
        self._rollups = rollups
        self._clock_ms = clock_ms

    def __call__(self, changes: Sequence[StoredChange], remaining_ms: Callable[[], int]) -> RollupReport:
        """Carry a batch of changes into the windows above, but for open ones of metrics that nobody is told of.

        Returns: the report, whose `response` is the answer for Lambda.
        Raises: DefinitionChangedError; the whole batch is then delivered again.
        """
        report = RollupReport(changes=len(changes))
        now_ms = self._clock_ms()
        first_place: dict[WindowKey, int] = {}
        for place, change in enumerate(changes):
            if isinstance(change.key, WindowKey):
                key = window_above(self._catalog.metrics[change.key.metric], change.key)
                if key and self._is_carried(key, now_ms):
                    first_place.setdefault(key, place)
        failed = self._recompute(first_place, remaining_ms, report)
        if failed:
            report.failed_sequence_number = changes[min(first_place[key] for key in failed)].sequence_number
        return report

    def _is_carried(self, key: WindowKey, now_ms: int) -> bool:
        is_told_of = key.metric in self._told_of
        may_be_settled = key.window_end_ms + self.grace_ms(self._catalog.metrics[key.metric]) <= now_ms
        return is_told_of or may_be_settled

    def subject(self, metric: Metric) -> str:
        """Under which name it is noted how far the metric's rollups are: those of another layout are others."""
        return metric.layout

    def grace_ms(self, metric: Metric) -> int:
        """How long after its end a window can still change, milliseconds."""
        return self._catalog.lateness_ms(metric.event_type, self._stage_lateness_ms)

    def step_ms(self, metric: Metric) -> int:
        """The size of the metric's smallest rollups, milliseconds; of its windows, when it has none."""
        return metric.steps_ms[min(1, len(metric.steps_ms) - 1)]

    def see_to(self, metric: Metric, start_ms: int, end_ms: int, remaining_ms: Callable[[], int]) -> bool:
        """Bring the rollups that end in `(start_ms, end_ms]` up to date, now that nothing can change them any more.

        Returns: whether they are.
        """
        for step_ms in metric.steps_ms[1:]:  # the hours before their day
            keys = [
                WindowKey(metric.name, step_ms, bucket, window_end_ms - step_ms)
                for window_end_ms in window_ends(start_ms, end_ms, step_ms)
                for bucket in range(metric.buckets)
            ]
            if self._recompute(keys, remaining_ms, RollupReport()):
                return False
        return True

    def _recompute(
        self, keys: Collection[WindowKey], remaining_ms: Callable[[], int], report: RollupReport
    ) -> set[WindowKey]:
        """Recompute these windows. Returns: those of which it is not known that they are up to date."""
        report.windows += len(keys)
        failed: set[WindowKey] = set()
        waiting, at_once = iter(keys), WINDOWS_FIRST
        while left := set(islice(waiting, at_once)):
            began_ms = remaining_ms()
            try:
                for _ in range(ROUNDS_MAX):
                    left, broken = self._recompute_once(left, remaining_ms, report)
                    failed |= broken
                    if not left:
                        break
            except TransientError as error:
                report.errors[str(error)] += 1
            failed |= left
            is_quick = began_ms - remaining_ms() < CHUNK_MS
            at_once = min(2 * at_once, WINDOWS_AT_ONCE) if is_quick else max(at_once // 2, 1)
        return failed

    def _recompute_once(
        self, keys: Collection[WindowKey], remaining_ms: Callable[[], int], report: RollupReport
    ) -> tuple[set[WindowKey], set[WindowKey]]:
        """Recompute these windows together. Returns: those whose put was refused, and those whose put failed."""
        standing = self._rollups.read_rollups(keys, _time_left(remaining_ms))  # first, for what is put must be newer
        merged = self._merge_below(keys, _time_left(remaining_ms))
        puts = [put for key in keys if (put := _plan_put(key, standing.get(key), merged.get(key)))]
        overtaken, broken = set(), set()
        for put, outcome in zip(puts, self._rollups.put_rollups(puts, _time_left(remaining_ms)), strict=True):
            match outcome:
                case Committed(write_units):
                    report.rollups += 1
                    report.write_units += write_units
                    report.too_large += put.rollup.packed is None
                case Overtaken():
                    overtaken.add(put.key)
                    report.overtaken += 1
                case Failed(error):
                    broken.add(put.key)
                    report.errors[error] += 1
        return overtaken, broken

    def _merge_below(self, keys: Collection[WindowKey], timeout_ms: int) -> Mapping[WindowKey, _Merged]:
        """What the smaller windows in each of these hold together."""
        merged: dict[WindowKey, _Merged] = {}

        def take(plan: ReadPlan, share: StoredShare) -> None:
            key = window_above(plan.metric, window_of(plan, share))
            if key is None:
                return
            of_window = merged.setdefault(key, _Merged(Merging(plan.metric.accumulators)))
            of_window.revision += share.revision
            if of_window.merging is not None and share.groups is not None:
                of_window.merging.add(share.groups.items())
            else:
                of_window.merging = None

        self._shares.read_shares(self._plans_below(keys), take, timeout_ms)
        return merged

    def _plans_below(self, keys: Collection[WindowKey]) -> list[ReadPlan]:
        """What these windows are made of; of windows that lie next to each other one plan, for it is one query."""
        buckets: dict[WindowKey, list[int]] = defaultdict(list)
        for key in sorted(keys):
            buckets[key._replace(bucket=0)].append(key.bucket)
        return join_plans(
            plan_span(metric, Span(step_below(metric, key.step_ms), key.window_start_ms, key.window_end_ms), of_window)
            for key, of_window in buckets.items()
            for metric in [self._catalog.metrics[key.metric]]
        )


def _plan_put(key: WindowKey, standing: Rollup | None, merged: _Merged | None) -> RollupPut | None:
    """The put that brings a window up to date; None when what stands is made of as much, or of more.

    Why more: of what it was made of something may have expired since.
    Why not by its groups: what was taken back may have been added again, and a put that is still under way must find
         that something was put in between.
    """
    if merged is None or (standing and standing.revision >= merged.revision):
        return None
    packed = None if merged.merging is None else pack_groups(merged.merging.groups)
    return RollupPut(key, standing.revision if standing else None, Rollup(merged.revision, packed))


def _time_left(remaining_ms: Callable[[], int]) -> int:
    return max(0, remaining_ms() - RESERVE_MS)
