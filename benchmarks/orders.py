"""Made-up orders for the benchmarks: CloudEvents of some 246 bytes, and the Lambda events that carry them."""

import random
from base64 import b64encode
from itertools import count
from typing import Any, NamedTuple

import orjson
from aws_kinesis_agg.aggregator import AggRecord

from chalicelib.aggregates.windows import format_instant
from localstage.kinesis import lambda_record

SHARD_ID = "shardId-000000000000"
ARRIVED_AT_MS = 1_795_468_800_000
CURRENCIES = ("USD", "EUR", "GBP", "JPY")
ORDER_TYPES = ("standard", "express", "gift")


class Order(NamedTuple):
    """An event and the key it is put under."""

    partition_key: str
    data: bytes


def orders(
    count: int,
    *,
    customers: int = 1_000,
    spread_ms: int = 60_000,
    seed: int = 1,
    arrived_at_ms: int = ARRIVED_AT_MS,
) -> list[Order]:
    """Make events whose times lie within `spread_ms` before the arrival; customers are Zipf-like, as buyers are."""
    chance = random.Random(seed)
    ranks = range(1, customers + 1)
    users = chance.choices(ranks, weights=[1 / rank for rank in ranks], k=count)
    return [
        _order(chance, number, f"customer-{user:05d}", arrived_at_ms - chance.randrange(spread_ms))
        for number, user in enumerate(users)
    ]


def _order(chance: random.Random, number: int, user_id: str, time_ms: int) -> Order:
    event = {
        "specversion": "1.0",
        "id": f"{number:08x}-{chance.getrandbits(32):08x}",
        "source": "/shop/checkout",
        "type": "order.placed",
        "time": format_instant(time_ms),
        "data": {
            "order_id": f"order-{number:08d}",
            "user_id": user_id,
            "amount": min(int(1_000 * chance.paretovariate(1.2)), 999_999) / 100,  # some in a thousand are large
            "currency": chance.choice(CURRENCIES),
            "order_type": chance.choice(ORDER_TYPES),
        },
    }
    return Order(user_id, orjson.dumps(event))


def aggregated(orders: list[Order], per_record: int) -> list[bytes]:
    """Pack events into KPL aggregates of so many each."""
    return [_aggregate(orders[start : start + per_record]) for start in range(0, len(orders), per_record)]


def _aggregate(orders: list[Order]) -> bytes:
    aggregate = AggRecord()
    for order in orders:
        aggregate.add_user_record(order.partition_key, order.data)
    data: bytes = aggregate.get_contents()[2]
    return data


def lambda_event(
    payloads: list[bytes],
    first_sequence_number: int = 1,
    step: int = 1,
    *,
    shard_id: str = SHARD_ID,
    arrived_at_ms: int = ARRIVED_AT_MS,
) -> dict[str, Any]:
    """Wrap payloads as Lambda hands a shard's records to a function."""
    return {
        "Records": [
            lambda_record(
                {
                    "PartitionKey": "a",
                    "SequenceNumber": str(number),
                    "Data": b64encode(payload).decode(),
                    "ApproximateArrivalTimestamp": arrived_at_ms / 1000,
                },
                shard_id=shard_id,
                stream_arn="arn:aws:kinesis:us-east-1:000000000000:stream/highwater-bench-events",
                role_arn="arn:aws:iam::000000000000:role/ingest",
            )
            for number, payload in zip(count(first_sequence_number, step), payloads)
        ]
    }
