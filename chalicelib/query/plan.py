"""What a request reads, decided before anything is read: which windows of which buckets.

Groups are dealt to buckets by the values of all dimensions. So a request that names values for all of them reads the
buckets of these groups, and any other request reads every bucket.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import product
from math import prod

from msgspec.structs import replace

from chalicelib.aggregates.windows import format_duration, format_instant
from chalicelib.query.errors import ParameterError
from chalicelib.query.parameters import ALL, WINDOWS_MAX
from chalicelib.query.request import WindowsRequest
from chalicelib.reading.plans import Span, cover, plan_span
from chalicelib.reading.ports import ReadPlan, Settled

GROUPS_MAX = 10_000  # dealing so many to their buckets takes some 10 ms; more are likely in every bucket anyway


def plan_reads(request: WindowsRequest, settled: Settled | None, lateness_ms: int) -> list[ReadPlan]:
    """Decide what a request reads: nothing twice, and no partition that can hold nothing of the answer.

    Shapes: settled, how far the metric's rollups are; None: not at all.
    """
    buckets = _buckets(request)
    return [plan_span(request.metric, span, buckets) for span in _spans(request, settled, lateness_ms)]


def too_many_windows(request: WindowsRequest, settled: Settled | None, lateness_ms: int) -> ParameterError:
    """Why a request that reads over WINDOWS_MAX stored windows is refused, and what of the same would be answered.

    Why not before anything is read: a plan tells how many windows there may be, and most may hold nothing.
    """

    def fits(asked: WindowsRequest, settled: Settled | None = settled) -> bool:
        spans = _spans(asked, settled, lateness_ms)
        return sum((span.end_ms - span.start_ms) // span.step_ms for span in spans) <= WINDOWS_MAX

    if fits(request):  # its rollups are too large to be stored: what they are made of had to be read
        return _refusal([_earliest_start(request, lambda asked: fits(asked, None))])
    larger_ms = [step_ms for step_ms in (*request.metric.steps_ms[1:], None) if fits(replace(request, step_ms=step_ms))]
    steps = [f"step={format_duration(step_ms) if step_ms else ALL}" for step_ms in larger_ms[:1]]
    return _refusal([*steps, _earliest_start(request, fits)])


def _earliest_start(request: WindowsRequest, fits: Callable[[WindowsRequest], bool]) -> str:
    """The earliest start of a range that fits, as a parameter."""
    starts_ms = range(request.start_ms, request.end_ms, request.metric.window_ms)
    place = bisect_left(starts_ms, True, key=lambda start_ms: fits(replace(request, start_ms=start_ms)))
    return f"start={format_instant(starts_ms[place])}"


def _refusal(fitting: Sequence[str]) -> ParameterError:
    return ParameterError(
        "step", f"the answer is made of over {WINDOWS_MAX} stored windows; {' or '.join(fitting)} would do"
    )


def _spans(request: WindowsRequest, settled: Settled | None, lateness_ms: int) -> list[Span]:
    from_ms, until_ms = (settled.from_ms, settled.until(lateness_ms)) if settled else (0, 0)
    steps_ms = [request.metric.window_ms, *fitting_rollups(request)]
    return cover(request.start_ms, request.end_ms, steps_ms, from_ms, until_ms)


def fitting_rollups(request: WindowsRequest) -> list[int]:
    """The sizes of the metric's rollups that the answer's windows are made of, rising, milliseconds."""
    return [step_ms for step_ms in request.metric.steps_ms[1:] if _fits(request, step_ms)]


def _fits(request: WindowsRequest, step_ms: int) -> bool:
    """Whether no window of this size lies in two windows of the answer."""
    return request.step_ms is None or (request.step_ms % step_ms == 0 and request.origin_ms % step_ms == 0)


def _buckets(request: WindowsRequest) -> list[int]:
    metric, where = request.metric, request.where
    groups_are_named = bool(metric.by) and all(dimension in where for dimension in metric.by)
    if groups_are_named and prod(map(len, where.values())) <= GROUPS_MAX:
        groups = product(*(where[dimension] for dimension in metric.by))
        return sorted({metric.bucket_of(group) for group in groups})
    return list(range(metric.buckets))
