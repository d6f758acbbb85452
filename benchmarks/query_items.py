"""What a query reads: 24 hours of minute windows, written by several shards, beside windows x writers.

    python -m benchmarks query_items

Runs the real query against an emulated DynamoDB, and a bare DynamoDB Query of the same items in the same run.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import orjson
from msgspec import Struct
from rich.progress import Progress

from benchmarks.orders import ARRIVED_AT_MS
from benchmarks.page import Headline, Part, Table
from benchmarks.suite import Options
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

NAME = "query_items"
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


class Settings(Struct, frozen=True):
    """How many shards have written, and how often is asked."""

    writers: tuple[int, ...] = (1, 4)
    rounds: int = 9


QUICK = Settings((1,), 1)


def measure(options: Options, progress: Progress) -> list[dict[str, Any]]:
    """Returns: by writers, items read, rows answered, and the time beside a bare Query's."""
    settings: Settings = options.settings
    return [_measure(writers, settings.rounds) for writers in progress.track(settings.writers, description="writers")]


def _measure(writers: int, rounds: int) -> dict[str, Any]:
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
    return {
        "writers": writers,
        "windows_times_writers": WINDOWS * writers,
        "items_read": answer["statistics"]["items_read"],
        "rows": answer["rows"],
        "ratio": ratio,
    }


def describe(figures: Sequence[Mapping[str, Any]]) -> Part:
    """What a query reads."""
    rows = [
        [
            f"{each['writers']}",
            f"{each['windows_times_writers']:,}",
            f"{each['items_read']:,}",
            f"{each['rows']:,}",
            f"{each['ratio']:.2f} ×",
        ]
        for each in figures
    ]
    headings = ["writers", "windows × writers", "items read", "rows", "time beside a bare Query"]
    read = ", ".join(f"{each['items_read']:,} of {each['writers']}" for each in figures)
    return Part(
        "What a query reads",
        "A day of minutes on an emulated DynamoDB: nothing is read twice and nothing is left out, so items read are "
        "windows × writers. Beside it, a bare Query of the same items, which neither decodes nor merges them.",
        [Table("24 h by minute, one group-by", headings, rows)],
        headlines=[Headline("items read by a query over 24 h of minutes, by writers", read)],
    )
