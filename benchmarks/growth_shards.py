"""Growth with the stream: what a million events cost on 1 to 1 000 shards, each with the same load and its own writer.

    python -m benchmarks growth_shards

A minute of the deployed mappings on a simulated stage, with the metrics that are shipped. Each metric has as much
`spread` as keeps each of its partition keys below the 1 000 write units a second that DynamoDB takes, and the table as
many partitions, so its stream as many shards, as its writes need. An hour grows: rollups, which read all of it so far,
are carried out again over an hour of thirty minutes, the average, and what that reads stands for what they read.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial as bind
from math import ceil
from time import process_time
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from rich.progress import Progress

from benchmarks.costs import OF_ORDERS
from benchmarks.page import Bar, Chart, Headline, Part, Table
from benchmarks.priced import MILLION, measure_request_cpu, price
from benchmarks.simulated_stage import (
    AGGREGATES,
    FUNCTIONS,
    PARTITION_WRITE_UNITS,
    STARTED_MS,
    Load,
    SimulatedStage,
    Spending,
    partitions_needed,
)
from benchmarks.suite import Options
from chalicelib.aggregates.metric import Metric
from chalicelib.aws.aggregates_keys import share_sort_key, window_sort_key
from loadtest.report import charts

NAME = "growth_shards"
MINUTE_MS = 60_000
MINUTES_BEFORE = 29  # of the hour, so that it has thirty: what a rollup reads on average
WITHIN = 0.10


class Settings(Struct, frozen=True):
    """Shapes: events, of a shard each second."""

    shards: tuple[int, ...] = (1, 10, 100, 1_000)
    events: tuple[int, ...] = (100, 2_000)
    seconds: int = 60


QUICK = Settings((1, 4), (20,), 5)


def measure(options: Options, progress: Progress) -> dict[str, Any]:
    """Returns: by load and shards, what a million events take, with the spread and the partitions that they need."""
    settings: Settings = options.settings
    request_cpu_s = measure_request_cpu()
    loads = []
    for events in settings.events:
        one = SimulatedStage(OF_ORDERS, Load(1, events=events, seconds=settings.seconds)).run()
        rows = []
        for shards in settings.shards:
            task = progress.add_task(f"{events:,} events/s on each of {shards:,} shards", total=settings.seconds)
            load = Load(shards, events=events, seconds=settings.seconds)
            rows.append(_row(one, load, request_cpu_s, bind(progress.advance, task)))
        loads.append({"events_a_second": events, "rows": rows})
    return {"request_cpu_us": request_cpu_s * 1e6, "loads": loads}


def _row(one: Spending, load: Load, request_cpu_s: float, tell: Callable[[], None]) -> dict[str, Any]:
    """What a million events take of a load. Shapes: one is what the same load takes on one shard."""
    metrics = [replace(metric, spread=_spread(metric, one, load.shards)) for metric in OF_ORDERS]
    partitions = partitions_needed(one.tables[AGGREGATES] / load.seconds * load.shards)
    stage = SimulatedStage(metrics, load, partitions=partitions)
    spending = stage.run(tell)
    _roll_up_mid_hour(stage, spending)
    return {
        "shards": load.shards,
        "partitions": partitions,
        "spread": {metric.name: metric.spread for metric in metrics},
        "events": spending.events,
        "functions": msgspec.to_builtins(spending.functions),
        **msgspec.to_builtins(price(spending, request_cpu_s)),
    }


def _spread(metric: Metric, one: Spending, shards: int) -> int:
    """As much as keeps the metric's busiest partition key below what DynamoDB takes."""
    of_a_shard = max(units for key, units in one.partition_writes.items() if key.startswith(f"{metric.name}#"))
    return ceil(of_a_shard * shards / PARTITION_WRITE_UNITS)


def _roll_up_mid_hour(stage: SimulatedStage, spending: Spending) -> None:
    """Carry out the rollups' batches again on an hour of thirty minutes, and count that as what they read."""
    names = {metric.name for metric in OF_ORDERS if metric.published}  # of the others no open hour is read
    for item in stage.database.scan(TableName=AGGREGATES)["Items"]:
        name, _, rest = item["pk"]["S"].partition("#")
        start, _, writer = item["sk"]["S"].partition("#")
        is_of_the_minute = start == window_sort_key(STARTED_MS) and rest.startswith("1m")
        for minute in range(1, MINUTES_BEFORE + 1) if name in names and is_of_the_minute else ():
            sort_key = share_sort_key(STARTED_MS - minute * MINUTE_MS, writer)
            stage.database.keep(AGGREGATES, {**item, "sk": {"S": sort_key}})
    client, roll_up = stage.client("rollup mid-hour"), stage.make_rollup("rollup mid-hour")
    started = process_time()
    for batch in spending.changes:
        roll_up(batch, lambda: 10**9)
    of_rollup = spending.functions["rollup"]
    of_rollup.cpu_s = process_time() - started
    of_rollup.read_units = sum(client.read_units.values())
    of_rollup.requests = max(of_rollup.requests, client.requests.total())


def describe(figures: Mapping[str, Any]) -> Part:
    """What growing costs."""
    loads = figures["loads"]
    busiest = loads[-1]
    rows = busiest["rows"]
    totals = [row["total"] for row in rows]
    spread = max(_spread_of(load["rows"]) for load in loads)
    per_load = [
        f"at {load['events_a_second']:,} events/s a shard {_changes(load['rows'])} on {_counts(load['rows'][1:])}"
        for load in loads
    ]
    chart = Chart(
        "growth_shards",
        "US dollars for a million events by the number of shards, for each load",
        bind(_draw, loads),
    )
    measured = "; ".join(per_load) + " shards, beside 1"
    return Part(
        "Growth with the stream",
        TEXT,
        [table for load in loads for table in _tables(load)],
        [chart],
        bars=[
            Bar(
                f"a million events, from 1 to {rows[-1]['shards']:,} shards",
                "within 10 %, at every load",
                measured,
                spread <= WITHIN,
                (GROWS if totals[-1] > totals[0] else SHRINKS).replace("\n", " "),
            ),
        ],
        headlines=[
            Headline(
                f"US dollars for a million events, {busiest['events_a_second']:,}/s on each of {_counts(rows)} shards",
                ", ".join(f"{total:.3f}" for total in totals),
            )
        ],
    )


def _spread_of(rows: Sequence[Mapping[str, Any]]) -> float:
    """How much dearer the dearest number of shards is than the cheapest."""
    totals = [row["total"] for row in rows]
    return float(max(totals) / min(totals) - 1)


def _counts(rows: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{row['shards']:,}" for row in rows)


def _changes(rows: Sequence[Mapping[str, Any]]) -> str:
    """How much dearer than the first the others are, in per cent."""
    return ", ".join(f"{row['total'] / rows[0]['total'] - 1:+.1%}" for row in rows[1:])


def _tables(load: Mapping[str, Any]) -> list[Table]:
    rows = load["rows"]
    headings = ["shards", "partitions", "spread", "requests", "write units", "read units", "US dollars", "÷ the first"]
    units = Table(
        f"for a million events, {load['events_a_second']:,} a second on each shard, a batch a second",
        headings,
        [
            [
                f"{row['shards']:,}",
                f"{row['partitions']:,}",
                " ".join(str(spread) for spread in row["spread"].values()),
                f"{row['requests']:,.0f}",
                f"{row['write_units']:,.0f}",
                f"{row['read_units']:,.0f}",
                f"{row['total']:.4f}",
                f"{row['total'] / rows[0]['total']:.2f}",
            ]
            for row in rows
        ],
    )
    parts = Table(
        "the same: read units by function, and US dollars by service",
        ["shards", *(f"`{name}`" for name in FUNCTIONS), *rows[-1]["dollars"]],
        [
            [
                f"{row['shards']:,}",
                *(f"{_of_a_million(row, name):,.0f}" for name in FUNCTIONS),
                *(f"{cost:.4f}" for cost in row["dollars"].values()),
            ]
            for row in rows
        ],
    )
    return [units, parts]


def _of_a_million(row: Mapping[str, Any], name: str) -> float:
    return float(row["functions"][name]["read_units"] / row["events"] * MILLION)


def _draw(loads: Sequence[Mapping[str, Any]]) -> str:
    return charts.lines(
        "Growth with the stream",
        "US dollars for a million events by the number of shards",
        [
            charts.Series(
                f"{load['events_a_second']:,} events/s a shard",
                [row["shards"] for row in load["rows"]],
                [row["total"] for row in load["rows"]],
                charts.Style.POINTED,
            )
            for load in loads
        ],
        x=charts.Axis("shards", charts.Scale.LOG),
        y=charts.Axis("US dollars for a million events", least=0),
    )


SHRINKS = """\
It does not grow; one shard alone is dearer, for what runs each second whether there is much to do or little is shared
by nobody: fan-out's invocation for the windows that are published, with a line of log and a message."""
GROWS = "What grows is in the table of read units by function and of dollars by service."
TEXT = """\
Every shard has the same load, its own writer, and so its own partials and its own share of every window. What grows
with the events stays the same for a million of them: puts of partials, the id log, Kinesis. What runs once a second or
once a minute however many shards there are is shared by more of them: so one shard alone is the dearest, and the more
so the less load it has. The filter of its mapping spares fan-out the changes that nobody is told of. Ten
shards are ingested; each stands for others, whose partials are put besides, and rollup, fan-out and tick read all of
them. The minute is one of many: what comes once, at a stage's first events, is not counted, and of what settling an
hour takes, beyond reading each of its minutes once, a sixtieth is.
"""
