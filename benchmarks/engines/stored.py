"""What stores: Highwater, and Powertools' BatchProcessor with Idempotency as documented.

Both against an emulated DynamoDB in a process of its own: CPU is that of this process, puts included; requests are
counted as they are sent, write units by the sizes of the items.

Idempotency has two requests an event, one before and one after its handler; a sample of the events is enough for it.
Its handler counts in memory and stores nothing, as it must for each event once to be exact.

Source: Powertools for AWS Lambda (Python), "Idempotency", "Batch integration". Of SQS its key is `messageId`; `eventID`
is what a record of Kinesis has for it.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)

from benchmarks.capacity import CountingClient
from benchmarks.engines.engine import AGGREGATES, KPL, PLAIN, RECORDS, Pass, timed
from benchmarks.engines.highwater import Keeping, count
from benchmarks.engines.in_lambda import Context
from benchmarks.engines.totals import Groups, add, totals_of
from benchmarks.engines.workload import Batch, LambdaEvent, Workload
from benchmarks.ingest_cpu import make_ingest
from chalicelib.aggregates.metric import Metric
from localstage import aws
from localstage.capacity import WRITE_UNIT_BYTES, item_bytes
from ops.resources import ensure

IDEMPOTENCY_TABLE = "bench-idempotency"


class Requests:
    """Counts what a client sends, each try of it."""

    def __init__(self, client: Any) -> None:
        self.sent: Counter[str] = Counter()
        client.meta.events.register("before-send.dynamodb", self._count)

    def _count(self, event_name: str, **_: Any) -> None:
        self.sent[event_name.rpartition(".")[2]] += 1


class StoredHighwater:
    """Ingest against a stage of its own for each pass."""

    reads = KPL

    def __init__(self, name: str, note: str, workload: Workload, endpoint_url: str, metrics: Sequence[Metric]) -> None:
        self.name, self.note, self.workload = name, note, workload
        self._endpoint_url, self._metrics = endpoint_url, metrics

    def warm_up(self) -> list[float]:
        """Count the first of the batches."""
        self._count("warm", self.workload.batches[:1])
        return []

    def run(self, round_number: int) -> Pass:
        """Count the events, from nothing."""
        return self._count(str(round_number), self.workload.batches)

    def _count(self, name: str, batches: Sequence[Batch]) -> Pass:
        stage = f"b{len(self._metrics)}-{name}"
        ensure(stage, endpoint_url=self._endpoint_url, session=aws.session(), shards=1)
        client = aws.client("dynamodb", self._endpoint_url)
        requests, counting = Requests(client), CountingClient(client)
        keeping = Keeping(counting)
        ingest = make_ingest(keeping, stage, self._metrics)

        def take(event: LambdaEvent) -> None:
            count(ingest, event)

        cpu_seconds, wall_seconds = timed(take, map(AGGREGATES, batches))
        counted = {"requests": requests.sent.total(), "write_units": counting.write_units.total()}
        return Pass(keeping.totals(), len(self.workload.lines), cpu_seconds, wall_seconds, counted)


class StoredIdempotency:
    """BatchProcessor + Idempotency, as documented, on a table of its own for each pass."""

    name = "Powertools BatchProcessor + Idempotency"
    reads = RECORDS
    note = "idempotent_function by eventID, DynamoDBPersistenceLayer; a handler that folds data_as_json()"

    def __init__(self, workload: Workload, endpoint_url: str) -> None:
        self.workload = workload
        self._endpoint_url = endpoint_url

    def warm_up(self) -> list[float]:
        """Count a few of the events."""
        self._count("warm", self.workload.first(1))
        return []

    def run(self, round_number: int) -> Pass:
        """Count the events, from nothing."""
        return self._count(str(round_number), self.workload)

    def _count(self, name: str, workload: Workload) -> Pass:
        table = f"{IDEMPOTENCY_TABLE}-{name}"
        client = aws.client("dynamodb", self._endpoint_url)
        client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        requests, groups = Requests(client), Groups()
        take = _idempotent(DynamoDBPersistenceLayer(table, boto3_client=client), groups)
        cpu_seconds, wall_seconds = timed(take, map(PLAIN, workload.batches))
        counted = {"requests": requests.sent.total(), "write_units": _write_units(client, table, requests)}
        return Pass(totals_of(groups), len(workload.lines), cpu_seconds, wall_seconds, counted)


def _idempotent(layer: DynamoDBPersistenceLayer, groups: Groups) -> Callable[[LambdaEvent], None]:
    processor = BatchProcessor(event_type=EventType.KinesisDataStreams)
    config = IdempotencyConfig(event_key_jmespath="eventID")
    context: Any = Context()

    def fold_record(record: KinesisStreamRecord) -> None:
        add(groups, record.kinesis.data_as_json())

    once = idempotent_function(data_keyword_argument="record", config=config, persistence_store=layer)
    handle_record: Callable[..., None] = once(fold_record)

    def handle(event: LambdaEvent) -> None:
        config.register_lambda_context(context)
        answer = process_partial_response(
            event=event, record_handler=handle_record, processor=processor, context=context
        )
        if answer["batchItemFailures"]:
            raise RuntimeError(f"records failed: {len(answer['batchItemFailures'])}")

    return handle


def _write_units(client: Any, table: str, requests: Requests) -> int:
    """What the writes took: one each, if no item is larger than a unit."""
    pages = client.get_paginator("scan").paginate(TableName=table)
    largest = max(item_bytes(_sized(item)) for page in pages for item in page["Items"])
    if largest > WRITE_UNIT_BYTES:
        raise RuntimeError(f"an item of {largest} bytes takes more than one write unit")
    return requests.sent["PutItem"] + requests.sent["UpdateItem"]


def _sized(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if "NULL" not in value}  # which take a byte
