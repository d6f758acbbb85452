"""Made-up orders for the benchmarks: CloudEvents of some 246 bytes, and the Lambda events that carry them."""

import random
from base64 import b64encode
from typing import Any

import orjson

import chalicelib.records.kpl  # noqa: F401  loads aws_kinesis_agg in the only order that works
from aws_kinesis_agg.aggregator import AggRecord

ARRIVED_AT_MS = 1_795_468_800_000
CURRENCIES = ("USD", "EUR", "GBP", "JPY")
ORDER_TYPES = ("standard", "express", "gift")


def orders(count: int, *, customers: int = 1_000, spread_ms: int = 60_000, seed: int = 1) -> list[bytes]:
    """Make events whose times lie within `spread_ms` before the arrival; customers are Zipf-like, as buyers are."""
    chance = random.Random(seed)
    users = chance.choices(range(customers), weights=[1 / rank for rank in range(1, customers + 1)], k=count)
    return [_order(chance, number, user, spread_ms) for number, user in enumerate(users)]


def _order(chance: random.Random, number: int, user: int, spread_ms: int) -> bytes:
    time_ms = ARRIVED_AT_MS - chance.randrange(spread_ms)
    seconds, milliseconds = divmod(time_ms % 86_400_000, 1000)
    time = f"2026-11-23T{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{milliseconds:03d}Z"
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": f"{number:08x}-{chance.getrandbits(32):08x}",
            "source": "/shop/checkout",
            "type": "order.placed",
            "time": time,
            "data": {
                "order_id": f"order-{number:08d}",
                "user_id": f"customer-{user:05d}",
                "amount": chance.randrange(1, 1_000_000) / 100,
                "currency": chance.choice(CURRENCIES),
                "order_type": chance.choice(ORDER_TYPES),
            },
        }
    )


def aggregated(events: list[bytes], per_record: int) -> list[bytes]:
    """Pack events into KPL aggregates of so many each."""
    return [_aggregate(events[start : start + per_record]) for start in range(0, len(events), per_record)]


def _aggregate(events: list[bytes]) -> bytes:
    aggregate = AggRecord()
    for event in events:
        aggregate.add_user_record(f"customer-{event[-40:-35]!r}", event)
    data: bytes = aggregate.get_contents()[2]
    return data


def lambda_event(payloads: list[bytes], first_sequence_number: int = 1) -> dict[str, Any]:
    """Wrap payloads as Lambda hands a shard's records to a function."""
    shard = "shardId-000000000000"
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": "a",
                    "sequenceNumber": str(first_sequence_number + place),
                    "data": b64encode(payload).decode(),
                    "approximateArrivalTimestamp": ARRIVED_AT_MS / 1000,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"{shard}:{first_sequence_number + place}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": "arn:aws:iam::000000000000:role/ingest",
                "awsRegion": "us-east-1",
                "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/highwater-bench-events",
            }
            for place, payload in enumerate(payloads)
        ]
    }
