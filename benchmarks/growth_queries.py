"""Growth with the range: what a query over 1 hour to 1 year reads, and what it answers.

    python -m benchmarks growth_queries

The real query on tables in memory, asked of `orders` by currency, written by four shards. The last day and a half is
there by minutes and writers, all before by settled hours and days: events may be a day late, so what is younger is read
by minutes. The time is that of the handler alone, without DynamoDB's.
"""

from collections.abc import Mapping, Sequence
from functools import partial as bind
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import orjson
from msgspec import Struct
from rich.progress import Progress

from benchmarks.capacity import CountingClient
from benchmarks.memory_dynamodb import MemoryDynamoDB
from benchmarks.page import Chart, Headline, Part, Table
from benchmarks.query_items import GROUPS
from benchmarks.suite import Options
from chalicelib import definitions
from chalicelib.access.grant import EVERYTHING
from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.partial import Partial, PartialKey
from chalicelib.aggregates.rollup import Rollup, WindowKey, pack_groups
from chalicelib.aggregates.windows import format_instant
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.consumers.ports import PartialPut, RollupPut
from chalicelib.query.endpoints import Query
from chalicelib.reading.ports import ROLLUPS, Settled
from chalicelib.records.shard import Shard
from loadtest.report import charts

NAME = "growth_queries"
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
NOW_MS = 1_795_478_400_000  # noon or midnight; a whole hour
WRITERS = 4
YEAR_DAYS = 365
TABLE = "aggregates"
METRIC = definitions.METRICS[0]
PUTS_AT_ONCE = 2_000
TIMEOUT_MS = 300_000


class Asked(NamedTuple):
    """A question, in days and steps of the answer."""

    name: str
    days: float
    step: str


ASKED = (
    Asked("1 hour", 1 / 24, "1m"),
    Asked("6 hours", 6 / 24, "1m"),
    Asked("1 day", 1, "1h"),
    Asked("7 days", 7, "1h"),
    Asked("30 days", 30, "1d"),
    Asked("90 days", 90, "1d"),
    Asked("1 year", YEAR_DAYS, "1d"),
)


class Settings(Struct, frozen=True):
    """How often each is asked."""

    rounds: int = 9


QUICK = Settings(1)


def measure(options: Options, progress: Progress) -> list[dict[str, Any]]:
    """Returns: by question, items and units that were read, rows and bytes that were answered, milliseconds."""
    client = CountingClient(MemoryDynamoDB())
    catalog = Catalog(definitions.EVENT_TYPES, definitions.METRICS)
    table = AggregatesTable(client, TABLE, catalog, DAY_MS)  # type: ignore[arg-type]
    _fill(table)
    query = Query(
        catalog,
        stage="bench",
        stream="highwater-bench-events",
        lateness_ms=DAY_MS,
        shares=table,
        progress=table,
        settled=table,
        shards=_Shards(),
        letters=_no_letters,
        clock_ms=lambda: NOW_MS,
    )
    rows = []
    for asked in progress.track(ASKED, description="asking"):
        parameters = {
            "start": [format_instant(_start_ms(asked))],
            "end": [format_instant(NOW_MS)],
            "step": [asked.step],
            "group_by": ["currency"],
            "limit": ["10000"],
        }
        times = []
        for _ in range(options.settings.rounds):
            before = client.requests.total()
            started = perf_counter()
            answer = query.windows(EVERYTHING, METRIC.name, parameters, None, lambda: TIMEOUT_MS)
            times.append((perf_counter() - started) * 1000)
        told = orjson.loads(answer.body)
        rows.append(
            {
                "range": asked.name,
                "step": asked.step,
                "windows": int(asked.days * DAY_MS) // MINUTE_MS,
                "requests": client.requests.total() - before,
                "items_read": told["statistics"]["items_read"],
                "read_units": told["statistics"]["read_units"],
                "rows": told["rows"],
                "bytes": len(answer.body),
                "ms": median(times),
            }
        )
    return rows


def _start_ms(asked: Asked) -> int:
    return NOW_MS - int(asked.days * DAY_MS)


def _fill(table: AggregatesTable) -> None:
    """Store a year: days and hours that are settled, and the minutes of each writer of what may still change."""
    settled_ms = NOW_MS - DAY_MS
    first_ms = NOW_MS - (YEAR_DAYS + 1) * DAY_MS
    first_ms -= first_ms % DAY_MS
    minutes = range(settled_ms - DAY_MS // 2, NOW_MS, MINUTE_MS)
    partials = [
        PartialPut(
            PartialKey(METRIC.name, 0, start_ms, f"highwater-bench-events/shardId-{writer:012d}"),
            None,
            Partial("0011", 1, GROUPS),
        )
        for start_ms in minutes
        for writer in range(WRITERS)
    ]
    rollup = Rollup(1, pack_groups(GROUPS))
    rollups = [
        RollupPut(WindowKey(METRIC.name, step_ms, 0, start_ms), None, rollup)
        for step_ms in (HOUR_MS, DAY_MS)
        for start_ms in range(first_ms, settled_ms - step_ms + 1, step_ms)
    ]
    for at in range(0, len(partials), PUTS_AT_ONCE):
        table.put_partials(partials[at : at + PUTS_AT_ONCE], TIMEOUT_MS)
    for at in range(0, len(rollups), PUTS_AT_ONCE):
        table.put_rollups(rollups[at : at + PUTS_AT_ONCE], TIMEOUT_MS)
    table.advance_settled(ROLLUPS, METRIC.layout, None, Settled(first_ms, settled_ms, NOW_MS), TIMEOUT_MS)


class _Shards:
    """The shards that have written."""

    def list_shards(self, timeout_ms: int) -> list[Shard]:  # noqa: ARG002
        return [Shard(f"shardId-{number:012d}", is_open=True) for number in range(WRITERS)]


def _no_letters() -> Any:
    raise NotImplementedError


def describe(figures: Sequence[Mapping[str, Any]]) -> Part:
    """What ranges cost."""
    year = figures[-1]
    return Part(
        "Growth with the range of a query",
        TEXT,
        [
            Table(
                "a query of orders by currency, four writers",
                ["range", "step", "minutes in it", "items read", "read units", "requests", "rows", "KB", "ms"],
                [
                    [
                        row["range"],
                        row["step"],
                        f"{row['windows']:,}",
                        f"{row['items_read']:,}",
                        f"{row['read_units']:,.0f}",
                        f"{row['requests']:,}",
                        f"{row['rows']:,}",
                        f"{row['bytes'] / 1024:,.0f}",
                        f"{row['ms']:,.0f}",
                    ]
                    for row in figures
                ],
            )
        ],
        [Chart("growth_queries", "Items read by a query, by its range", bind(_draw, figures))],
        headlines=[
            Headline(
                "items and read units of a query over a year by days, four writers",
                f"{year['items_read']:,}; {year['read_units']:,.0f}",
            )
        ],
    )


def _draw(figures: Sequence[Mapping[str, Any]]) -> str:
    return charts.bars(
        "Growth with the range of a query",
        "Items read by a query, beside the minutes that four writers have written in its range",
        [row["range"] for row in figures],
        [
            charts.Bars("items read", [row["items_read"] for row in figures]),
            charts.Bars("minutes × writers", [row["windows"] * WRITERS for row in figures]),
        ],
        value=charts.Axis("items", charts.Scale.LOG),
    )


TEXT = """\
Settled hours and days stand for their minutes, whoever wrote them: what a longer range adds is one small item a day.
What is younger than the lateness, here the last day, is read by minutes and writers, and is nearly all that a long
range reads. A metric whose producers are never so late says so (`lateness="1h"`), and saves nearly all of it.
"""
