"""What there is to ask for: metrics and shards as their answers describe them. Only the documents of answers here."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from chalicelib.aggregates.measures import ErrorBound
from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.windows import format_duration, format_instant
from chalicelib.reading.completeness import complete_until
from chalicelib.reading.ports import ShardProgress
from chalicelib.records.shard import Shard

Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Duration = Annotated[str, Meta(pattern="^[0-9]+[smhd]$")]


class MeasureDescription(Struct, frozen=True, omit_defaults=True):
    """A measure as a column of answers; kind is what it is, `count`, `sum`, `mean`, …: of no events a sum is 0."""

    name: str
    type: str
    kind: str
    error: ErrorBound | None = None


class MetricDescription(Struct, frozen=True):
    """A metric: what can be asked of it, and how its windows are kept."""

    name: str
    event_type: str
    dimensions: tuple[str, ...]
    measures: tuple[MeasureDescription, ...]
    window: Duration
    rollups: tuple[Duration, ...]
    lateness: Duration
    retention: Duration
    published: bool
    buckets: int
    group_limit: int


class MetricsAnswer(Struct, frozen=True):
    """The metrics that there are."""

    metrics: tuple[MetricDescription, ...]


class ShardDescription(Struct, frozen=True):
    """A shard of the events stream: the last record that was committed of it, and how long ago the stream took that.

    Shapes: null where nothing has been committed yet.
    """

    shard_id: str
    open: bool
    checkpoint: str | None
    committed_until: Instant | None
    behind_ms: Annotated[int, Meta(ge=0)] | None


class StreamAnswer(Struct, frozen=True):
    """How far the events stream has been committed, as a whole and shard by shard."""

    stream: str
    complete_until: Instant | None
    shards: tuple[ShardDescription, ...]


class HealthAnswer(Struct, frozen=True):
    """That requests are answered."""

    status: str
    stage: str


def describe_metric(metric: Metric, lateness_ms: int) -> MetricDescription:
    """Describe a metric; lateness is what holds in this stage, whether the metric or the stage sets it."""
    return MetricDescription(
        name=metric.name,
        event_type=metric.event_type,
        dimensions=metric.by,
        measures=tuple(
            MeasureDescription(name, each.type_name, type(each).__name__.lower(), each.error)
            for name, each in metric.measures.items()
        ),
        window=format_duration(metric.window_ms),
        rollups=tuple(format_duration(step_ms) for step_ms in metric.steps_ms[1:]),
        lateness=format_duration(lateness_ms),
        retention=format_duration(metric.retention_ms),
        published=metric.published,
        buckets=metric.buckets,
        group_limit=metric.group_limit,
    )


def describe_stream(
    stream: str, shards: Sequence[Shard], progress: Sequence[ShardProgress], now_ms: int
) -> StreamAnswer:
    """Describe how far each shard has been committed."""
    progress_of = {each.shard_id: each for each in progress}
    described = tuple(_describe_shard(shard, progress_of, now_ms) for shard in shards)
    return StreamAnswer(stream, instant_or_null(complete_until(shards, progress)), described)


def _describe_shard(shard: Shard, progress_of: Mapping[str, ShardProgress], now_ms: int) -> ShardDescription:
    progress = progress_of.get(shard.shard_id)
    return ShardDescription(
        shard_id=shard.shard_id,
        open=shard.is_open,
        checkpoint=progress.sequence_number if progress else None,
        committed_until=format_instant(progress.arrived_at_ms) if progress else None,
        # The stream's clock may be a little ahead of this one's.
        behind_ms=max(0, now_ms - progress.arrived_at_ms) if progress else None,
    )


def instant_or_null(instant_ms: int | None) -> str | None:
    """An instant as text, null when it is not known."""
    return None if instant_ms is None else format_instant(instant_ms)
