"""A stream in plain words: shards, their records, and what each record holds as its producer knows it.

Nothing here is decoded from bytes and nothing comes from the code under test: the producers write these descriptions
down beside the bytes that they put, and the oracle reads only the descriptions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from hashlib import md5

from msgspec import Struct

HASH_KEYS = range(2**128)
KPL_PARTITION_KEY = "a"  # what the KPL puts every aggregate under; where it goes is up to the explicit hash key


class Order(Struct, frozen=True):
    """What the metrics measure of an `order.placed`."""

    user_id: str
    currency: str
    order_type: str
    amount: Decimal


class Event(Struct, frozen=True):
    """A well-formed event. `text` is its JSON, byte for byte; `order` is None when no metric counts its type."""

    source: str
    id: str
    time_ms: int
    text: bytes
    order: Order | None = None

    @property
    def identity(self) -> tuple[str, str]:
        return self.source, self.id


class Poison(Struct, frozen=True):
    """Something that cannot be counted whenever it comes, and the reason that its dead letter must have."""

    reason: str


Piece = Event | Poison


class UserRecord(Struct, frozen=True):
    """The pieces of one payload, in order.

    `hash_key` is the effective one of a user record in an aggregate; None outside an aggregate, and of an aggregate
    that is broken, for none of its user records can be told.
    """

    pieces: tuple[Piece, ...]
    hash_key: int | None = None


class Put(Struct, frozen=True):
    """A record as a producer gives it to the stream."""

    partition_key: str
    explicit_hash_key: int | None
    data: bytes
    user_records: tuple[UserRecord, ...]

    @property
    def hash_key(self) -> int:
        """Which shard takes it: the one whose range holds this."""
        return effective_hash_key(self.partition_key, self.explicit_hash_key)

    def accepted(self, sequence_number: str, arrived_at_ms: int) -> "Record":
        """The record on its shard."""
        return Record(sequence_number, arrived_at_ms, self.partition_key, self.data, self.user_records)


class Record(Struct, frozen=True):
    """A record on a shard."""

    sequence_number: str
    arrived_at_ms: int
    partition_key: str
    data: bytes
    user_records: tuple[UserRecord, ...] = ()


@dataclass
class Shard:
    """A shard: the hash keys that it takes, the shards that it came from, and its records in order."""

    shard_id: str
    keys: range = HASH_KEYS
    parents: tuple[str, ...] = ()
    records: Sequence[Record] = field(default_factory=list)


def effective_hash_key(partition_key: str, explicit_hash_key: int | None) -> int:
    """Where a record goes: its explicit hash key if it has one, else the MD5 of its partition key.

    Source: Kinesis API reference, PutRecord, "ExplicitHashKey" and "PartitionKey".
    """
    return hash_key_of(partition_key) if explicit_hash_key is None else explicit_hash_key


@cache
def hash_key_of(partition_key: str) -> int:
    return int.from_bytes(md5(partition_key.encode(), usedforsecurity=False).digest(), "big")
