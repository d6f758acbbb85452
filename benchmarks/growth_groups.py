"""Growth with the groups: what a metric of 10 to 1 000 000 groups writes, and where groups overflow.

    python -m benchmarks growth_groups

Each group has as many events as the others, of one window, in twenty batches through the real ingest: once with as many
buckets as an adopter would give the metric, and once with the one bucket and the 1 000 groups of a metric that says
nothing. It has a count and a sum. There are 200 000 events, or one a group.
"""

from collections.abc import Mapping, Sequence
from functools import partial as bind
from math import ceil
from time import process_time
from typing import Any

import orjson
from msgspec import Struct
from msgspec.structs import replace
from rich.progress import Progress

from benchmarks.capacity import CountingClient
from benchmarks.ingest_cpu import make_ingest
from benchmarks.memory_dynamodb import MemoryDynamoDB
from benchmarks.orders import ARRIVED_AT_MS, Order, aggregated, lambda_event
from benchmarks.page import Chart, Part, Table
from benchmarks.suite import Options
from chalicelib import definitions
from chalicelib.aggregates.metric import ITEM_BYTES_MAX, OVERFLOW, Metric
from chalicelib.aggregates.partial import decode_partial
from chalicelib.aggregates.windows import format_instant
from loadtest.report import charts

NAME = "growth_groups"
GROUPS_A_BUCKET = 1_000  # on average, of at most …
GROUP_LIMIT = 2_000  # … so many: groups are dealt by a digest, not evenly
CUSTOMERS = definitions.METRICS[1]
EVENTS_PER_RECORD = 500
TABLE = "highwater-bench-aggregates"
MILLION = 1e6
BATCHES = 20
POINTED = charts.Style.POINTED


class Settings(Struct, frozen=True):
    """Shapes: events, in all, at the least."""

    groups: tuple[int, ...] = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
    events: int = 200_000


QUICK = Settings((10, 3_000), 6_000)


def measure(options: Options, progress: Progress) -> list[dict[str, Any]]:
    """Returns: by groups, what a million events write with buckets for them and with the one that is there unasked."""
    rows = []
    for groups in options.settings.groups:
        buckets = ceil(groups / GROUPS_A_BUCKET)
        counting = {
            "dealt": _Counting(replace(CUSTOMERS, name="dealt", buckets=buckets, group_limit=GROUP_LIMIT)),
            "unasked": _Counting(
                Metric(name="unasked", event_type=CUSTOMERS.event_type, by=CUSTOMERS.by, measures=CUSTOMERS.measures)
            ),
        }
        events = max(groups, options.settings.events)
        for batch in progress.track(range(BATCHES), description=f"{groups:,} groups"):
            numbers = range(batch * events // BATCHES, (batch + 1) * events // BATCHES)
            event = lambda_event(
                aggregated([_order(number, groups) for number in numbers], EVENTS_PER_RECORD), 1 + numbers.start
            )
            for each in counting.values():
                each.count(event)
        counted = {name: each.figures(events, groups) for name, each in counting.items()}
        rows.append({"groups": groups, "buckets": buckets, "events": events, **counted})
    return rows


class _Counting:
    """An ingest with one metric."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._database = MemoryDynamoDB()
        self._client = CountingClient(self._database)
        self._ingest = make_ingest(self._client, metrics=[metric])
        self._last_units = 0
        self._cpu_s = 0.0

    def count(self, event: Mapping[str, Any]) -> None:
        """Have it count a batch."""
        before, started = self._client.write_units[TABLE], process_time()
        report = self._ingest(event, lambda: 10**9)
        self._cpu_s += process_time() - started
        if report.failed_sequence_number:
            raise RuntimeError(f"a batch failed: {dict(report.errors)}")
        self._last_units = self._client.write_units[TABLE] - before

    def figures(self, events: int, groups: int) -> dict[str, float]:
        """What it has written."""
        items = self._database.scan(TableName=TABLE)["Items"]
        partials = [item["groups"]["B"] for item in items if "groups" in item]
        stored = sum(len(decode_partial(self._metric, partial).keys() - {OVERFLOW}) for partial in partials)
        return {
            "write_units": self._client.write_units[TABLE] / events * MILLION,
            "units_of_last_batch": self._last_units,
            "partials": len(partials),
            "partial_bytes_max": max(map(len, partials)),
            "overflowed": groups - stored,
            "cpu_us": self._cpu_s / events * MILLION,
        }


def _order(number: int, groups: int) -> Order:
    """An order of each customer in turn."""
    user_id = f"customer-{number % groups:07d}"
    event = {
        "specversion": "1.0",
        "id": f"{number:08x}",
        "source": "/shop/checkout",
        "type": "order.placed",
        "time": format_instant(ARRIVED_AT_MS - 1),
        "data": {"order_id": f"order-{number}", "user_id": user_id, "amount": 9.99},
    }
    return Order(user_id, orjson.dumps(event))


def describe(figures: Sequence[Mapping[str, Any]]) -> Part:
    """What groups cost."""
    return Part(
        "Growth with the groups",
        TEXT,
        [
            Table(
                "for a million events of one window, in twenty batches, a count and a sum",
                [
                    "groups",
                    "buckets",
                    "write units",
                    "of the last batch",
                    "largest partial, KB",
                    "µs of CPU an event",
                    "overflowed with 1 bucket",
                ],
                [
                    [
                        f"{row['groups']:,}",
                        f"{row['buckets']:,}",
                        f"{row['dealt']['write_units']:,.0f}",
                        f"{row['dealt']['units_of_last_batch']:,}",
                        f"{row['dealt']['partial_bytes_max'] / 1024:,.1f}",
                        f"{row['dealt']['cpu_us']:.1f}",
                        f"{row['unasked']['overflowed']:,}",
                    ]
                    for row in figures
                ],
            )
        ],
        [Chart("growth_groups", "Write units for a million events by the number of groups", bind(_draw, figures))],
    )


def _draw(figures: Sequence[Mapping[str, Any]]) -> str:
    groups = [row["groups"] for row in figures]
    series = [
        charts.Series("with buckets for them", groups, [row["dealt"]["write_units"] for row in figures], POINTED),
        charts.Series("with one bucket", groups, [row["unasked"]["write_units"] for row in figures], POINTED),
    ]
    return charts.lines(
        "Growth with the groups",
        "Write units for a million events by the number of groups, with buckets for them and with one",
        series,
        x=charts.Axis("groups", charts.Scale.LOG),
        y=charts.Axis("write units for a million events", charts.Scale.LOG),
    )


TEXT = f"""\
A partial is written whole with each batch, so what groups cost is their bytes, once a batch: some 30 bytes a group of a
count and a sum. An item holds {ITEM_BYTES_MAX // 1000} KB; `buckets` deal groups to several items, here a thousand to
each. A metric that says nothing has one bucket and 1 000 groups: those beyond share one overflow group, and totals stay
exact. The more groups, the fewer events a batch has for each, down to one: at a million groups a batch of 50 000 events
writes again all that its window holds so far, and an event costs a third of what an item of its own would.
"""
