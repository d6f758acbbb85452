"""Cold starts of the packaged functions, beside a bare handler that makes one boto3 client of DynamoDB.

    python -m benchmarks cold_start

Each start is a process of its own, AWS's runtime client around the handler, which imports nothing but the package's
contents (byte code and all) and Python itself, as on Lambda. *Ready* is the time from the start of the process until it
asks for its first invocation: what Lambda calls Init. *First answer* adds the first invocation, on an emulated AWS: for
`ingest` a record of 100 orders, for the API two days of windows, for the bare handler one read. *Memory* is the most
that the process has had by then. The bare handler has its client from the same package, which holds the models of a few
services and not of all: that makes it faster, and the ratio worse.

The machine is shared, so starts are interleaved and medians are compared; the ratio to the bare handler is the result.
"""

import re
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import orjson
from msgspec import Struct
from rich.progress import Progress

from benchmarks.orders import lambda_event, orders
from benchmarks.page import Headline, Part, Table
from benchmarks.result import PROJECT
from benchmarks.suite import Options
from chalicelib.access.grant import EVERYTHING, context_of
from chalicelib.aggregates.windows import format_instant
from chalicelib.aws.aggregates_keys import window_sort_key
from localstage import aws
from localstage.emulator import Emulator
from localstage.packaged import Packaged, unpack
from localstage.runtime import Function, FunctionSpec
from ops import resources, tokens
from ops.package import package
from ops.token_ledger import TokenLedger

NAME = "cold_start"
PACKAGED_STAGE = "prod"
STAGE = "bench"  # whose stream the events of `orders` are of
MINUTE_MS, DAY_MS = 60_000, 86_400_000
ORDERS_A_RECORD = 100
BARE = """
import boto3

CLIENT = boto3.client("dynamodb")

def handle(event, context):
    return CLIENT.get_item(TableName=event["table"], Key={"pk": {"S": "no such"}, "sk": {"S": "item"}}).get("Item")
"""
TABLE_STREAM = f"arn:aws:dynamodb:{aws.REGION}:{aws.ACCOUNT_ID}:table/highwater-{STAGE}-orders/stream/1"
METHOD = f"arn:aws:execute-api:{aws.REGION}:{aws.ACCOUNT_ID}:api/api/GET/v1/stream"
REFUSED = re.compile(rb'"statusCode": [345]')  # how the API says that it has not answered
RELEASE_CHECK = "CheckRelease"  # no event waits for it
TRACED = ("Ingest", "APIHandler")  # measured with tracing too


class Start(NamedTuple):
    """One cold start. Units: milliseconds until ready and until the first answer; bytes at the most."""

    ready_ms: float
    answered_ms: float
    memory_bytes: float


class Settings(Struct, frozen=True):
    """How often each is started, and which: logical ids; all that take events if none."""

    rounds: int = 11
    functions: tuple[str, ...] = ()


QUICK = Settings(2, ("Ingest",))


def measure(options: Options, progress: Progress) -> dict[str, list[dict[str, float]]]:
    """Returns: by function, each start's times and memory."""
    settings: Settings = options.settings
    with packaged_stage() as stage, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        chosen = {name: stage.specs[name] for name in ["bare", *(settings.functions or list(stage.specs)[1:])]}
        specs = chosen | {f"{name}, traced": traced(chosen[name], daemon) for name in TRACED if name in chosen}
        events = {name: orjson.dumps(event) for name, event in first_events(stage.endpoint_url).items()}
        starts: dict[str, list[dict[str, float]]] = {name: [] for name in specs}
        for _ in progress.track(range(settings.rounds), description="rounds of starts"):
            for name, spec in specs.items():
                started = start(spec, events[name.partition(",")[0]], stage.folder / "function.log")
                starts[name].append(started._asdict())
    return starts


class PackagedStage(NamedTuple):
    """The functions of a package, by logical id, the bare handler first; and an emulated AWS for them."""

    specs: dict[str, FunctionSpec]
    endpoint_url: str
    folder: Path


@contextmanager
def packaged_stage(shards: int = 1) -> Iterator[PackagedStage]:
    """Package the functions, with resources on an emulated AWS."""
    with tempfile.TemporaryDirectory() as text, Emulator(0, Path(text) / "aws.log") as emulator:
        url, folder = emulator.endpoint_url, Path(text)
        package(PROJECT, PACKAGED_STAGE, folder / "out")
        made = resources.ensure(STAGE, endpoint_url=url, session=aws.session(), shards=shards).physical_ids
        environment = {
            **aws.environment_variables(url),
            "STAGE": STAGE,
            "RESULTS_TOPIC_ARN": made["ResultsTopic"],
            "REDRIVE_QUEUE_URL": made["RedriveQueue"],
        }
        yield PackagedStage(specs_of(unpack(folder / "out", folder), folder, environment), url, folder)


def start(spec: FunctionSpec, event: bytes, log_path: Path) -> Start:
    """Start the function, invoke it once, end it."""
    function = Function(spec, log_path)
    try:
        ready = function.cold_start()
        began = time.perf_counter()
        answer = function.invoke(event)
        answered_ms = (ready.seconds + time.perf_counter() - began) * 1000
        if answer.function_error or REFUSED.search(answer.payload):
            raise RuntimeError(f"{spec.name}: {answer.payload.decode()}\n{log_path.read_text()}")
        return Start(ready.seconds * 1000, answered_ms, function.peak_memory_bytes())
    finally:
        function.close()


# ---- what each is asked first


def first_events(endpoint_url: str) -> dict[str, Any]:
    """The first event of each function, by its logical id, and the bare handler's."""
    now_ms = int(time.time() * 1000)
    placed = b"\n".join(order.data for order in orders(ORDERS_A_RECORD, arrived_at_ms=now_ms))
    today_ms = now_ms - now_ms % DAY_MS
    token = tokens.issue(
        TokenLedger(aws.client("secretsmanager", endpoint_url), f"highwater-{STAGE}-api-tokens"),
        "bench",
        ("*",),
        now_ms + DAY_MS,
    )
    window = {"pk": {"S": "orders#1m#0"}, "sk": {"S": f"{window_sort_key(now_ms - now_ms % MINUTE_MS)}#writer"}}
    changed = change("MODIFY", now_ms, Keys=window)
    row = {"order_id": {"S": "order-1"}, "status": {"S": "open"}, "amount": {"N": "1"}}
    inserted = change("INSERT", now_ms, Keys={"order_id": row["order_id"]}, NewImage=row)
    return {
        "bare": {"table": f"highwater-{STAGE}-aggregates"},
        "Ingest": lambda_event([placed], arrived_at_ms=now_ms),
        "APIHandler": {
            "requestContext": {
                "httpMethod": "GET",
                "resourcePath": "/v1/metrics/{metric}/windows",
                "path": "/v1/metrics/orders/windows",
                "authorizer": context_of(EVERYTHING),
            },
            "pathParameters": {"metric": "orders"},
            "multiValueQueryStringParameters": {
                "start": [format_instant(today_ms - DAY_MS)],
                "end": [format_instant(today_ms + DAY_MS)],
            },
            "headers": {},
            "body": None,
            "stageVariables": None,
            "isBase64Encoded": False,
        },
        "Authorize": {"type": "TOKEN", "authorizationToken": f"Bearer {token}", "methodArn": METHOD},
        "Capture": {"Records": [inserted]},
        "Rollup": {"Records": [changed]},
        "FanOut": {"Records": [changed]},
        "Tick": dict.fromkeys(("version", "account", "region", "detail-type", "source", "time", "id"), "")
        | {"detail": {}, "resources": []},
        "Redrive": {"Records": []},
    }


def change(kind: str, now_ms: int, **images: Any) -> dict[str, Any]:
    """A record of a table's stream, as Lambda hands it over."""
    stored = {"SequenceNumber": "111", "ApproximateCreationDateTime": now_ms // 1000, "SizeBytes": 99, **images}
    return {
        "eventID": "change-1",
        "eventName": kind,
        "eventSource": "aws:dynamodb",
        "eventSourceARN": TABLE_STREAM,
        "awsRegion": aws.REGION,
        "dynamodb": stored,
    }


# ---- what is started


def specs_of(package: Packaged, folder: Path, environment: Mapping[str, str]) -> dict[str, FunctionSpec]:
    """Every function that takes events, beside the bare handler."""
    bare = folder / "bare"
    bare.mkdir()
    (bare / "bare.py").write_text(BARE)
    functions = {name: package.spec(name, environment) for name in package.functions if name != RELEASE_CHECK}
    ingest = functions["Ingest"]
    imports = [package.code, *(ingest.imports or ())]
    return {"bare": replace(ingest, name="bare", handler="bare.handle", project_dir=bare, imports=imports), **functions}


def traced(spec: FunctionSpec, daemon: socket.socket) -> FunctionSpec:
    """The function with X-Ray's daemon beside it."""
    host, port = daemon.getsockname()
    environment = {**spec.environment, "AWS_XRAY_DAEMON_ADDRESS": f"{host}:{port}"}
    return replace(spec, environment=environment, is_traced=True)


def describe(figures: Mapping[str, list[dict[str, float]]]) -> Part:
    """The medians, beside those of the bare handler."""
    bare = _medians(figures["bare"])
    rows, ratios = [], {}
    for name, starts in figures.items():
        own = _medians(starts)
        ratios[name] = own.ready_ms / bare.ready_ms
        rows.append(
            [
                name,
                f"{own.ready_ms:.0f}",
                f"{ratios[name]:.2f}",
                f"{own.answered_ms:.0f}",
                f"{own.answered_ms / bare.answered_ms:.2f}",
                f"{own.memory_bytes / 1_000_000:.0f}",
            ]
        )
    headings = ["", "ready, ms", "÷ bare", "first answer, ms", "÷ bare", "memory, MB"]
    shown = [ratios[name] for name in ("Ingest", "APIHandler") if name in ratios]
    return Part(
        "Cold start",
        TEXT,
        [Table(f"medians of {len(figures['bare'])} starts", headings, rows)],
        headlines=[
            Headline(
                "cold start, until an invocation is asked for, beside a bare boto3 handler: `ingest`, the API",
                ", ".join(f"{ratio:.2f} ×" for ratio in shown),
            )
        ],
    )


def _medians(starts: list[dict[str, float]]) -> Start:
    return Start(*(median(start[name] for start in starts) for name in Start._fields))


TEXT = """\
Packaged functions, each start a process of its own with AWS's runtime client, beside a bare handler that makes one
boto3 client of DynamoDB; in turns, medians. *Ready* is what Lambda calls Init: until the first invocation is asked for.
*First answer* adds that invocation, on an emulated AWS.
"""
