"""The ingest handler's own CPU for each user record, beside the yardstick Y and beside decoding the usual way.

    python -m benchmarks ingest_cpu

All take the same events, 10 000 orders a batch: as KPL aggregates of 200, and ingest as plain records too, of one order
each; only Y has them as plain lines (`benchmarks.yardstick`). The usual way is what
`aws_kinesis_agg.deaggregator.iter_deaggregate_records`, `base64` and `orjson.loads` cost and no more: it neither
checks, validates nor counts. Highwater's side is the whole handler (typed validation, ids, folding, absorbing, encoding
the items) and a client that answers at once in the place of AWS: with all metrics shipped, with the exact ones,
and with `orders` alone. CPU time of the process, all threads; each is held against a Y measured just before it, since
the machine is shared; the median of these ratios is the result.
"""

from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from aws_kinesis_agg.deaggregator import iter_deaggregate_records
from msgspec import Struct
from rich.progress import Progress

from benchmarks.orders import SHARD_ID, aggregated, lambda_event, orders
from benchmarks.page import Headline, Part, Table
from benchmarks.suite import Options
from benchmarks.yardstick import Paired
from benchmarks.yardstick import measure as pair
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

NAME = "ingest_cpu"
DAY_MS = 86_400_000
HORIZON_MS = 900_000
EVENTS_PER_BATCH = 10_000
EVENTS_PER_AGGREGATE = 200
SEQUENCE_NUMBER = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898  # as long as Kinesis's own
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
    """How many user records it saw."""
    decoded = [orjson.loads(b64decode(r["kinesis"]["data"])) for r in iter_deaggregate_records(event["Records"])]
    return len(decoded)


def counting(metrics: Sequence[Metric]) -> Callable[[Mapping[str, Any]], object]:
    """Whole ingest of these metrics."""
    ingest = make_ingest(InstantClient(), metrics=metrics)
    return lambda event: ingest(event, lambda: 60_000)


def batches(
    rounds: int, customers: int, per_record: int = EVENTS_PER_AGGREGATE
) -> Iterator[tuple[list[bytes], dict[str, Any]]]:
    """The rounds' events, each as lines and as the stream's next batch; one to a record is no aggregate."""
    first = SEQUENCE_NUMBER
    for seed in range(rounds):
        made = orders(EVENTS_PER_BATCH, customers=customers, seed=seed)
        payloads = [order.data for order in made] if per_record == 1 else aggregated(made, per_record)
        yield [order.data for order in made], lambda_event(payloads, first)
        first += len(payloads)


class Settings(Struct, frozen=True):
    """How many batches each counts, and of how many customers."""

    rounds: int = 15
    customers: int = 1_000


QUICK = Settings(2, 100)


def measure(options: Options, progress: Progress) -> dict[str, Paired]:
    """Returns: by what is done with the events, its CPU beside Y's."""
    settings: Settings = options.settings
    aggregates, plain = EVENTS_PER_AGGREGATE, 1
    # Made one by one: a container has one, and its memory.
    works: dict[str, tuple[int, Callable[[], Callable[[Any], object]]]] = {
        "deaggregate + base64 + orjson.loads alone": (aggregates, lambda: decode_the_usual_way),
        "Highwater's ingest, all metrics shipped": (aggregates, lambda: counting(definitions.METRICS)),
        "… the exact ones": (aggregates, lambda: counting(EXACT_METRICS)),
        "… `orders` alone": (aggregates, lambda: counting(definitions.METRICS[:1])),
        "… of plain records, all metrics shipped": (plain, lambda: counting(definitions.METRICS)),
        "… of plain records, `orders` alone": (plain, lambda: counting(definitions.METRICS[:1])),
    }
    return {
        name: pair(make(), batches(settings.rounds, settings.customers, per_record))
        for name, (per_record, make) in progress.track(works.items(), description="works")
    }


def describe(figures: Mapping[str, Mapping[str, float]]) -> Part:
    """What an event costs `ingest`."""
    rows = [
        [
            name,
            f"{each['us']:.2f}",
            f"{each['in_y']:.2f}",
            f"{each['in_y_lower']:.2f}-{each['in_y_upper']:.2f}",
            f"{each['y_us']:.2f}",
        ]
        for name, each in figures.items()
    ]
    return Part(
        "CPU of ingest",
        TEXT,
        [Table("CPU an event", ["", "µs an event", "in Y", "quartiles", "Y, µs"], rows)],
        headlines=[
            Headline(
                f"CPU of whole ingest an event, in Y (`orjson.loads` + `Decimal` + a dict): {names}",
                f"{figures[name]['in_y']:.2f}",
            )
            for name, names in (
                ("Highwater's ingest, all metrics shipped", "all metrics that are shipped"),
                ("… `orders` alone", "`orders` alone"),
            )
        ],
    )


TEXT = """\
KPL aggregates of 200 orders, or plain records of one, 10 000 orders a batch, through the whole handler with a client
that answers at once, beside Y: what `orjson.loads`, `Decimal` and a dict take for one metric of the same events as
plain lines, timed just before each batch. The usual way, `aws_kinesis_agg` with base64 and `orjson.loads`, neither
checks nor counts.
"""
