"""What every function has: the stage's settings, its definitions, the clock."""

from functools import cache
from time import sleep, time

from chalicelib import definitions
from chalicelib.aggregates.metric import Catalog
from chalicelib.alerts import check_alerts
from chalicelib.effects import check_handlers
from chalicelib.settings import Settings, read_settings

# Made at import: a mistake in the definitions stops a deployment, or the local stage, before the first event.
CATALOG = Catalog(definitions.EVENT_TYPES, definitions.METRICS)
ALERTS = check_alerts(definitions.ALERTS, CATALOG)
WATCHED = frozenset(alert.metric for alert in ALERTS)  # the metrics that have alerts
CATALOG.check_change(definitions.ORDERS_TABLE_CHANGES)
HANDLERS = check_handlers(definitions.HANDLERS, CATALOG.event_types)


@cache
def settings() -> Settings:
    """This stage's settings."""
    return read_settings()


def remember_ms() -> int:
    """As long as the stream can bring an event again, from its retention or by a producer's repeat."""
    return settings().events_retention_ms + settings().dedup_horizon_ms


def stream_arn_placeholder(table: str) -> str:
    """What `app.py` says in place of the ARN of a table's stream.

    Why: nobody knows the ARN before the table is made. In the template `.chalice/resources.yaml` says it; a local stage
    reads the table's name in it.
    """
    return f"arn:aws:dynamodb:::table/{table}/stream/*"


def pause(pause_ms: int) -> None:
    """Wait."""
    sleep(pause_ms / 1000)


def now_ms() -> int:
    """The clock, epoch milliseconds."""
    return int(time() * 1000)
