"""DynamoDB write units for a million events, by the sizes of the items that are put.

    python -m benchmarks write_units

Runs the real handler on tables in memory, once with each shipped metric of orders alone, once with the two
exact ones and once with all, at several batch sizes; one shard, one minute, a thousand customers. The id log costs the
same whatever the metrics: it is a column of its own, of KPL aggregates and of plain records numbered as Kinesis numbers
them. Beside it: what one item an event costs, the least that a handler with one idempotency record for each event pays.
"""

from typing import Any

from msgspec import Struct
from rich.progress import Progress

from benchmarks.capacity import CountingClient
from benchmarks.ingest_cpu import EVENTS_PER_AGGREGATE, make_ingest
from benchmarks.memory_dynamodb import MemoryDynamoDB
from benchmarks.orders import aggregated, lambda_event, orders
from benchmarks.page import Headline, Part, Table
from benchmarks.suite import Options
from chalicelib import definitions
from chalicelib.aggregates.metric import Metric

NAME = "write_units"
STAGE = "bench"
BATCHES = 10
# Neighbours on a shard of Kinesis differ high up, by a counter, and low down, by a stamp; the digits between are alike.
FIRST_SEQUENCE_NUMBER = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898
SEQUENCE_NUMBER_STEP = (1 << 80) + (1 << 38) + 977


class Settings(Struct, frozen=True):
    """How many events a batch."""

    events_per_batch: tuple[int, ...] = (100, 1_000, 10_000)


QUICK = Settings((100, 300))


class Cost:
    """What ten batches of one shard cost, for each million of events."""

    def __init__(self, metrics: tuple[Metric, ...], events_per_batch: int, events_per_record: int) -> None:
        client = CountingClient(MemoryDynamoDB())
        ingest = make_ingest(client, STAGE, metrics)
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
        self.aggregates = client.write_units[f"highwater-{STAGE}-aggregates"] * to_a_million
        self.ids = client.write_units[f"highwater-{STAGE}-ids"] * to_a_million


def measure(options: Options, progress: Progress) -> list[dict[str, Any]]:
    """Returns: by the events of a batch, write units for a million events, of metrics and of the id log."""
    metrics_of_orders = tuple(metric for metric in definitions.METRICS if metric.event_type == "order.placed")
    exact_metrics = tuple(metric for metric in metrics_of_orders if not metric.has_sketches)
    by_metric = {
        **{metric.name: (metric,) for metric in metrics_of_orders},
        "both exact": exact_metrics,
        "all": metrics_of_orders,
    }
    measured = []
    for events_per_batch in progress.track(options.settings.events_per_batch, description="batches"):
        costs = {name: Cost(metrics, events_per_batch, EVENTS_PER_AGGREGATE) for name, metrics in by_metric.items()}
        plain = Cost(metrics_of_orders, events_per_batch, 1)
        measured.append(
            {
                "events_per_batch": events_per_batch,
                "metrics": {name: cost.aggregates for name, cost in costs.items()},
                "ids_kpl": costs["all"].ids,
                "ids_plain": plain.ids,
            }
        )
    return measured


def describe(figures: list[dict[str, Any]]) -> Part:
    """The write units by the size of a batch."""
    rows = [
        [
            f"{each['events_per_batch']:,}",
            *(f"{units:,.0f}" for units in [*each["metrics"].values(), each["ids_kpl"], each["ids_plain"]]),
        ]
        for each in figures
    ]
    table = Table(
        "write units for a million events; those of the metrics with the shard's progress",
        ["events a batch", *figures[0]["metrics"], "ids (KPL)", "ids (plain)"],
        rows,
    )
    text = (
        "By the sizes of the items that the real handler puts: one shard, one minute, a thousand customers. One item "
        "an event, the least that a handler with one record for each event pays, takes 1,000,000 by definition."
    )
    largest = figures[-1]
    units = [largest["metrics"][name] for name in ("orders", "both exact", "all")] + [largest["ids_kpl"]]
    return Part(
        "Write units",
        text,
        [table],
        headlines=[
            Headline(
                f"write units, a million events, {largest['events_per_batch']:,} a batch: `orders`, with `customers`, "
                "with the metrics of sketches too, progress included; the id log beside them",
                " / ".join(f"{each:,.0f}" for each in units[:3]) + f"; {units[3]:,.0f}",
            )
        ],
    )
