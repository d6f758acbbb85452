"""One PutRecords request until its records are accepted: only what was refused is put again.

PutRecords can accept some records of a request and refuse others. To put the whole request again would double those
that it accepted; to take its HTTP 200 for success would lose those that it refused.

Source: Kinesis Developer Guide, "Add multiple records with PutRecords", and the Kinesis API Reference, "PutRecords".
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from loadtest.producer.packing import Record

REQUEST_RECORDS_MAX = 500
REQUEST_BYTES_MAX = 5 * 1024 * 1024
DOUBLINGS_MAX = 32  # of a pause: whoever never gives up would come to more than a float holds


class KinesisClient(Protocol):
    """What the producer needs of boto3's Kinesis client."""

    def put_records(self, **request: Any) -> Mapping[str, Any]:
        """PutRecords."""

    def list_shards(self, **request: Any) -> Mapping[str, Any]:
        """ListShards."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the stream has accepted. Receipts add up.

    Units: size_bytes, as Kinesis counts them, payloads and partition keys; retries, records put again after a refusal.
    """

    events: int = 0
    records: int = 0
    size_bytes: int = 0
    retries: int = 0
    last_sequence_numbers: Mapping[str, str] = field(default_factory=dict)

    def __add__(self, other: "Receipt") -> "Receipt":
        last = dict(self.last_sequence_numbers)
        for shard_id, sequence_number in other.last_sequence_numbers.items():
            _advance(last, shard_id, sequence_number)
        return Receipt(
            self.events + other.events,
            self.records + other.records,
            self.size_bytes + other.size_bytes,
            self.retries + other.retries,
            last,
        )


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and how patiently, refused records are put again: exponential backoff with full jitter.

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter".
    """

    attempts_max: int = 10
    base_seconds: float = 0.1
    cap_seconds: float = 5.0
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random

    def pause(self, failed_attempts: int) -> None:
        """Wait before the next attempt, longer (by chance) the more have failed."""
        doublings = min(failed_attempts, DOUBLINGS_MAX)
        self.sleep(self.random() * min(self.cap_seconds, self.base_seconds * 2**doublings))


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a request ended: what was accepted, what was not, and the service's codes for why not."""

    accepted: Receipt = field(default_factory=Receipt)
    unaccepted: tuple[Record, ...] = ()
    reasons: frozenset[str] = frozenset()


def deliver(client: KinesisClient, stream: str, records: Sequence[Record], retry: Retry) -> Delivery:
    """Put the records, and those refused again, until all are accepted or the attempts are used up.

    Shapes: records, no more than one request may hold (`split_request`).
    Returns: a Delivery; it raises for no answer of the service, so that no record is ever lost in a traceback. When a
             whole request fails (botocore has retried it by then) its records are unaccepted.
    """
    delivery = Delivery(unaccepted=tuple(records))
    for attempt in range(retry.attempts_max):
        if attempt:
            retry.pause(attempt)
        entries = [{"PartitionKey": record.partition_key, "Data": record.data} for record in delivery.unaccepted]
        try:
            response = client.put_records(StreamName=stream, Records=entries)
        except (BotoCoreError, ClientError) as error:
            return Delivery(delivery.accepted, delivery.unaccepted, frozenset({reason(error)}))
        retries = Receipt(retries=len(entries) if attempt else 0)
        answer = read_answer(delivery.unaccepted, response["Records"])
        delivery = Delivery(delivery.accepted + retries + answer.accepted, answer.unaccepted, answer.reasons)
        if not delivery.unaccepted:
            break
    return delivery


def read_answer(records: Sequence[Record], answers: Sequence[Mapping[str, Any]]) -> Delivery:
    """Which records one PutRecords response accepts and which it refuses, by place. Pure."""
    accepted: list[Record] = []
    refused: list[Record] = []
    reasons: set[str] = set()
    last: dict[str, str] = {}
    for record, answer in zip(records, answers, strict=True):
        if "ErrorCode" in answer:
            refused.append(record)
            reasons.add(answer["ErrorCode"])
        else:
            accepted.append(record)
            _advance(last, answer["ShardId"], answer["SequenceNumber"])
    receipt = Receipt(
        events=sum(len(record.events) for record in accepted),
        records=len(accepted),
        size_bytes=sum(record.size_bytes for record in accepted),
        last_sequence_numbers=last,
    )
    return Delivery(receipt, tuple(refused), frozenset(reasons))


def split_request(records: Sequence[Record]) -> int:
    """How many of the first records one request may hold: 500 and 5 MiB at most. Pure."""
    request_bytes = 0
    for count, record in enumerate(records[:REQUEST_RECORDS_MAX]):
        request_bytes += record.size_bytes
        if request_bytes > REQUEST_BYTES_MAX:
            return count
    return min(len(records), REQUEST_RECORDS_MAX)


def _advance(last: dict[str, str], shard_id: str, sequence_number: str) -> None:
    # To the greatest, not to the latest: PutRecords does not promise to order the records of one request.
    last[shard_id] = max(last.get(shard_id, "0"), sequence_number, key=int)


def reason(error: BotoCoreError | ClientError) -> str:
    """The error's name, and not its message, which may quote what was sent."""
    return error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
