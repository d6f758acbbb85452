"""The keys of the aggregates table. Only this file knows how they are written.

    pk = metric#step#partition        sk = window_start#writer     a partial: a writer's share of a base window
    pk = metric#step#bucket           sk = window_start#           a rollup
    pk = progress#stream#metrics      sk = shard                   how far ingest has committed
    pk = settled#purpose              sk = subject                 how far windows have been settled
    pk = alert#name                   sk = window_start#id         an alert

A window's start is RFC 3339 text, so that a range of windows is a range of sort keys. No metric has a `#` in its name,
and a table may hold windows of metrics that are declared no more.
"""

from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.rollup import WindowKey
from chalicelib.aggregates.windows import format_duration, format_instant, parse_duration, parse_instant
from chalicelib.consumers.ports import AlertKey

PROGRESS, SETTLED, ALERT = "progress", "settled", "alert"


def share_partition_key(metric: Metric, step_ms: int, partition: int) -> str:
    """Of the windows of one size: base windows by partition, rollups by bucket."""
    return f"{metric.name}#{format_duration(step_ms)}#{partition}"


def share_sort_key(window_start_ms: int, writer: str = "") -> str:
    """Of one window: a writer's share of a base window, or a rollup, which is of all writers."""
    return f"{window_sort_key(window_start_ms)}#{writer}"


def window_sort_key(window_start_ms: int) -> str:
    """Above all keys of the windows before, and below all of this one: each of them goes on behind the start."""
    return format_instant(window_start_ms)


def alert_partition_key(alert: str) -> str:
    """Of all that one alert has raised."""
    return f"{ALERT}#{alert}"


def alert_sort_key(window_start_ms: int, alert_id: str) -> str:
    """Of what an alert has raised of one window and group."""
    return f"{window_sort_key(window_start_ms)}#{alert_id}"


def window_start_of(sort_key: str) -> int:
    """The start of the window whose share or rollup has this sort key, epoch milliseconds."""
    return parse_instant(sort_key.partition("#")[0])


def window_of(catalog: Catalog, partition_key: str, sort_key: str) -> WindowKey | None:
    """The declared metric's window that the item with these keys is of; None when it is of none."""
    name, _, rest = partition_key.partition("#")
    step, _, partition = rest.partition("#")
    metric = catalog.metrics.get(name)
    try:
        if metric is None or (step_ms := parse_duration(step)) not in metric.steps_ms:
            return None
        return WindowKey(name, step_ms, metric.bucket_in(int(partition), step_ms), window_start_of(sort_key))
    except ValueError:
        return None


def alert_of(partition_key: str, sort_key: str) -> AlertKey | None:
    """The alert that the item with these keys is; None when it is none."""
    kind, _, alert = partition_key.partition("#")
    return AlertKey(alert, sort_key) if kind == ALERT and alert else None
