"""Makes the inputs of tests: events, payloads, records, Lambda events; each says only what matters to the test."""

import gzip
import io
from base64 import b64encode

import orjson
import zstandard
from aws_kinesis_agg.aggregator import AggRecord
from boto3.dynamodb.types import TypeSerializer

from chalicelib import definitions
from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.windows import format_instant
from chalicelib.aws.letter_objects import LetterWriter
from chalicelib.records.batch import Record
from chalicelib.records.letter import Letter
from chalicelib.records.sequence import position
from chalicelib.wiring import decoder
from localstage.kinesis import lambda_record

MINUTE_MS = 60_000
DAY_MS = 86_400_000
NOON_MS = 1_795_521_600_000  # 2026-11-24T12:00:00Z: when the stream accepts the records of tests
STREAM = "highwater-test-events"
ORDERS_TABLE = "highwater-test-orders"
SHARD = "shardId-000000000000"

# Two metrics as they are shipped, and no more: a stage may well count other things.
CATALOG = Catalog(
    {"order.placed": definitions.OrderPlaced},
    [metric for metric in definitions.METRICS if metric.name in ("orders", "customers")],
)


# … and the orders table's changes with their metric.
CHANGES_CATALOG = Catalog(
    definitions.EVENT_TYPES, [metric for metric in definitions.METRICS if metric.name == "order_status"]
)


def make_decoder(catalog=CATALOG, lateness_ms=DAY_MS, future_tolerance_ms=5 * MINUTE_MS):
    return decoder.make_decoder(catalog, lateness_ms, future_tolerance_ms, {ORDERS_TABLE: "order.changed"})


def order(number=1, *, time="2026-11-24T11:59:30Z", amount=12.5, user_id="ada", **data):
    """An `order.placed` event as a dict; keyword arguments are its data."""
    return {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": "/tests",
        "type": "order.placed",
        "time": time,
        "data": {"order_id": f"order-{number}", "user_id": user_id, "amount": amount, **data},
    }


def table_change(old, new, *, event_id="change-1", sequence_number="111", created_at=NOON_MS // 1000):
    """A record of the orders table's stream, as Lambda hands it over; old and new are plain rows, or None."""
    return {
        "eventID": event_id,
        "eventVersion": "1.1",
        "awsRegion": "us-east-1",
        "eventSource": "aws:dynamodb",
        "eventSourceARN": f"arn:aws:dynamodb:us-east-1:000000000000:table/{ORDERS_TABLE}/stream/2026-11-24T00:00",
        "eventName": _event_name(old, new),
        "dynamodb": {
            **_images(old, new),
            "ApproximateCreationDateTime": created_at,
            "SequenceNumber": sequence_number,
            "SizeBytes": 99,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }


def key_change(pk, sk, number="7", *, event_name="MODIFY", **more):
    """A record of the aggregates table's stream, which carries keys alone."""
    return {
        "eventID": "1",
        "eventName": event_name,
        "eventSource": "aws:dynamodb",
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/highwater-test-aggregates/stream/2026-11-24",
        "dynamodb": {
            "ApproximateCreationDateTime": NOON_MS / 1000,
            "Keys": {"pk": {"S": pk}, "sk": {"S": sk}},
            "SequenceNumber": number,
            "SizeBytes": 10,
            "StreamViewType": "KEYS_ONLY",
        },
        **more,
    }


def kinesis_change(old, new, *, event_id="change-1", table=ORDERS_TABLE, created_at=NOON_MS, precision=None):
    """What Kinesis Data Streams for DynamoDB puts on a stream for a change."""
    return {
        "awsRegion": "us-east-1",
        "eventID": event_id,
        "eventName": _event_name(old, new),
        "userIdentity": None,
        "recordFormat": "application/json",
        "tableName": table,
        "dynamodb": {
            "ApproximateCreationDateTime": created_at,
            **_images(old, new),
            "SizeBytes": 99,
            **({"ApproximateCreationDateTimePrecision": precision} if precision else {}),
        },
        "eventSource": "aws:dynamodb",
    }


def _event_name(old, new):
    return "INSERT" if old is None else "REMOVE" if new is None else "MODIFY"


def _images(old, new):
    rows = {name: row for name, row in (("OldImage", old), ("NewImage", new)) if row is not None}
    images = {name: {attribute: _typed(value) for attribute, value in row.items()} for name, row in rows.items()}
    (order_id, *_) = [row["order_id"] for row in rows.values()] or ["order-1"]
    return {"Keys": {"order_id": _typed(order_id)}, **images}


def _typed(value):
    typed = TypeSerializer().serialize(value)
    return {"SS": sorted(typed["SS"])} if "SS" in typed else typed


def order_changed(old, new, number=1, *, time="2026-11-24T11:59:30Z"):
    """An `order.changed` event as a dict; old and new are rows, or None."""
    return order(number, time=time) | {"type": "order.changed", "data": {"old": old, "new": new}}


def json_line(event) -> bytes:
    return orjson.dumps(event)


def json_lines(*events) -> bytes:
    return b"\n".join(map(orjson.dumps, events))


def gzipped(payload: bytes) -> bytes:
    return gzip.compress(payload, mtime=0)


def zstd(payload: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(payload)


def aggregated(*payloads: bytes, partition_key="ada") -> bytes:
    """A KPL aggregate of these payloads."""
    aggregate = AggRecord()
    for payload in payloads:
        aggregate.add_user_record(partition_key, payload)
    return aggregate.get_contents()[2]


def record(data: bytes, sequence_number=1, *, partition_key="ada", arrived_at_ms=NOON_MS) -> Record:
    number = str(sequence_number)
    return Record(number, position(number), partition_key, arrived_at_ms, data)


def lambda_event(payloads, *, first=1, shard=SHARD, stream=STREAM, arrived_at_ms=NOON_MS, partition_key="ada"):
    """Lambda's event of these payloads, with sequence numbers `first`, `first + 1`, …"""
    return {
        "Records": [
            lambda_record(
                {
                    "PartitionKey": partition_key,
                    "SequenceNumber": str(number),
                    "Data": b64encode(payload).decode(),
                    "ApproximateArrivalTimestamp": arrived_at_ms / 1000,
                },
                shard_id=shard,
                stream_arn=f"arn:aws:kinesis:us-east-1:000000000000:stream/{stream}",
                role_arn="arn:aws:iam::000000000000:role/ingest",
            )
            for number, payload in enumerate(payloads, first)
        ]
    }


def create_table(dynamodb, name):
    """Create a table with the keys `pk` and `sk`."""
    keys = {"pk": "HASH", "sk": "RANGE"}
    dynamodb.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
    )


def letter(
    data: bytes, reason="invalid", *, sequence_number="7", sub=None, partition_key="ada", arrived_at_ms=NOON_MS
) -> Letter:
    """A dead letter; its error is not looked at by anything."""
    arrived_at = format_instant(arrived_at_ms)
    return Letter(reason, "wrong", STREAM, SHARD, sequence_number, sub, partition_key, arrived_at, data)


def letters_object(*letters: Letter) -> bytes:
    """An object of these dead letters."""
    file = io.BytesIO()
    writer = LetterWriter(file)
    for each in letters:
        writer.write(each)
    writer.close()
    return file.getvalue()


def undeliverable_object(*payloads: bytes) -> bytes:
    """What Lambda keeps of records with these payloads when it could not deliver them."""
    batch = orjson.dumps(lambda_event(payloads)).decode()
    return orjson.dumps({"version": "1.0", "KinesisBatchInfo": {"batchSize": len(payloads)}, "payload": batch})
