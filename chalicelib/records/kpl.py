"""The KPL's aggregated record format: one Kinesis record that carries many user records.

Only this file imports `aws_kinesis_agg`, whose modules load in one order only: `deaggregator` first, for it puts the
package's own folder on `sys.path`, which `messages_pb2` needs to find its neighbour `config_pb2`. They are loaded with
the first aggregate: with protobuf they cost more of a cold start than all that reads other records.

We use the library's protobuf messages and check what its deaggregator does not: that re-encodes every record in
base64, silently drops the records behind a bad index, and passes a corrupt digest through.

Source: "KPL Aggregated Record Format", awslabs/amazon-kinesis-producer, aggregation-format.md.
"""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from hashlib import md5
from typing import Any

from aws_kinesis_agg import DIGEST_SIZE, MAGIC
from msgspec import Struct

SIGNATURE = "a"  # the partition key of every record that the KPL itself aggregated; what counts is its hash key
HASH_KEYS = range(2**128)
HASH_KEYS_CACHED = 16_384


class BrokenAggregateError(ValueError):
    """The record opens as an aggregate and is none: digest, protobuf or an index is wrong. The message names which."""


class Aggregate(Struct, frozen=True):
    """The user records of one aggregated record, in order.

    Shapes: `partition_key_table[partition_key_indexes[i]]` is the key that `payloads[i]` was put under;
            explicit_hash_key_indexes likewise, None where it has none.
    """

    payloads: Sequence[bytes]
    partition_key_table: Sequence[str]
    partition_key_indexes: Sequence[int]
    explicit_hash_keys: Sequence[int] = ()
    explicit_hash_key_indexes: Sequence[int | None] = ()

    def partition_key(self, sub_sequence_number: int) -> str:
        """The partition key of one user record."""
        return self.partition_key_table[self.partition_key_indexes[sub_sequence_number]]

    def within(self, hash_keys: range) -> list[int]:
        """Which user records belong to a shard that takes these hash keys, by their sub-sequence numbers."""
        if not any(index is not None for index in self.explicit_hash_key_indexes):
            belongs = [hash_key_of(key) in hash_keys for key in self.partition_key_table]
            return [number for number, index in enumerate(self.partition_key_indexes) if belongs[index]]
        return [number for number in range(len(self.payloads)) if self._hash_key(number) in hash_keys]

    def _hash_key(self, number: int) -> int:
        explicit = self.explicit_hash_key_indexes[number]
        return hash_key_of(self.partition_key(number)) if explicit is None else self.explicit_hash_keys[explicit]


@lru_cache(HASH_KEYS_CACHED)
def hash_key_of(partition_key: str) -> int:
    """The 128-bit number by which Kinesis finds the shard of a partition key."""
    return int.from_bytes(md5(partition_key.encode(), usedforsecurity=False).digest())


def is_aggregate(data: bytes) -> bool:
    """Whether the bytes announce an aggregate; no CloudEvent, gzip or zstd payload can open like this."""
    return data.startswith(MAGIC)


def deaggregate(data: bytes) -> Aggregate:
    """Open an aggregated record.

    Raises: BrokenAggregateError when any part of it cannot be trusted; nothing of it is used then.
    """
    body, digest = data[len(MAGIC) : -DIGEST_SIZE], data[-DIGEST_SIZE:]
    if md5(body, usedforsecurity=False).digest() != digest:
        raise BrokenAggregateError("the MD5 digest does not match")
    message, columns = _parse(body)
    if not message.records:
        raise BrokenAggregateError("it holds no user record")
    partition_key_indexes = list(columns.records.partition_key_index)
    payloads = list(columns.records.data)
    count = len(message.records)
    # As many of each as records, and none has two, for then one of them would not be written again: so each has one.
    has_one_each = count == len(payloads) == len(partition_key_indexes) and message.SerializePartialToString() == body
    if not has_one_each or columns.records.explicit_hash_key_index or message.explicit_hash_key_table:
        return _read_one_by_one(message, columns.partition_key_table)
    _check_partition_keys(columns.partition_key_table, partition_key_indexes)
    return Aggregate(payloads, message.partition_key_table, partition_key_indexes)


def _read_one_by_one(message: Any, partition_key_table: Sequence[bytes]) -> Aggregate:
    records = list(message.records)  # the container makes a wrapper anew for each record, each time one goes through it
    partition_key_indexes = [record.partition_key_index for record in records]
    _check_partition_keys(partition_key_table, partition_key_indexes)
    # A record without an explicit hash key reads as index 0, which is right with an empty table too.
    highest_hash_key_index = max(record.explicit_hash_key_index for record in records)
    if highest_hash_key_index and highest_hash_key_index >= len(message.explicit_hash_key_table):
        raise BrokenAggregateError("an explicit hash key index points behind its table")
    payloads = [record.data for record in records]
    if not message.explicit_hash_key_table:
        return Aggregate(payloads, message.partition_key_table, partition_key_indexes)
    explicit_hash_key_indexes = [
        record.explicit_hash_key_index if record.HasField("explicit_hash_key_index") else None for record in records
    ]
    explicit_hash_keys = list(map(_parse_hash_key, message.explicit_hash_key_table))
    return Aggregate(
        payloads, message.partition_key_table, partition_key_indexes, explicit_hash_keys, explicit_hash_key_indexes
    )


def _check_partition_keys(table: Sequence[bytes], indexes: Sequence[int]) -> None:
    if max(indexes) >= len(table):
        raise BrokenAggregateError("a partition key index points behind its table")
    try:
        b"\n".join(table).decode()  # a line feed is part of no longer sequence, so no key borrows from its neighbour
    except UnicodeDecodeError as error:
        raise BrokenAggregateError("a partition key is not UTF-8") from error  # Kinesis itself takes no such key


def _parse(body: bytes) -> tuple[Any, Any]:
    message_class, columns_class, decode_error = _message_classes()
    try:
        return message_class.FromString(body), columns_class.FromString(body)
    except decode_error as error:
        raise BrokenAggregateError("the protobuf message cannot be parsed") from error


@cache
def _message_classes() -> tuple[Any, Any, type[Exception]]:
    """The library's class of the message, a class that reads the same bytes as columns, and what both raise for others.

    Why columns: a field of a message that comes several times and is declared as one is merged, field by field
            (Protocol Buffers, "Encoding", "Last One Wins"). So all user records are parsed as one whose fields repeat:
            a list of payloads comes of it without a wrapper for each record, which was half of opening an aggregate
            apart from MD5.
    """
    import aws_kinesis_agg.deaggregator  # noqa: F401, PLC0415  must come before messages_pb2, see above
    from aws_kinesis_agg import messages_pb2  # noqa: PLC0415
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: PLC0415
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="columns.proto", package="highwater", syntax="proto2")
    records = file.message_type.add(name="Records")
    for number, (name, kind) in enumerate(
        (
            ("partition_key_index", field.TYPE_UINT64),
            ("explicit_hash_key_index", field.TYPE_UINT64),
            ("data", field.TYPE_BYTES),
        ),
        start=1,
    ):
        records.field.add(name=name, number=number, type=kind, label=field.LABEL_REPEATED)
    columns = file.message_type.add(name="Columns")
    columns.field.add(name="partition_key_table", number=1, type=field.TYPE_BYTES, label=field.LABEL_REPEATED)
    columns.field.add(
        name="records", number=3, type=field.TYPE_MESSAGE, type_name=".highwater.Records", label=field.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    columns_class = message_factory.GetMessageClass(pool.FindMessageTypeByName("highwater.Columns"))
    return messages_pb2.AggregatedRecord, columns_class, DecodeError


def _parse_hash_key(text: str | bytes) -> int:
    if not (isinstance(text, str) and re.fullmatch(r"[0-9]{1,39}", text) and int(text) in HASH_KEYS):
        raise BrokenAggregateError("an explicit hash key is no decimal number below 2^128")
    return int(text)
