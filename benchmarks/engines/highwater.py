"""Highwater's whole ingest as an engine: what the function runs, on a client that answers at once."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from functools import partial as bind
from typing import Any

from benchmarks.engines.engine import AGGREGATES, KPL, PLAIN, RECORDS, InProcess
from benchmarks.engines.totals import MINUTE_CHARACTERS, Totals
from benchmarks.engines.workload import Workload
from benchmarks.ingest_cpu import EXACT_METRICS, InstantClient, make_ingest
from chalicelib import definitions
from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.partial import decode_partial
from chalicelib.aggregates.windows import format_instant
from chalicelib.aws.aggregates_keys import window_start_of
from chalicelib.consumers.ingest import Ingest
from chalicelib.identity.judge import Judged
from chalicelib.records.batch import Batch
from chalicelib.records.decode import Decoded
from chalicelib.records.shard import Shard

INVOCATION_MS = 60_000
(ORDERS,) = (metric for metric in definitions.METRICS if metric.name == "orders")
ONE_METRIC = (ORDERS,)

Item = Mapping[str, Mapping[str, Any]]


class Keeping:
    """A DynamoDB client that also keeps the latest item under each key, so that what was counted can be read."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.items: dict[tuple[str, str, str], Item] = {}

    def put_item(self, **request: Any) -> Any:
        """DynamoDB's PutItem."""
        answer = self._client.put_item(**request)
        item = request["Item"]
        self.items[request["TableName"], item["pk"]["S"], item["sk"]["S"]] = item
        return answer

    def totals(self) -> Totals:
        """What was counted of the metric `orders`."""
        totals: Totals = {}
        for (_, partition_key, sort_key), item in self.items.items():
            if not partition_key.startswith(f"{ORDERS.name}#"):
                continue
            minute = format_instant(window_start_of(sort_key))[:MINUTE_CHARACTERS]
            for (currency, order_type), states in decode_partial(ORDERS, item["groups"]["B"]).items():
                answer: dict[str, Any] = ORDERS.finish(states)
                totals[minute, currency, order_type] = (answer["count"], answer["revenue"])
        return totals

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def count(ingest: Ingest, event: Mapping[str, Any]) -> None:
    """Have a batch counted.

    Raises: RuntimeError when it is not counted whole.
    """
    report = ingest(event, lambda: INVOCATION_MS)
    if report.failed_sequence_number or report.duplicates or report.dead_letters:
        raise RuntimeError(f"a batch was not counted whole: {report}")


def engines(workload: Workload) -> list[InProcess]:
    """Ingest of all metrics that are shipped, of the exact ones, and of the one that all engines count."""
    return [
        InProcess(name, KPL, note, workload, AGGREGATES, bind(_begin, metrics))
        for name, note, metrics in (
            ("Highwater", "the metrics shipped, those of sketches too; id log", definitions.METRICS),
            ("Highwater, exact metrics", "those without sketches; id log", EXACT_METRICS),
            ("Highwater, one metric", "`orders` alone; id log", ONE_METRIC),
        )
    ] + [
        InProcess(
            "Highwater, one metric, plain records",
            RECORDS,
            "`orders` alone; id log",
            workload,
            PLAIN,
            bind(_begin, ONE_METRIC),
        ),
        InProcess(
            "Highwater, one metric, no ids",
            KPL,
            "`orders` alone; ids are fingerprinted, and neither looked up, remembered nor logged",
            workload,
            AGGREGATES,
            _begin_without_ids,
        ),
    ]


class NoIds:
    """In the place of the id log: takes every event for new, and remembers none."""

    held = 0

    def shard(self, shard_id: str, timeout_ms: int) -> Shard:  # noqa: ARG002  there is nothing to wait for
        """The one shard."""
        return Shard(shard_id, is_open=True)

    def judge(self, batch: Batch, decoded: Sequence[Decoded], time_left_ms: Callable[[], int]) -> Judged:  # noqa: ARG002
        """All is to be counted."""
        return Judged(decoded, array("Q"), array("L"))

    def remember(self, batch: Batch, judged: Judged, done: int, timeout_ms: int) -> tuple[float, int]:  # noqa: ARG002
        """Log nothing."""
        return 0.0, 0


def _begin(metrics: Sequence[Metric]) -> tuple[Callable[[Any], object], Callable[[], Totals]]:
    client = Keeping(InstantClient())
    return bind(count, make_ingest(client, metrics=metrics)), client.totals


def _begin_without_ids() -> tuple[Callable[[Any], object], Callable[[], Totals]]:
    client = Keeping(InstantClient())
    ingest = make_ingest(client, metrics=ONE_METRIC)
    ids: Any = NoIds()
    ingest._ids = ids  # noqa: SLF001  nobody else is to be able to do without
    return bind(count, ingest), client.totals
