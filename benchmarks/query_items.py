"""What a query reads: 24 hours of minute windows, written by several shards, beside windows x writers.

    python -m benchmarks.query_items

Runs the real query against an emulated DynamoDB, and a bare DynamoDB Query of the same items in the same run.
"""

import argparse
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from benchmarks.orders import ARRIVED_AT_MS
from chalicelib import definitions
from chalicelib.access.grant import EVERYTHING
from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.partial import Groups, Partial, PartialKey
from chalicelib.aggregates.windows import format_instant
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.aws.dead_letters_reader import DeadLettersReader
from chalicelib.aws.events_stream import EventsStream
from chalicelib.consumers.ports import PartialPut
from chalicelib.http import HttpAnswer
from chalicelib.query.endpoints import Query
from localstage import aws
from localstage.emulator import Emulator
from ops.resources import ensure

STAGE = "bench"
MINUTE_MS, DAY_MS = 60_000, 86_400_000
START_MS = ARRIVED_AT_MS - ARRIVED_AT_MS % DAY_MS - DAY_MS
WINDOWS = DAY_MS // MINUTE_MS
GROUPS: Groups = {
    (currency, kind): (3, Decimal("99.90"), Decimal("9.90"), Decimal(50))
    for currency in ("EUR", "USD")
    for kind in ("gift", "standard")
}
PARAMETERS = {
    "start": [format_instant(START_MS)],
    "end": [format_instant(START_MS + DAY_MS)],
    "group_by": ["currency"],
    "limit": ["10000"],
}


def fill(table: AggregatesTable, writers: int) -> None:
    """Store a day of minute windows of `orders`, a partial for each writer."""
    puts = [
        PartialPut(
            PartialKey("orders", 0, START_MS + window * MINUTE_MS, f"highwater-bench-events/shardId-{writer:012d}"),
            None,
            Partial("0011", 1, GROUPS),
        )
        for window in range(WINDOWS)
        for writer in range(writers)
    ]
    table.put_partials(puts, timeout_ms=300_000)


def bare_query(client: Any) -> int:
    """Read the same items with nothing but DynamoDB's Query."""
    pages = client.get_paginator("query").paginate(
        TableName=f"highwater-{STAGE}-aggregates",
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues={":pk": {"S": "orders#1m#0"}},
        ConsistentRead=True,
    )
    return sum(page["Count"] for page in pages)


def seconds(work: Callable[[], object], rounds: int) -> float:
    """The median time of the work."""
    times = []
    for _ in range(rounds):
        started = perf_counter()
        work()
        times.append(perf_counter() - started)
    return median(times)


def make_query(catalog: Catalog, table: AggregatesTable, endpoint_url: str) -> Query:
    """The real query on this table."""
    stream = f"highwater-{STAGE}-events"
    return Query(
        catalog,
        stage=STAGE,
        stream=stream,
        lateness_ms=DAY_MS,
        shares=table,
        progress=table,
        settled=table,
        shards=EventsStream(aws.client("kinesis", endpoint_url), stream),
        letters=lambda: DeadLettersReader(aws.client("s3", endpoint_url), f"highwater-{STAGE}-dead-letters"),
        clock_ms=lambda: ARRIVED_AT_MS,
    )


def measure(writers: int, rounds: int) -> tuple[int, int, float]:
    """Returns: items read, rows answered, and the time beside a bare Query."""
    with tempfile.TemporaryDirectory() as scratch, Emulator(0, Path(scratch) / "aws.log") as emulator:
        ensure(STAGE, endpoint_url=emulator.endpoint_url, session=aws.session(), shards=1)
        client = aws.client("dynamodb", emulator.endpoint_url)
        catalog = Catalog(definitions.EVENT_TYPES, definitions.METRICS)
        table = AggregatesTable(client, f"highwater-{STAGE}-aggregates", catalog, DAY_MS)
        fill(table, writers)
        query = make_query(catalog, table, emulator.endpoint_url)

        def ask() -> HttpAnswer:
            return query.windows(EVERYTHING, "orders", PARAMETERS, None, lambda: 60_000)

        answer = orjson.loads(ask().body)
        ratio = seconds(ask, rounds) / seconds(lambda: bare_query(client), rounds)
    return answer["statistics"]["items_read"], answer["rows"], ratio


def main() -> None:
    arguments = argparse.ArgumentParser(description="items that a query over a day of minutes reads")
    arguments.add_argument("--writers", type=int, nargs="*", default=[1, 4])
    arguments.add_argument("--rounds", type=int, default=9)
    options = arguments.parse_args()
    title = "24 h by minute, one group-by"
    printed = Table("writers", "windows x writers", "items read", "rows", "time beside a bare Query", title=title)
    for writers in options.writers:
        items_read, rows, ratio = measure(writers, options.rounds)
        printed.add_row(f"{writers}", f"{WINDOWS * writers:,}", f"{items_read:,}", f"{rows:,}", f"{ratio:.2f} x")
    Console().print(printed)


if __name__ == "__main__":
    main()
