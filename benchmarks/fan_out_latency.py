"""From a commit to its result at a subscriber: table stream, batching window, fan_out, SNS, SQS, on a local stage.

    python -m benchmarks.fan_out_latency

Commits partials as ingest does, one minute's window after another, and notes when a subscriber has the result of each.
The local stage polls a table's stream four times a second, Lambda does so as often; the batching window is fan_out's
own, a second. Everything runs on one machine, so these are times of this machine and not of AWS.
"""

import argparse
import threading
import time
from statistics import quantiles

import orjson
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.query_items import GROUPS
from chalicelib import definitions
from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.partial import Partial, PartialKey
from chalicelib.aggregates.windows import parse_instant, window_start
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.consumers.ports import Committed, PartialPut
from localstage import aws
from localstage.stage import LocalStage
from ops.subscription import Messages, subscription

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


def measure(commits: int, pause_seconds: float) -> list[float]:
    """Returns: of each commit, the seconds until its result was received."""
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
            for number in track(range(commits), "committing", transient=True):
                window_start_ms = first_ms + number * MINUTE_MS
                commit(table, window_start_ms)
                committed[window_start_ms] = time.perf_counter()
                time.sleep(pause_seconds)
            wait_for(subscriber, commits + 1)
            subscriber.stopping.set()
            subscriber.join()
    return [subscriber.received[window_ms] - committed_at for window_ms, committed_at in committed.items()]


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


def main() -> None:
    arguments = argparse.ArgumentParser(description="seconds from a commit to its result at a subscriber")
    arguments.add_argument("--commits", type=int, default=300)
    arguments.add_argument("--pause-seconds", type=float, default=0.1)
    options = arguments.parse_args()
    seconds = measure(options.commits, options.pause_seconds)
    cuts = quantiles(seconds, n=100)
    table = Table("commits", "p50", "p95", "p99", "most", title="seconds from commit to receipt, batching window 1 s")
    table.add_row(f"{len(seconds)}", *(f"{each:.2f}" for each in (cuts[49], cuts[94], cuts[98], max(seconds))))
    Console().print(table)


if __name__ == "__main__":
    main()
