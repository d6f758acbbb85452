"""What a stage has stored of the days before the run: windows long settled, that expire one item after the other."""

from collections.abc import Iterable
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, Protocol

from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.partial import Partial, PartialKey
from chalicelib.aggregates.rollup import Rollup, WindowKey, pack_groups
from chalicelib.consumers.settle import Duty
from chalicelib.reading.ports import Settled
from tests.builders import DAY_MS, MINUTE_MS, NOON_MS
from tests.simulation.tables.oracle import Groups, merged
from tests.simulation.tables.stage import Stage

if TYPE_CHECKING:
    from tests.simulation.tables.aggregates import AggregatesTable

HOUR_MS = 60 * MINUTE_MS
AGED_MS = NOON_MS - 2 * DAY_MS
SETTLED_MS = (
    NOON_MS - 10 * MINUTE_MS
)  # so far, at most, an old stage had settled when the run begins; no event is so late
MINUTES = (0, 7, 31)


class HasStart(Protocol):
    """Whatever is of a window."""

    @property
    def window_start_ms(self) -> int: ...


WRITERS = ("old-shard-0", "old-shard-1")


def is_old(key: "HasStart") -> bool:
    """Whether this is a window of the days before."""
    return key.window_start_ms < NOON_MS - DAY_MS


def age(stage: Stage, aggregates: "AggregatesTable", duties: Iterable[Duty]) -> None:
    """Store an old hour of every metric, settled for these duties."""
    for metric in stage.metrics:
        by_bucket = {bucket: _store_bucket(metric, bucket, aggregates) for bucket in range(metric.buckets)}
        for (bucket, windows), step_ms in product(by_bucket.items(), metric.steps_ms[1:]):
            for start_ms in {start_ms - start_ms % step_ms for start_ms in windows}:
                shares = [groups for at_ms, groups in windows.items() if start_ms <= at_ms < start_ms + step_ms]
                key = WindowKey(metric.name, step_ms, bucket, start_ms)
                aggregates.rollups[key] = Rollup(len(WRITERS) * len(shares), pack_groups(merged(metric, shares)))
        lateness_ms = stage.lateness_ms(metric.event_type)
        for duty in duties:
            until_ms = SETTLED_MS - SETTLED_MS % metric.steps_ms[-1]
            settled = Settled(AGED_MS, until_ms, until_ms + lateness_ms)
            aggregates.settled[duty.purpose, duty.subject(metric)] = settled


def _store_bucket(metric: Metric, bucket: int, aggregates: "AggregatesTable") -> dict[int, Groups]:
    """Two writers' shares of some minutes of one bucket. Returns: what each minute holds."""
    windows: dict[int, Groups] = {}
    group = tuple(f"old-{bucket}" for _ in metric.by)
    states = {"count": 1, "sum": Decimal(5), "min": Decimal(5), "max": Decimal(5)}
    groups = {group: tuple(states[accumulator.kind] for accumulator in metric.accumulators)}
    for minute, writer in product(MINUTES, WRITERS):
        start_ms = AGED_MS + minute * MINUTE_MS
        key = PartialKey(metric.name, metric.partition_of(bucket, writer), start_ms, writer)
        aggregates.partials[key] = Partial("0011", 1, groups)
        windows[start_ms] = merged(metric, [windows.get(start_ms, {}), groups])
    return windows
