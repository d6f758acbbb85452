"""DynamoDB write units for a million events, counted from what DynamoDB answers to `ReturnConsumedCapacity`.

    python -m benchmarks.write_units

Runs the real handler against an emulated DynamoDB (MiniStack counts units as AWS does), once with each shipped metric
alone and once with both, at several batch sizes. Beside it: what one item an event costs, the least that a handler
with one idempotency record for each event pays.
"""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.ingest_cpu import EVENTS_PER_AGGREGATE, make_ingest
from benchmarks.orders import aggregated, lambda_event, orders
from chalicelib import definitions
from chalicelib.aggregates.metric import Metric
from localstage import aws
from localstage.emulator import Emulator
from ops.resources import ensure

BATCHES = 10


def write_units_per_million(endpoint_url: str, metrics: tuple[Metric, ...], events_per_batch: int, stage: str) -> float:
    """Ingest ten batches of one shard into an empty table and count."""
    ensure(stage, endpoint_url=endpoint_url, session=aws.session(), shards=1)
    ingest = make_ingest(aws.client("dynamodb", endpoint_url), stage, metrics)
    units = 0.0
    sequence_number = 1
    for batch in range(BATCHES):
        payloads = aggregated(orders(events_per_batch, seed=batch), EVENTS_PER_AGGREGATE)
        report = ingest(lambda_event(payloads, sequence_number), lambda: 60_000)
        if report.failed_sequence_number:
            raise RuntimeError(f"a batch failed: {dict(report.errors)}")
        units += report.write_units
        sequence_number += len(payloads)
    return units / (BATCHES * events_per_batch) * 1e6


def main() -> None:
    arguments = argparse.ArgumentParser(description="write units for a million events")
    arguments.add_argument("--events-per-batch", type=int, nargs="*", default=[100, 1_000, 10_000])
    options = arguments.parse_args()
    by_metric = {
        **{metric.name: (metric,) for metric in definitions.METRICS},
        "all shipped metrics": definitions.METRICS,
    }
    table = Table(
        "events a batch",
        *by_metric,
        "one item an event (by definition)",
        title="write units for a million events, the shard's progress in each",
    )
    with tempfile.TemporaryDirectory() as scratch, Emulator(0, Path(scratch) / "aws.log") as emulator:
        for events_per_batch in track(options.events_per_batch, "measuring", transient=True):
            row = [
                write_units_per_million(
                    emulator.endpoint_url, metrics, events_per_batch, f"b{events_per_batch}-{number}"
                )
                for number, metrics in enumerate(by_metric.values())
            ]
            table.add_row(f"{events_per_batch:,}", *(f"{units:,.0f}" for units in row), "1,000,000")
    Console().print(table)


if __name__ == "__main__":
    main()
