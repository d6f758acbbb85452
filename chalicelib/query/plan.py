"""What a request reads, decided before anything is read: which windows of which buckets.

Groups are dealt to buckets by the values of all dimensions. So a request that names values for all of them reads the
buckets of these groups, and any other request reads every bucket.
"""

from itertools import product
from math import prod

from chalicelib.query.request import WindowsRequest
from chalicelib.reading.plans import cover, plan_span
from chalicelib.reading.ports import ReadPlan, Settled

GROUPS_MAX = 10_000  # dealing so many to their buckets takes some 10 ms; more are likely in every bucket anyway


def plan_reads(request: WindowsRequest, settled: Settled | None, lateness_ms: int) -> list[ReadPlan]:
    """Decide what a request reads: nothing twice, and no partition that can hold nothing of the answer.

    Shapes: settled, how far the metric's rollups are; None: not at all.
    """
    from_ms, until_ms = (settled.from_ms, settled.until(lateness_ms)) if settled else (0, 0)
    steps_ms = [request.metric.window_ms, *fitting_rollups(request)]
    buckets = _buckets(request)
    spans = cover(request.start_ms, request.end_ms, steps_ms, from_ms, until_ms)
    return [plan_span(request.metric, span, buckets) for span in spans]


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
