"""Requests, write units, read units and dollars for a million events, the whole stage's share, from counted units.

    python -m benchmarks costs

A minute of one shard on a simulated stage, at several sizes of a batch: with one metric of the shop's five measures (a
count, a sum, the least, the largest, a mean) and 1, 10 and 1 000 groups, and with all metrics that are shipped. Beside
it, what one item an event takes, and Powertools Idempotency with its two writes an event, both of DynamoDB alone.
"""

from collections.abc import Mapping, Sequence
from functools import partial as bind
from itertools import product
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from rich.progress import Progress

from benchmarks.page import Bar, Chart, Headline, Part, Table
from benchmarks.priced import MILLION, measure_request_cpu, price
from benchmarks.simulated_stage import Load, SimulatedStage
from benchmarks.suite import Options
from chalicelib import definitions
from loadtest.report import charts
from ops.cost.prices import dollars, read_prices

NAME = "costs"
ONE_METRIC = replace(definitions.METRICS[0], name="bought", by=("user_id",))
OF_ORDERS = tuple(metric for metric in definitions.METRICS if metric.event_type == "order.placed")
SHIPPED = "shipped"
EVENTS_A_SECOND_MAX = 4_000  # of 250 bytes on a shard, which takes 1 MB
IDEMPOTENCY_WRITES = 2  # an event: in progress, completed
TIMES_FEWER = 100  # write units than with these


class Settings(Struct, frozen=True):
    """How many events a batch, and how many groups."""

    events_per_batch: tuple[int, ...] = (100, 1_000, 10_000)
    groups: tuple[int, ...] = (1, 10, 1_000)


QUICK = Settings((100, 1_000), (1, 10))


def measure(options: Options, progress: Progress) -> dict[str, Any]:
    """Returns: rows, by events of a batch and groups, what a million events take; beside, what they do otherwise."""
    settings = options.settings
    request_cpu_s = measure_request_cpu()
    rows = []
    asked = list(product([*settings.groups, SHIPPED], settings.events_per_batch))
    for groups, events in progress.track(asked, description="minutes"):
        load = Load(
            events=events,
            batch_seconds=-(-events // EVENTS_A_SECOND_MAX),
            customers=1_000 if groups == SHIPPED else groups,
        )
        spending = SimulatedStage(OF_ORDERS if groups == SHIPPED else [ONE_METRIC], load).run()
        cost = msgspec.to_builtins(price(spending, request_cpu_s))
        rows.append({"groups": groups, "events_per_batch": events, **cost})
    return {"request_cpu_us": request_cpu_s * 1e6, "rows": rows, "beside": _beside()}


def _beside() -> dict[str, dict[str, float]]:
    """What DynamoDB alone takes for a million events otherwise: each request one unit."""
    ways = {"one item an event": 1, "Powertools Idempotency": IDEMPOTENCY_WRITES}
    return {name: _writes(writes * MILLION) for name, writes in ways.items()}


def _writes(units: float) -> dict[str, float]:
    (usd,) = dollars({"dynamodb.write_units": units}, read_prices()).values()
    return {"requests": units, "write_units": units, "dollars": float(usd)}


def describe(figures: Mapping[str, Any]) -> Part:
    """What a million events cost."""
    rows = figures["rows"]
    idempotency = figures["beside"]["Powertools Idempotency"]
    units = Table(
        "for a million events: requests and units of DynamoDB",
        [
            "metrics",
            "events a batch",
            "requests",
            "write units",
            "… of the id log",
            "read units",
            "writes: times fewer",
        ],
        [
            [
                _metrics(row),
                f"{row['events_per_batch']:,}",
                f"{row['requests']:,.0f}",
                f"{row['write_units']:,.0f}",
                f"{row['writes']['id log']:,.0f}",
                f"{row['read_units']:,.0f}",
                f"{idempotency['write_units'] / row['write_units']:,.0f}",
            ]
            for row in rows
        ]
        + [
            [name, "", f"{each['requests']:,.0f}", f"{each['write_units']:,.0f}", "", "", ""]
            for name, each in figures["beside"].items()
        ],
    )
    services = ["kinesis", "lambda", "dynamodb", "sns", "s3", "cloudwatch"]
    prices = Table(
        "for a million events: US dollars",
        ["metrics", "events a batch", *services, "all"],
        [
            [
                _metrics(row),
                f"{row['events_per_batch']:,}",
                *(f"{row['dollars'][service]:.4f}" for service in services),
                f"{row['total']:.4f}",
            ]
            for row in rows
        ]
        + [[name, "", "", "", f"{each['dollars']:.4f}", "", "", "", ""] for name, each in figures["beside"].items()],
    )
    largest = [row for row in rows if row["groups"] == SHIPPED][-1]
    fewer = idempotency["write_units"] / largest["write_units"]
    at = f"{largest['events_per_batch']:,} events a batch, all shipped metrics"
    return Part(
        "What a million events cost",
        TEXT.format(request_cpu_us=figures["request_cpu_us"]),
        [units, prices],
        [Chart("costs", "US dollars for a million events, by metrics and events a batch", bind(_draw, rows))],
        bars=[
            Bar(
                f"write units, beside Powertools BatchProcessor + Idempotency ({at}; all that is put)",
                f"≥ {TIMES_FEWER} × fewer",
                f"{fewer:,.0f} × fewer",
                fewer >= TIMES_FEWER,
                "The id log takes twelve bytes an event, so that alone bounds it by 170 ×.",
            )
        ],
        headlines=[
            Headline(
                f"a million events at {at}: write units, DynamoDB and all of the stage's share, US dollars",
                f"{largest['write_units']:,.0f}; {largest['dollars']['dynamodb']:.3f}; {largest['total']:.3f}",
            )
        ],
    )


def _draw(rows: Sequence[Mapping[str, Any]]) -> str:
    sizes = sorted({row["events_per_batch"] for row in rows})
    names = list(dict.fromkeys(_metrics(row) for row in rows))
    cost = {(_metrics(row), row["events_per_batch"]): row["total"] for row in rows}
    return charts.bars(
        "What a million events cost",
        "US dollars for a million events, by metrics and events a batch",
        names,
        [charts.Bars(f"{size:,} a batch", [cost.get((name, size)) for name in names]) for size in sizes],
        value=charts.Axis("US dollars for a million events"),
        number=lambda usd: f"{usd:.3f}",
    )


def _metrics(row: Mapping[str, Any]) -> str:
    if row["groups"] == SHIPPED:
        return "all that are shipped"
    return "one, 1 group" if row["groups"] == 1 else f"one, {row['groups']:,} groups"


TEXT = """\
A minute of one shard on a simulated stage: the real `ingest`, `fan_out`, `rollup` and `tick` on tables in memory, each
request counted, each item's size as DynamoDB counts it, times the prices of `ops/cost/prices.toml`. Larger batches are
cheaper because a partial is written whole, once a batch; the id log takes twelve bytes an event whatever the batch.
Lambda's time is the CPU measured here, on 1 024 / 1 769 of a processor, and 5 ms for each round trip that is waited
for; a request to DynamoDB takes {request_cpu_us:.0f} µs of CPU with boto3. Of Kinesis a shard's hours are in it as well
as its put payload units, so small batches bear them, too; of S3, one record in 10 000 is a dead letter. Storage, the
API, traces and alarms depend on time rather than on events; `python -m ops.cost` has them all. *Times fewer* is against
the two writes that Powertools Idempotency makes of each event.
"""
