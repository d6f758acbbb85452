"""What a request reads, decided before anything is read: which partitions, over which windows.

Groups are dealt to buckets by the values of all dimensions. So a request that names values for all of them reads the
buckets of these groups, and any other request reads every bucket.
"""

from itertools import product
from math import prod

from chalicelib.query.ports import ReadPlan
from chalicelib.query.request import WindowsRequest

GROUPS_MAX = 10_000  # dealing so many to their buckets takes some 10 ms; more are likely in every bucket anyway


def plan_read(request: WindowsRequest) -> ReadPlan:
    """Decide what a request reads: no partition twice, and none that can hold nothing of the answer."""
    metric = request.metric
    partitions = [partition for bucket in _buckets(request) for partition in metric.partitions_of(bucket)]
    return ReadPlan(metric, tuple(partitions), request.start_ms, request.end_ms)


def _buckets(request: WindowsRequest) -> list[int]:
    metric, where = request.metric, request.where
    groups_are_named = bool(metric.by) and all(dimension in where for dimension in metric.by)
    if groups_are_named and prod(map(len, where.values())) <= GROUPS_MAX:
        groups = product(*(where[dimension] for dimension in metric.by))
        return sorted({metric.bucket_of(group) for group in groups})
    return list(range(metric.buckets))
