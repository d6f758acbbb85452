"""Which stored windows to read, decided before anything is read: plans as data.

A range is covered by the largest windows that are settled, and by smaller ones at its edges: fewer items, and the same
answer, for a rollup that is settled holds what its smaller windows hold.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.rollup import WindowKey, step_below
from chalicelib.aggregates.windows import next_window_start, window_start
from chalicelib.reading.ports import ReadPlan, StoredShare


class Span(NamedTuple):
    """Windows of one size that lie next to each other. Units: milliseconds; half-open."""

    step_ms: int
    start_ms: int
    end_ms: int


def plan_span(metric: Metric, span: Span, buckets: Iterable[int]) -> ReadPlan:
    """Plan to read all that is stored of these windows in these buckets."""
    partitions = [partition for bucket in buckets for partition in metric.partitions_of(bucket, span.step_ms)]
    return ReadPlan(metric, span.step_ms, tuple(partitions), span.start_ms, span.end_ms)


def join_plans(plans: Iterable[ReadPlan]) -> list[ReadPlan]:
    """Make one plan of those that go on where the one before them ends: one query a partition, and not one a window."""
    joined: list[ReadPlan] = []
    for plan in plans:
        if joined and replace(joined[-1], start_ms=joined[-1].end_ms, end_ms=plan.end_ms) == plan:
            joined[-1] = replace(joined[-1], end_ms=plan.end_ms)
        else:
            joined.append(plan)
    return joined


def window_of(plan: ReadPlan, share: StoredShare) -> WindowKey:
    """The window that an item read by this plan is of."""
    bucket = plan.metric.bucket_in(share.partition, plan.step_ms)
    return WindowKey(plan.metric.name, plan.step_ms, bucket, share.window_start_ms)


def plan_below(plan: ReadPlan, share: StoredShare) -> ReadPlan:
    """Plan to read what a rollup is made of, when it is itself too large for an item."""
    below_ms = step_below(plan.metric, plan.step_ms)
    span = Span(below_ms, share.window_start_ms, share.window_start_ms + plan.step_ms)
    return plan_span(plan.metric, span, [share.partition])


def cover(
    start_ms: int, end_ms: int, steps_ms: Sequence[int], settled_from_ms: int, settled_until_ms: int
) -> list[Span]:
    """Cover `[start_ms, end_ms)` exactly, with the fewest windows.

    Shapes: steps_ms rises, each a multiple of the one before; start and end fall on windows of the first. Windows of
            the other sizes are used only from settled_from_ms to settled_until_ms.
    """
    return list(_cover(start_ms, end_ms, steps_ms, settled_from_ms, settled_until_ms))


def _cover(
    start_ms: int, end_ms: int, steps_ms: Sequence[int], settled_from_ms: int, settled_until_ms: int
) -> Iterator[Span]:
    *below_ms, step_ms = steps_ms
    first_ms, last_ms = start_ms, end_ms
    if below_ms:
        first_ms = next_window_start(max(start_ms, settled_from_ms), step_ms)
        last_ms = window_start(min(end_ms, settled_until_ms), step_ms)
        if first_ms >= last_ms:
            yield from _cover(start_ms, end_ms, below_ms, settled_from_ms, settled_until_ms)
            return
        if start_ms < first_ms:
            yield from _cover(start_ms, first_ms, below_ms, settled_from_ms, settled_until_ms)
    yield Span(step_ms, first_ms, last_ms)
    if last_ms < end_ms:
        yield from _cover(last_ms, end_ms, below_ms, settled_from_ms, settled_until_ms)
