"""DynamoDB write units for a million events, by the sizes of the items that are put.

    python -m benchmarks.write_units

Runs the real handler against an emulated DynamoDB, once with each shipped metric of orders alone, once with the two
exact ones and once with all, at several batch sizes; one shard, one minute, a thousand customers. The id log costs the
same whatever the metrics: it is a column of its own, of KPL aggregates and of plain records numbered as Kinesis numbers
them. Beside it: what one item an event costs, the least that a handler with one idempotency record for each event pays.
"""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.capacity import CountingClient
from benchmarks.ingest_cpu import EVENTS_PER_AGGREGATE, make_ingest
from benchmarks.orders import aggregated, lambda_event, orders
from chalicelib import definitions
from chalicelib.aggregates.metric import Metric
from localstage import aws
from localstage.emulator import Emulator
from ops.resources import ensure

BATCHES = 10
# Neighbours on a shard of Kinesis differ high up, by a counter, and low down, by a stamp; the digits between are alike.
FIRST_SEQUENCE_NUMBER = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898
SEQUENCE_NUMBER_STEP = (1 << 80) + (1 << 38) + 977


class Cost:
    """What ten batches of one shard cost, for each million of events."""

    def __init__(
        self, endpoint_url: str, metrics: tuple[Metric, ...], events_per_batch: int, events_per_record: int, stage: str
    ) -> None:
        ensure(stage, endpoint_url=endpoint_url, session=aws.session(), shards=1)
        client = CountingClient(aws.client("dynamodb", endpoint_url))
        ingest = make_ingest(client, stage, metrics)
        sequence_number = FIRST_SEQUENCE_NUMBER
        for batch in range(BATCHES):
            made = orders(events_per_batch, seed=batch)
            payloads = aggregated(made, events_per_record) if events_per_record > 1 else [each.data for each in made]
            event = lambda_event(payloads, sequence_number, SEQUENCE_NUMBER_STEP)
            report = ingest(event, lambda: 60_000)
            if report.failed_sequence_number:
                raise RuntimeError(f"a batch failed: {dict(report.errors)}")
            sequence_number += len(payloads) * SEQUENCE_NUMBER_STEP
        to_a_million = 1e6 / (BATCHES * events_per_batch)
        self.aggregates = client.write_units[f"highwater-{stage}-aggregates"] * to_a_million
        self.ids = client.write_units[f"highwater-{stage}-ids"] * to_a_million


def main() -> None:
    arguments = argparse.ArgumentParser(description="write units for a million events")
    arguments.add_argument("--events-per-batch", type=int, nargs="*", default=[100, 1_000, 10_000])
    options = arguments.parse_args()
    metrics_of_orders = tuple(metric for metric in definitions.METRICS if metric.event_type == "order.placed")
    exact_metrics = tuple(metric for metric in metrics_of_orders if not metric.has_sketches)
    by_metric = {
        **{metric.name: (metric,) for metric in metrics_of_orders},
        "both exact": exact_metrics,
        "all": metrics_of_orders,
    }
    table = Table(
        "events a batch",
        *by_metric,
        "ids (KPL)",
        "ids (plain)",
        title="write units for a million events; those of the metrics with the shard's progress",
        caption="beside it, one item an event: 1,000,000 by definition",
    )
    with tempfile.TemporaryDirectory() as scratch, Emulator(0, Path(scratch) / "aws.log") as emulator:
        for events_per_batch in track(options.events_per_batch, "measuring", transient=True):
            stage = f"b{events_per_batch}"
            costs = [
                Cost(emulator.endpoint_url, metrics, events_per_batch, EVENTS_PER_AGGREGATE, f"{stage}-{number}")
                for number, metrics in enumerate(by_metric.values())
            ]
            plain = Cost(emulator.endpoint_url, metrics_of_orders, events_per_batch, 1, f"{stage}-plain")
            units = [*(cost.aggregates for cost in costs), costs[-1].ids, plain.ids]
            table.add_row(f"{events_per_batch:,}", *(f"{each:,.0f}" for each in units))
    Console().print(table)


if __name__ == "__main__":
    main()
