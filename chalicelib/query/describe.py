"""What there is to ask for: metrics and shards as their answers describe them. Only the names of JSON members here."""

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.windows import format_duration, format_instant
from chalicelib.query.request import Column
from chalicelib.reading.completeness import complete_until
from chalicelib.reading.ports import ShardProgress
from chalicelib.records.shard import Shard


def describe_metric(metric: Metric, lateness_ms: int) -> dict[str, Any]:
    """Describe a metric; lateness is what holds in this stage, whether the metric or the stage sets it."""
    return {
        "name": metric.name,
        "event_type": metric.event_type,
        "dimensions": metric.by,
        "measures": [Column(name, measure.type_name, measure.error) for name, measure in metric.measures.items()],
        "window": format_duration(metric.window_ms),
        "rollups": [format_duration(step_ms) for step_ms in metric.steps_ms[1:]],
        "lateness": format_duration(lateness_ms),
        "retention": format_duration(metric.retention_ms),
        "published": metric.published,
        "buckets": metric.buckets,
        "group_limit": metric.group_limit,
    }


def describe_stream(
    stream: str, shards: Sequence[Shard], progress: Sequence[ShardProgress], now_ms: int
) -> dict[str, Any]:
    """Describe how far each shard has been committed."""
    progress_of = {each.shard_id: each for each in progress}
    return {
        "stream": stream,
        "complete_until": instant_or_null(complete_until(shards, progress)),
        "shards": [_describe_shard(shard, progress_of, now_ms) for shard in shards],
    }


def _describe_shard(shard: Shard, progress_of: Mapping[str, ShardProgress], now_ms: int) -> dict[str, Any]:
    progress = progress_of.get(shard.shard_id)
    return {
        "shard_id": shard.shard_id,
        "open": shard.is_open,
        "checkpoint": progress.sequence_number if progress else None,
        "committed_until": format_instant(progress.arrived_at_ms) if progress else None,
        # The stream's clock may be a little ahead of this one's.
        "behind_ms": max(0, now_ms - progress.arrived_at_ms) if progress else None,
    }


def instant_or_null(instant_ms: int | None) -> str | None:
    """An instant as text, null when it is not known."""
    return None if instant_ms is None else format_instant(instant_ms)
