"""`rollup`: changes of the aggregates table are carried into hours and days."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from chalicelib import telemetry
from chalicelib.aws.aggregates_stream import parse_stored_changes
from chalicelib.consumers.rollup import RollUp
from chalicelib.wiring.stage import CATALOG, WATCHED, now_ms, settings
from chalicelib.wiring.stores import aggregates_table


def answer(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Carry a batch of the aggregates table's changes into rollups; the answer is Lambda's partial batch response."""
    report = make()(parse_stored_changes(CATALOG, event), context.get_remaining_time_in_millis)
    telemetry.publish_rollup(report)
    return report.response


@cache
def make() -> RollUp:
    """What keeps the rollups."""
    table = aggregates_table()
    return RollUp(CATALOG, settings().lateness_ms, shares=table, rollups=table, clock_ms=now_ms, watched=WATCHED)
