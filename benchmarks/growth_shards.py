"""Growth with the stream: what a million events cost on 1 to 1 000 shards, each with the same load and its own writer.

    python -m benchmarks growth_shards

Half a minute of the deployed mappings on a simulated stage, with the metrics that are shipped. Each metric has as much
`spread` as keeps each of its partition keys below the 1 000 write units a second that DynamoDB takes, and the table as
many partitions, so its stream as many shards, as its writes need. An hour grows: rollups, which read all of it so far,
are carried out again over an hour of thirty minutes, the average, and what that reads stands for what they read.
"""

from math import ceil
from time import process_time
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from rich.progress import Progress

from benchmarks.costs import OF_ORDERS
from benchmarks.priced import measure_request_cpu, price
from benchmarks.simulated_stage import (
    AGGREGATES,
    PARTITION_WRITE_UNITS,
    STARTED_MS,
    Load,
    SimulatedStage,
    Spending,
    partitions_needed,
)
from benchmarks.suite import Options
from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.rollup import WindowKey
from chalicelib.aws.aggregates_keys import share_sort_key, window_sort_key

NAME = "growth_shards"
MINUTE_MS = 60_000
MINUTES_BEFORE = 29  # of the hour, so that it has thirty: what a rollup reads on average
WITHIN = 0.10
FUNCTIONS = ("ingest", "fan_out", "rollup", "tick")


class Settings(Struct, frozen=True):
    """Shapes: events, of a shard each second."""

    shards: tuple[int, ...] = (1, 10, 100, 1_000)
    events: int = 100
    seconds: int = 30


QUICK = Settings((1, 4), 20, 5)


def measure(options: Options, progress: Progress) -> dict[str, Any]:
    """Returns: rows, by shards, what a million events take, with the spread and the partitions that they need."""
    settings = options.settings
    request_cpu_s = measure_request_cpu()
    rows: list[dict[str, Any]] = []
    one = SimulatedStage(OF_ORDERS, Load(1, settings.events, seconds=settings.seconds)).run()
    for shards in settings.shards:
        metrics = [replace(metric, spread=_spread(metric, one, shards)) for metric in OF_ORDERS]
        partitions = partitions_needed(one.tables[AGGREGATES] / settings.seconds * shards)
        stage = SimulatedStage(metrics, Load(shards, settings.events, seconds=settings.seconds), partitions=partitions)
        task = progress.add_task(f"{shards:,} shards", total=settings.seconds)
        spending = stage.run(lambda task=task: progress.advance(task))  # type: ignore[misc]
        _roll_up_mid_hour(stage, spending)
        rows.append(
            {
                "shards": shards,
                "partitions": partitions,
                "spread": {metric.name: metric.spread for metric in metrics},
                "functions": msgspec.to_builtins(spending.functions),
                **msgspec.to_builtins(price(spending, request_cpu_s)),
            }
        )
    return {"request_cpu_us": request_cpu_s * 1e6, "events_a_second": settings.events, "rows": rows}


def _spread(metric: Metric, one: Spending, shards: int) -> int:
    """As much as keeps the metric's busiest partition key below what DynamoDB takes."""
    of_a_shard = max(units for key, units in one.partition_writes.items() if key.startswith(f"{metric.name}#"))
    return ceil(of_a_shard * shards / PARTITION_WRITE_UNITS)


def _roll_up_mid_hour(stage: SimulatedStage, spending: Spending) -> None:
    """Carry out the rollups' batches again on an hour of thirty minutes, and count that as what they read."""
    names = {change.key.metric for batch in spending.changes for change in batch if isinstance(change.key, WindowKey)}
    stage.database.tell = lambda _table, _item: None
    for item in stage.database.scan(TableName=AGGREGATES)["Items"]:
        name, _, rest = item["pk"]["S"].partition("#")
        start, _, writer = item["sk"]["S"].partition("#")
        is_of_the_minute = start == window_sort_key(STARTED_MS) and rest.startswith("1m")
        for minute in range(1, MINUTES_BEFORE + 1) if name in names and is_of_the_minute else ():
            sort_key = share_sort_key(STARTED_MS - minute * MINUTE_MS, writer)
            stage.database.put_item(TableName=AGGREGATES, Item={**item, "sk": {"S": sort_key}})
    client, roll_up = stage.client("rollup mid-hour"), stage.make_rollup("rollup mid-hour")
    started = process_time()
    for batch in spending.changes:
        roll_up(batch, lambda: 10**9)
    of_rollup = spending.functions["rollup"]
    of_rollup.cpu_s = process_time() - started
    of_rollup.read_units = client.read_units.total()
    of_rollup.requests = max(of_rollup.requests, client.requests.total())
