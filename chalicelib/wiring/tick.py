"""`tick`: once a minute every open shard gets a record, and windows that are over for good are seen to."""

from functools import cache
from typing import Any

from chalicelib import telemetry
from chalicelib.consumers.final_results import FinalResults
from chalicelib.consumers.settle import Duty, Settle, SettleAll
from chalicelib.consumers.tick import Tick
from chalicelib.wiring import rollup
from chalicelib.wiring.alerts import alert_watch
from chalicelib.wiring.results import publisher
from chalicelib.wiring.stage import CATALOG, now_ms, settings
from chalicelib.wiring.stores import aggregates_table, events_stream


def answer(context: Any) -> dict[str, Any]:
    """Put a tick on every open shard, and settle what can be; the answer is for who invokes the function by hand."""
    report = Tick(events_stream())(now_ms(), context.get_remaining_time_in_millis)
    telemetry.publish_tick(report)
    telemetry.publish_settled(make()(context.get_remaining_time_in_millis))
    return {"shards": report.shards, "failed": report.failed}


@cache
def make() -> SettleAll:
    """What sees to windows that are over."""
    table, metrics, roll_up = aggregates_table(), CATALOG.metrics.values(), rollup.make()
    final_results = FinalResults(roll_up, table, table, publisher("final_results"), telemetry.publish_results)
    duties: list[Duty] = [alert_watch(), roll_up, final_results]  # the most urgent first
    settles = {duty.purpose: Settle(metrics, duty, table) for duty in duties}
    return SettleAll(settings().events_stream, events_stream(), table, settles)
