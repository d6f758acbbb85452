"""From a commit to its result at a subscriber: table stream, batching window, fan_out, SNS, SQS, on a local stage.

    python -m benchmarks fan_out_latency

Commits partials as ingest does, one minute's window after another, and notes when a subscriber has the result of each.
The local stage polls a table's stream four times a second, Lambda does so as often; the batching window is fan_out's
own, a second. Everything runs on one machine, so these are times of this machine and not of AWS.
"""

import threading
import time
from collections.abc import Mapping
from statistics import quantiles

import orjson
from msgspec import Struct
from rich.progress import Progress

from benchmarks.page import Headline, Part, Table
from benchmarks.query_items import GROUPS
from benchmarks.suite import Options
from chalicelib import definitions
from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.partial import Partial, PartialKey
from chalicelib.aggregates.windows import parse_instant, window_start
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.consumers.ports import Committed, PartialPut
from localstage import aws
from localstage.stage import LocalStage
from ops.subscription import Messages, subscription

NAME = "fan_out_latency"
STAGE = "bench"
MINUTE_MS, DAY_MS = 60_000, 86_400_000
PATIENCE_SECONDS = 30  # for the results that are still on their way at the end


class Subscriber(threading.Thread):
    """Notes when the first result of each window came."""

    def __init__(self, messages: Messages) -> None:
        super().__init__(daemon=True)
        self.received: dict[int, float] = {}
        self.stopping = threading.Event()
        self._messages = messages

    def run(self) -> None:
        """Receive until stopped."""
        while not self.stopping.is_set():
            for message in self._messages.receive(wait_seconds=1):
                now = time.perf_counter()
                self.received.setdefault(parse_instant(orjson.loads(message)["window_start"]), now)


class Settings(Struct, frozen=True):
    """How many commits, and the time between them."""

    commits: int = 300
    pause_seconds: float = 0.1


QUICK = Settings(5)


def measure(options: Options, progress: Progress) -> dict[str, float]:
    """Returns: quantiles of the seconds from a commit until its result was received."""
    settings: Settings = options.settings
    with LocalStage(STAGE, shards=1, aws_port=0, api_port=0) as stage:
        sns, sqs = (aws.client(service, stage.endpoint_url) for service in ("sns", "sqs"))
        catalog = Catalog(definitions.EVENT_TYPES, definitions.METRICS)
        dynamodb = aws.client("dynamodb", stage.endpoint_url)
        table = AggregatesTable(dynamodb, f"highwater-{STAGE}-aggregates", catalog, DAY_MS)
        with subscription(sns, sqs, STAGE, {"metric": ["orders"], "step": ["1m"]}) as messages:
            subscriber = Subscriber(messages)
            subscriber.start()
            first_ms = window_start(int(time.time() * 1000), MINUTE_MS)
            commit(table, first_ms - MINUTE_MS)  # the first starts the function's process
            wait_for(subscriber, 1)
            committed = {}
            for number in progress.track(range(settings.commits), description="committing"):
                window_start_ms = first_ms + number * MINUTE_MS
                commit(table, window_start_ms)
                committed[window_start_ms] = time.perf_counter()
                time.sleep(settings.pause_seconds)
            wait_for(subscriber, settings.commits + 1)
            subscriber.stopping.set()
            subscriber.join()
    seconds = [subscriber.received[window_ms] - committed_at for window_ms, committed_at in committed.items()]
    cuts = quantiles(seconds, n=100)
    return {"commits": len(seconds), "p50_s": cuts[49], "p95_s": cuts[94], "p99_s": cuts[98], "most_s": max(seconds)}


def commit(table: AggregatesTable, window_start_ms: int) -> None:
    """Store a partial of `orders`."""
    key = PartialKey("orders", 0, window_start_ms, "highwater-bench-events/shardId-000000000000")
    (outcome,) = table.put_partials([PartialPut(key, None, Partial("0011", 1, GROUPS))], 5_000)
    if not isinstance(outcome, Committed):
        raise TypeError(f"a commit came to {outcome}")


def wait_for(subscriber: Subscriber, windows: int) -> None:
    """Wait until the subscriber has results of so many windows."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(subscriber.received) < windows:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(subscriber.received)} of {windows} results came within {PATIENCE_SECONDS} s")
        time.sleep(0.05)


def describe(figures: Mapping[str, float]) -> Part:
    """How soon a result is told."""
    names = ("p50_s", "p95_s", "p99_s", "most_s")
    row = [f"{figures['commits']}", *(f"{figures[name]:.2f}" for name in names)]
    return Part(
        "From a commit to its result at a subscriber",
        "On a local stage: the table's stream, the batching window of a second, `fan_out`, SNS, SQS.",
        [Table("seconds from commit to receipt", ["commits", "p50", "p95", "p99", "most"], [row])],
        headlines=[
            Headline(
                "from a commit to its result at a subscriber, batching window 1 s, on a local stage: p50, p99",
                f"{figures['p50_s']:.1f} s, {figures['p99_s']:.1f} s",
            )
        ],
    )
