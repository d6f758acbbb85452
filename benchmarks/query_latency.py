"""The time of an answer over HTTP, beside a bare DynamoDB Query of the same items, on a local stage.

    python -m benchmarks.query_latency

A day of minute windows of `orders`, one group-by: 1 440 items a writer. Highwater's side is all of it: HTTP, the
gateway, Lambda's runtime client, the handler, its reads, 2 880 rows of JSON. The other is DynamoDB's Query by boto3 and
no more. Both ask the same emulated AWS, in turns, for the machine is shared; the ratio of the two p99 is the result.
"""

import argparse
import time
from collections.abc import Callable
from statistics import quantiles
from urllib.parse import urlencode

import urllib3
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.query_items import DAY_MS, PARAMETERS, STAGE, bare_query, fill
from chalicelib import definitions
from chalicelib.aggregates.metric import Catalog
from chalicelib.aws.aggregates_table import AggregatesTable
from localstage import aws
from localstage.stage import LocalStage

QUIET_SECONDS = 20  # until rollup and fan_out are done with what was stored
WARM_UPS = 5


def measure(rounds: int, *, is_compressed: bool) -> tuple[list[float], list[float]]:
    """Returns: milliseconds of each answer, and of each bare Query."""
    with LocalStage(STAGE, shards=1, aws_port=0, api_port=0) as stage:
        client = aws.client("dynamodb", stage.endpoint_url)
        catalog = Catalog(definitions.EVENT_TYPES, definitions.METRICS)
        fill(AggregatesTable(client, f"highwater-{STAGE}-aggregates", catalog, DAY_MS), writers=1)
        for _ in track(range(QUIET_SECONDS), "waiting for the consumers", transient=True):
            time.sleep(1)
        http = urllib3.PoolManager(headers={"Accept-Encoding": "gzip"} if is_compressed else {})
        url = f"{stage.api_url}/v1/metrics/orders/windows?{urlencode(PARAMETERS, doseq=True)}"

        def ask() -> None:
            answer = http.request("GET", url)
            if answer.status != 200:  # noqa: PLR2004  OK
                raise ValueError(answer.data)

        for _ in range(WARM_UPS):
            ask()
        pairs = [
            (milliseconds(ask), milliseconds(lambda: bare_query(client)))
            for _ in track(range(rounds), "asking", transient=True)
        ]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def milliseconds(work: Callable[[], object]) -> float:
    """The time of the work."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def main() -> None:
    arguments = argparse.ArgumentParser(description="the time of an answer over HTTP beside a bare Query's")
    arguments.add_argument("--rounds", type=int, default=300)
    arguments.add_argument("--gzip", action="store_true", help="ask for compressed answers")
    options = arguments.parse_args()
    asked, bare = (quantiles(times, n=100) for times in measure(options.rounds, is_compressed=options.gzip))
    printed = Table("", "p50, ms", "p99, ms", title="24 h by minute, one group-by, over HTTP")
    printed.add_row("answer", f"{asked[49]:.1f}", f"{asked[98]:.1f}")
    printed.add_row("bare Query", f"{bare[49]:.1f}", f"{bare[98]:.1f}")
    printed.add_row("ratio", f"{asked[49] / bare[49]:.2f}", f"{asked[98] / bare[98]:.2f}")
    Console().print(printed)


if __name__ == "__main__":
    main()
