"""Memory: the most that each function's process has had after the largest of what it is given, beside the template's.

    python -m benchmarks memory

The packaged functions as processes on an emulated AWS. `ingest` has as large an event as Lambda gives it (6 MB), plain
and zstd, and then such events of several shards until it holds as many ids as it ever does. `rollup`, `tick` and the
API have an hour of minutes of four writers whose partials are as full as they get; `fan_out` such a window of `orders`.
The others have their usual event.

Source: AWS Lambda Developer Guide, "Lambda quotas": 6 MB an invocation.
"""

import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial as bind
from itertools import count, cycle
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import zstandard
from msgspec import Struct
from rich.progress import Progress

from benchmarks.cold_start import DAY_MS, MINUTE_MS, STAGE, PackagedStage, change, first_events, packaged_stage
from benchmarks.page import Chart, Headline, Part, Table
from benchmarks.suite import Options
from chalicelib import definitions
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.partial import Groups, Partial, PartialKey, States
from chalicelib.aggregates.windows import format_instant
from chalicelib.aws.aggregates_keys import share_partition_key, share_sort_key
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.consumers.counted_ids import IDS_HELD_MAX
from chalicelib.consumers.ports import PartialPut
from chalicelib.query.answer import GROUPS_MAX
from chalicelib.records.batch import Record
from loadtest.report import charts
from localstage import aws
from localstage.kinesis import lambda_record
from localstage.runtime import Function, FunctionSpec

NAME = "memory"
REFUSED = re.compile(rb'"statusCode": [345]|itemIdentifier')  # how a function says that it has not done it
STREAM = "highwater-bench-events"
SHARD_IDS = [f"shardId-{number:012d}" for number in range(4)]
EVENT_BYTES_MAX = 6 * 1024 * 1024
ORDERS_A_RECORD = 500
ORDERS, CUSTOMERS = definitions.METRICS[:2]
CATALOG = Catalog(definitions.EVENT_TYPES, definitions.METRICS)
HOUR_MINUTES = 60
TIMEOUT_SECONDS, TIMEOUT_MS = 600, 600_000  # the machine may be busy; what is measured is memory
MB = 1024 * 1024
FUNCTIONS = ("Ingest", "Rollup", "FanOut", "Tick", "APIHandler", "Capture", "Redrive", "Authorize")


class Settings(Struct, frozen=True):
    """How many ids `ingest` is to hold, how many minutes the hour has, and which functions."""

    ids: int = IDS_HELD_MAX
    minutes: int = HOUR_MINUTES
    functions: tuple[str, ...] = FUNCTIONS


QUICK = Settings(1, 1, ("Authorize",))


class Case(NamedTuple):
    """What a function is given. Shapes: events come as they are asked for."""

    function: str
    what: str
    events: Callable[[], Iterator[bytes]]


def measure(options: Options, progress: Progress) -> list[dict[str, Any]]:
    """Returns: by function and what it was given, the most memory its process had, and what the template gives it."""
    settings: Settings = options.settings
    rows = []
    with packaged_stage(len(SHARD_IDS)) as stage:
        cases = [case for case in _cases(stage, settings) if case.function in settings.functions]
        for case in progress.track(cases, description="cases"):
            spec = replace(stage.specs[case.function], timeout_seconds=TIMEOUT_SECONDS)
            progress.update(progress.task_ids[-1], description=f"{case.function}: {case.what}")
            peak_bytes = _peak(spec, case.events(), stage.folder / "function.log")
            rows.append(
                {
                    "function": case.function,
                    "given": case.what,
                    "peak_mb": peak_bytes / MB,
                    "memory_mb": spec.memory_mb,
                }
            )
    return rows


def _peak(spec: FunctionSpec, events: Iterator[bytes], log: Path) -> int:
    """The most memory that one process has, given these events."""
    function = Function(spec, log)
    try:
        function.cold_start()
        for event in events:
            answer = function.invoke(event)
            if answer.function_error or REFUSED.search(answer.payload):
                raise RuntimeError(f"{spec.name}: {answer.payload.decode()[:500]}")
        return function.peak_memory_bytes()
    finally:
        function.close()


def _cases(stage: PackagedStage, settings: Settings) -> list[Case]:
    first = first_events(stage.endpoint_url)
    now_ms = int(time.time() * 1000)
    hour = _Hour(stage.endpoint_url, now_ms, settings.minutes)
    changes = [change("MODIFY", now_ms, Keys=_keys(ORDERS, start_ms)) for start_ms in hour.minutes_ms]
    of_orders = change("MODIFY", now_ms, Keys=_keys(ORDERS, hour.start_ms))
    minutes_asked = min(settings.minutes, GROUPS_MAX // (CUSTOMERS.buckets * CUSTOMERS.group_limit))
    query = first["APIHandler"] | {
        "requestContext": first["APIHandler"]["requestContext"] | {"path": "/v1/metrics/customers/windows"},
        "pathParameters": {"metric": "customers"},
        "multiValueQueryStringParameters": {
            "start": [format_instant(hour.start_ms)],
            "end": [format_instant(hour.start_ms + minutes_asked * MINUTE_MS)],
            "step": ["1m"],
            "limit": ["10000"],
        },
    }
    return [
        Case("Ingest", "an event of 6 MB", lambda: _largest_events(now_ms, 0, 1, is_compressed=False)),
        Case("Ingest", "an event of 6 MB, zstd", lambda: _largest_events(now_ms, 10**8, 1, is_compressed=True)),
        Case(
            "Ingest",
            f"such events until {settings.ids:,} ids are held",
            lambda: _largest_events(now_ms, 2 * 10**8, settings.ids, is_compressed=True),
        ),
        Case("Rollup", "an hour of full partials of `orders`", lambda: hour.then({"Records": changes})),
        Case("FanOut", "a window of full partials of `orders`", lambda: hour.then({"Records": [of_orders]})),
        Case("APIHandler", "as many groups as an answer is made of", lambda: hour.then(query)),
        Case("Tick", "such an hour, which it settles", lambda: hour.then(first["Tick"])),
        *(Case(name, "its usual event", bind(_usual, first[name])) for name in FUNCTIONS[5:]),
    ]


def _usual(event: Mapping[str, Any]) -> Iterator[bytes]:
    yield orjson.dumps(event)


def _keys(metric: Metric, start_ms: int) -> dict[str, Any]:
    partition_key = share_partition_key(metric, metric.window_ms, 0)
    return {"pk": {"S": partition_key}, "sk": {"S": share_sort_key(start_ms, f"{STREAM}/{SHARD_IDS[0]}")}}


# ---- events as large as they come


def _largest_events(now_ms: int, first: int, ids: int, *, is_compressed: bool) -> Iterator[bytes]:
    """Events of Lambda's limit, each of another shard in turn, until they have had so many ids, numbered from first."""
    numbers = count(first)
    sent = 0
    for shard_id in cycle(SHARD_IDS):
        if sent >= ids:
            return
        records = []
        room = EVENT_BYTES_MAX
        while True:
            lines = [_order(next(numbers), now_ms) for _ in range(ORDERS_A_RECORD)]
            text = b"\n".join(lines)
            data = b64encode(zstandard.compress(text) if is_compressed else text).decode()
            record = lambda_record(
                {
                    "PartitionKey": "a",
                    "SequenceNumber": str(next(numbers)),
                    "Data": data,
                    "ApproximateArrivalTimestamp": now_ms / 1000,
                },
                shard_id=shard_id,
                stream_arn=f"arn:aws:kinesis:{aws.REGION}:{aws.ACCOUNT_ID}:stream/{STREAM}",
                role_arn=f"arn:aws:iam::{aws.ACCOUNT_ID}:role/ingest",
            )
            room -= len(orjson.dumps(record)) + 1
            if room < 0:
                break
            records.append(record)
        sent += len(records) * ORDERS_A_RECORD
        yield orjson.dumps({"Records": records})


def _order(number: int, now_ms: int) -> bytes:
    """An order as JSON; the text is much like the next one's, so it compresses as well as any."""
    return (
        f'{{"specversion":"1.0","id":"{number:08x}-{number * 2654435761 % 2**32:08x}","source":"/shop/checkout",'
        f'"type":"order.placed","time":"{format_instant(now_ms - number % MINUTE_MS)}","data":{{"order_id":'
        f'"order-{number:08d}","user_id":"customer-{number * 7919 % 1000:05d}","amount":{number % 4000 + 1}.99,'
        f'"currency":"EUR","order_type":"standard"}}}}'
    ).encode()


# ---- an hour as full as it gets


class _Hour:
    """An hour of two days ago, of which every partial has as many groups as it may have; stored when first needed."""

    def __init__(self, endpoint_url: str, now_ms: int, minutes: int) -> None:
        long_ago_ms = now_ms - 2 * DAY_MS
        self.start_ms = long_ago_ms - long_ago_ms % (HOUR_MINUTES * MINUTE_MS)
        self.minutes_ms = [self.start_ms + minute * MINUTE_MS for minute in range(minutes)]
        self._endpoint_url = endpoint_url
        self._now_ms = now_ms
        self._is_stored = False

    def then(self, event: Mapping[str, Any]) -> Iterator[bytes]:
        """Give this event, once the hour is stored."""
        if not self._is_stored:
            self._store()
            self._is_stored = True
        yield orjson.dumps(event)

    def _store(self) -> None:
        client = aws.client("dynamodb", self._endpoint_url)
        table = AggregatesTable(client, f"highwater-{STAGE}-aggregates", CATALOG, DAY_MS)
        for start_ms in self.minutes_ms:
            table.put_partials(
                [
                    PartialPut(
                        PartialKey(metric.name, bucket, start_ms, f"{STREAM}/{shard_id}"),
                        None,
                        Partial("0011", 1, _full(metric, bucket)),
                    )
                    for metric in (ORDERS, CUSTOMERS)
                    for bucket in range(metric.buckets)
                    for shard_id in SHARD_IDS
                ],
                TIMEOUT_MS,
            )
        for shard_id in SHARD_IDS:
            table.advance(STREAM, shard_id, Record("1", "0011", "a", self._now_ms, b""), TIMEOUT_MS)


def _full(metric: Metric, bucket: int) -> Groups:
    """As many groups as a partial may have."""
    states: States = (3, Decimal("123.45"), Decimal("9.90"), Decimal(50))[: len(metric.accumulators)]
    return {
        tuple(f"{dimension}-{bucket}-{number:05d}" for dimension in metric.by): states
        for number in range(metric.group_limit)
    }


def describe(figures: Sequence[Mapping[str, Any]]) -> Part:
    """How much memory there is to spare."""
    rows = [
        [
            row["function"],
            row["given"],
            f"{row['peak_mb']:,.0f}",
            f"{row['memory_mb']:,}",
            f"{1 - row['peak_mb'] / row['memory_mb']:.0%}",
        ]
        for row in figures
    ]
    least = min(figures, key=lambda row: 1 - row["peak_mb"] / row["memory_mb"])
    return Part(
        "Memory",
        TEXT,
        [
            Table(
                "the most that a process has had",
                ["function", "given", "MB at the most", "MB it has", "to spare"],
                rows,
            )
        ],
        [Chart("memory", "Memory of each function's process beside what it has", bind(_draw, figures))],
        headlines=[
            Headline(
                f"memory of the function that has least to spare (`{least['function']}`: {least['given']})",
                f"{least['peak_mb']:,.0f} of {least['memory_mb']:,} MB",
            )
        ],
    )


def _draw(figures: Sequence[Mapping[str, Any]]) -> str:
    return charts.bars(
        "Memory",
        "The most memory that each function's process has had, beside what the template gives it",
        [f"{row['function']}: {row['given']}" for row in figures],
        [
            charts.Bars("MB at the most", [row["peak_mb"] for row in figures]),
            charts.Bars("MB it has", [row["memory_mb"] for row in figures]),
        ],
        value=charts.Axis("MB"),
        number=lambda mb: f"{mb:,.0f}",
    )


TEXT = """\
Each function as a process, from the package, given as much as it can be given at once: `VmHWM` of the process, which is
what Lambda's report calls *Max Memory Used*, without Lambda's own share of some tens of MB. `ingest` keeps the ids of
all shards that its container has served; beyond three million the shard used longest ago is forgotten.
"""
