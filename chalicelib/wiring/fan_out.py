"""`fan_out`: windows that changed are told to the subscribers of results."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from chalicelib import telemetry
from chalicelib.aws.aggregates_stream import parse_stored_changes
from chalicelib.consumers.fan_out import FanOut
from chalicelib.wiring.alerts import alert_watch, alerts_table
from chalicelib.wiring.results import publisher
from chalicelib.wiring.stage import CATALOG, WATCHED, now_ms, settings
from chalicelib.wiring.stores import aggregates_table, events_stream


def answer(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Publish the windows that a batch of stored changes touched; the answer is Lambda's partial batch response."""
    report = make()(parse_stored_changes(CATALOG, event), context.get_remaining_time_in_millis)
    telemetry.publish_fan_out(report)
    return report.response


@cache
def make() -> FanOut:
    """What tells them."""
    return FanOut(
        CATALOG,
        stage_lateness_ms=settings().lateness_ms,
        stream=settings().events_stream,
        shares=aggregates_table(),
        shards=events_stream(),
        progress=aggregates_table(),
        publish=publisher("fan_out"),
        clock_ms=now_ms,
        watch=alert_watch(),
        watched=WATCHED,
        alerts=alerts_table(),
    )
