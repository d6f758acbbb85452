"""Bytewax counts orders from a file of JSON lines, one worker. Runs in Bytewax's own environment; see `apart`.

Two ways. `fold_final` over (minute, currency, order type) is the cheapest there is, and tells nothing before the input
ends; `fold_window` by event time is what its documentation has for counts by the minute of a stream that does not.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.operators import windowing
from bytewax.testing import TestingSink, run_main

MINUTE = timedelta(minutes=1)
ALIGN_TO = datetime(2026, 1, 1, tzinfo=UTC)
SEPARATOR = "|"  # a key is one text
Sums = list[Any]  # count, revenue


def nothing() -> Sums:
    """Where counting begins."""
    return [0, Decimal(0)]


def add(sums: Sums, event: dict[str, Any]) -> Sums:
    """Count one event."""
    sums[0] += 1
    sums[1] += Decimal(str(event["data"]["amount"]))
    return sums


def merge(one: Sums, other: Sums) -> Sums:
    """Count what was counted apart."""
    return [one[0] + other[0], one[1] + other[1]]


def by_minute_and_group(line: str) -> tuple[str, dict[str, Any]]:
    """Parse an event, with the key to count it under."""
    event = orjson.loads(line)
    data = event["data"]
    return SEPARATOR.join((event["time"][:16], data["currency"], data["order_type"])), event


def by_group(line: str) -> tuple[str, dict[str, Any]]:
    """Parse an event, with the key to count it under within its window."""
    event = orjson.loads(line)
    data = event["data"]
    return SEPARATOR.join((data["currency"], data["order_type"])), event


def time_of(event: dict[str, Any]) -> datetime:
    """When it was."""
    return datetime.fromisoformat(event["time"])


def fold_final(path: str) -> list[tuple[str, ...]]:
    """Totals at the end of the input."""
    out: list[Any] = []
    flow = Dataflow("orders")
    lines = op.input("lines", flow, FileSource(path))
    keyed = op.map("parse", lines, by_minute_and_group)
    folded = op.fold_final("count", keyed, nothing, add)
    op.output("out", folded, TestingSink(out))
    run_main(flow)
    return [(*key.split(SEPARATOR), count, str(revenue)) for key, (count, revenue) in out]


def fold_window(path: str) -> list[tuple[str, ...]]:
    """Totals of each window as it closes."""
    out: list[Any] = []
    flow = Dataflow("orders")
    lines = op.input("lines", flow, FileSource(path))
    keyed = op.map("parse", lines, by_group)
    clock = windowing.EventClock(time_of, wait_for_system_duration=MINUTE)
    windower = windowing.TumblingWindower(length=MINUTE, align_to=ALIGN_TO)
    folded = windowing.fold_window("count", keyed, clock, windower, nothing, add, merge)
    op.output("out", folded.down, TestingSink(out))
    run_main(flow)
    return [
        ((ALIGN_TO + number * MINUTE).strftime("%Y-%m-%dT%H:%M"), *key.split(SEPARATOR), count, str(revenue))
        for key, (number, (count, revenue)) in out
    ]


WAYS = {"fold_final": fold_final, "fold_window": fold_window}


def main() -> None:
    """Count whenever told to."""
    for line in sys.stdin:
        request = json.loads(line)
        rows = WAYS[request["way"]](request["path"])
        print(json.dumps({"rows": rows, "events": sum(row[3] for row in rows)}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
