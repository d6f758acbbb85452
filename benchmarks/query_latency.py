"""The time of an answer over HTTP, beside a bare DynamoDB Query of the same items, on a local stage.

    python -m benchmarks query_latency

A day of minute windows of `orders`, one group-by: 1 440 items a writer. Highwater's side is all of it: HTTP, the
gateway, Lambda's runtime client, the handler, its reads, 2 880 rows of JSON. The other is DynamoDB's Query by boto3 and
no more. Both ask the same emulated AWS, in turns, for the machine is shared; the ratio of the two p99 is the result.
"""

import time
from collections.abc import Callable, Mapping
from statistics import quantiles
from urllib.parse import urlencode

import urllib3
from msgspec import Struct
from rich.progress import Progress

from benchmarks.page import Headline, Part, Table
from benchmarks.query_items import DAY_MS, PARAMETERS, STAGE, bare_query, fill
from benchmarks.suite import Options
from chalicelib import definitions
from chalicelib.aggregates.metric import Catalog
from chalicelib.aws.aggregates_table import AggregatesTable
from localstage import aws
from localstage.stage import LocalStage

NAME = "query_latency"
WARM_UPS = 5


class Settings(Struct, frozen=True):
    """How often is asked; gzip: for compressed answers. Units: quiet_seconds, until rollup and fan_out are done."""

    rounds: int = 300
    gzip: bool = False
    quiet_seconds: int = 20


QUICK = Settings(rounds=10, quiet_seconds=0)


def measure(options: Options, progress: Progress) -> dict[str, dict[str, float]]:
    """Returns: of the answer and of the bare Query, quantiles of their milliseconds."""
    settings: Settings = options.settings
    with LocalStage(STAGE, shards=1, aws_port=0, api_port=0) as stage:
        client = aws.client("dynamodb", stage.endpoint_url)
        catalog = Catalog(definitions.EVENT_TYPES, definitions.METRICS)
        fill(AggregatesTable(client, f"highwater-{STAGE}-aggregates", catalog, DAY_MS), writers=1)
        for _ in progress.track(range(settings.quiet_seconds), description="waiting for the consumers"):
            time.sleep(1)
        http = urllib3.PoolManager(headers={"Accept-Encoding": "gzip"} if settings.gzip else {})
        url = f"{stage.api_url}/v1/metrics/orders/windows?{urlencode(PARAMETERS, doseq=True)}"

        def ask() -> None:
            answer = http.request("GET", url)
            if answer.status != 200:  # noqa: PLR2004  OK
                raise ValueError(answer.data)

        for _ in range(WARM_UPS):
            ask()
        pairs = [
            (milliseconds(ask), milliseconds(lambda: bare_query(client)))
            for _ in progress.track(range(settings.rounds), description="asking")
        ]
    names = ("answer", "bare Query")
    cuts = {name: quantiles(times, n=100) for name, times in zip(names, zip(*pairs, strict=True), strict=True)}
    return {name: {"p50_ms": each[49], "p99_ms": each[98]} for name, each in cuts.items()}


def milliseconds(work: Callable[[], object]) -> float:
    """The time of the work."""
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000


def describe(figures: Mapping[str, Mapping[str, float]]) -> Part:
    """How long an answer takes."""
    rows = [[name, f"{each['p50_ms']:.1f}", f"{each['p99_ms']:.1f}"] for name, each in figures.items()]
    answer, bare = figures["answer"], figures["bare Query"]
    p50, p99 = (answer[quantile] / bare[quantile] for quantile in ("p50_ms", "p99_ms"))
    return Part(
        "How long an answer takes",
        "A day of minutes over HTTP on a local stage, in turns with a bare DynamoDB Query of the same items by boto3 "
        "and no more: of the answer's time all is in it, the gateway, Lambda's runtime client, 2 880 rows of JSON.",
        [
            Table(
                "24 h by minute, one group-by, over HTTP",
                ["", "p50, ms", "p99, ms"],
                [*rows, ["ratio", f"{p50:.2f}", f"{p99:.2f}"]],
            )
        ],
        headlines=[
            Headline(
                "p50, p99 of an answer over HTTP, 24 h by minute, beside a bare DynamoDB Query, on a local stage",
                f"{p50:.1f} ×, {p99:.1f} ×",
            )
        ],
    )
