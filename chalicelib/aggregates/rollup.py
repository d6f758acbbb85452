"""A rollup: one larger window of one bucket, made of all shares of the smaller windows in it. Pure; no boto3 here.

It is recomputed, never incremented: docs/decisions/0005 says why.
"""

from itertools import pairwise
from typing import NamedTuple

from msgspec import Struct

from chalicelib.aggregates.metric import ITEM_BYTES_MAX, Metric
from chalicelib.aggregates.partial import Groups, compress_groups
from chalicelib.aggregates.windows import window_start


class WindowKey(NamedTuple):
    """One window of one bucket of a metric. Units: milliseconds; step_ms is one of the metric's `steps_ms`."""

    metric: str
    step_ms: int
    bucket: int
    window_start_ms: int

    @property
    def window_end_ms(self) -> int:
        """The instant at which the window is over."""
        return self.window_start_ms + self.step_ms


class Rollup(Struct, frozen=True):
    """What is stored of a larger window. packed is None when its groups are more than an item can hold.

    Shapes: revision is the sum of the revisions of what it was made of: each of these only grows, and the sum tells
            whether anything has been added since.
    """

    revision: int
    packed: bytes | None


def window_above(metric: Metric, key: WindowKey) -> WindowKey | None:
    """The next larger window that this one is part of; None of the largest, and of a step that the metric lacks."""
    above_ms = dict(pairwise(metric.steps_ms)).get(key.step_ms)
    if above_ms is None:
        return None
    return WindowKey(key.metric, above_ms, key.bucket, window_start(key.window_start_ms, above_ms))


def step_below(metric: Metric, step_ms: int) -> int:
    """The size of the windows that a rollup of this size is made of."""
    return {above_ms: below_ms for below_ms, above_ms in pairwise(metric.steps_ms)}[step_ms]


def pack_groups(groups: Groups) -> bytes | None:
    """Encode a rollup's groups, compressed; None when they are more than an item can hold."""
    packed = compress_groups(groups)
    return packed if len(packed) <= ITEM_BYTES_MAX else None
