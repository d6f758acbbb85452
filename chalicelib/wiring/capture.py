"""`capture`: changes of the orders table become events."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from chalicelib import definitions, telemetry
from chalicelib.consumers.capture import Capture
from chalicelib.wiring.stage import pause, settings
from chalicelib.wiring.stores import dead_letters_bucket, events_stream


def answer(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Put one batch of the orders table's changes on the events stream; the answer is Lambda's partial batch response.

    What each change becomes there, and what comes twice when, docs/guarantees.md says.
    """
    report = make()(event, context.get_remaining_time_in_millis)
    telemetry.publish_capture(report)
    return report.response


@cache
def make() -> Capture:
    """What captures."""
    return Capture(
        settings().orders_table, definitions.ORDERS_TABLE_CHANGES, events_stream(), dead_letters_bucket(), pause
    )
