"""The ingest handler's own CPU for each user record, beside decoding the same bytes the usual way.

    python -m benchmarks.ingest_cpu

Both sides take the same Lambda events: KPL aggregates of 200 orders, 10 000 orders a batch. The yardstick is what
`aws_kinesis_agg.deaggregator.iter_deaggregate_records`, `base64` and `orjson.loads` cost and no more: it neither
checks, validates nor counts. Highwater's side is the whole handler (typed validation, folding, absorbing, encoding the
items), once with the exact metrics that are shipped and once with those of sketches too, and a client that answers at
once in the place of AWS. CPU time of the process, all threads; rounds are interleaved, since the machine is shared; the
ratio of the medians is the result.
"""

import argparse
from base64 import b64decode
from collections.abc import Callable, Sequence
from functools import partial as bind
from statistics import median
from time import process_time
from typing import Any

import orjson
from aws_kinesis_agg.deaggregator import iter_deaggregate_records
from rich.console import Console
from rich.table import Table

from benchmarks.orders import SHARD_ID, aggregated, lambda_event, orders
from chalicelib import definitions
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.aws.dead_letters_bucket import DeadLettersBucket
from chalicelib.aws.ids_table import IdsTable
from chalicelib.consumers.counted_ids import CountedIds
from chalicelib.consumers.ingest import Ingest
from chalicelib.consumers.ports import Done
from chalicelib.effects import Effect
from chalicelib.records.shard import Shard
from chalicelib.wiring.decoder import make_decoder

DAY_MS = 86_400_000
HORIZON_MS = 900_000
EVENTS_PER_BATCH = 10_000
EVENTS_PER_AGGREGATE = 200
EXACT_METRICS = tuple(metric for metric in definitions.METRICS if not metric.has_sketches)


class OneShard:
    """A stream of one shard."""

    def __init__(self, shard_id: str) -> None:
        self._shard = Shard(shard_id, is_open=True)

    def list_shards(self, timeout_ms: int) -> list[Shard]:  # noqa: ARG002  there is nothing to wait for
        """The one shard."""
        return [self._shard]


class NoEffects:
    """Runs nothing: what a handler does is not the cost of counting; that it is asked is."""

    def run_all(self, effects: Sequence[Effect], timeout_ms: int) -> list[Done]:  # noqa: ARG002  nothing is waited for
        """Claim that all is done."""
        return [Done() for _ in effects]


class InstantClient:
    """Answers every call at once and keeps nothing."""

    def put_item(self, **_: Any) -> dict[str, Any]:
        """DynamoDB's PutItem, which always succeeds."""
        return {}

    def get_paginator(self, _operation: str) -> "InstantClient":
        """The paginator of any operation."""
        return self

    def paginate(self, **_: Any) -> list[dict[str, Any]]:
        """Pages of DynamoDB's Query, which never finds anything."""
        return [{"Items": []}]


def make_ingest(
    client: Any, stage: str = "bench", metrics: Sequence[Metric] = definitions.METRICS, shard_id: str = SHARD_ID
) -> Ingest:
    """The real handler on this client, for the tables of this stage and one shard."""
    catalog = Catalog(definitions.EVENT_TYPES, metrics)
    table = AggregatesTable(client, f"highwater-{stage}-aggregates", catalog, DAY_MS)
    ids = CountedIds(IdsTable(client, f"highwater-{stage}-ids", DAY_MS), OneShard(shard_id), HORIZON_MS)
    return Ingest(
        catalog,
        make_decoder(catalog, DAY_MS, 300_000),
        partials=table,
        dead_letters=DeadLettersBucket(lambda: client, "none"),
        progress=table,
        ids=ids,
        handlers=definitions.HANDLERS,
        effects=NoEffects(),
    )


def decode_the_usual_way(event: dict[str, Any]) -> int:
    """The yardstick: how many user records it saw."""
    decoded = [orjson.loads(b64decode(r["kinesis"]["data"])) for r in iter_deaggregate_records(event["Records"])]
    return len(decoded)


def cpu_us(work: Callable[[], object], events: int) -> float:
    """CPU microseconds for each event."""
    started = process_time()
    work()
    return (process_time() - started) / events * 1e6


def main() -> None:
    arguments = argparse.ArgumentParser(description="CPU of the ingest handler for each user record")
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--customers", type=int, default=1_000)
    options = arguments.parse_args()
    ingests = {
        "Highwater's ingest, whole": make_ingest(InstantClient(), metrics=EXACT_METRICS),
        "… with the metrics of sketches too": make_ingest(InstantClient()),
    }
    usual: list[float] = []
    ours: dict[str, list[float]] = {name: [] for name in ingests}
    for round_number in range(options.rounds):
        made = orders(EVENTS_PER_BATCH, customers=options.customers, seed=round_number)
        payloads = aggregated(made, EVENTS_PER_AGGREGATE)
        event = lambda_event(payloads, 1 + round_number * len(payloads))
        usual.append(cpu_us(bind(decode_the_usual_way, event), EVENTS_PER_BATCH))
        for name, ingest in ingests.items():
            ours[name].append(cpu_us(bind(ingest, event, lambda: 60_000), EVENTS_PER_BATCH))
    table = Table("", "µs CPU a user record (median)", "ratio", title="KPL aggregates of 200 orders, 10 000 a batch")
    table.add_row("deaggregate + base64 + orjson.loads alone", f"{median(usual):.2f}", "1.00")
    for name, each in ours.items():
        table.add_row(name, f"{median(each):.2f}", f"{median(each) / median(usual):.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
