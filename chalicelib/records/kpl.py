"""The KPL's aggregated record format: one Kinesis record that carries many user records.

Only this file imports `aws_kinesis_agg`, whose modules load in one order only: `deaggregator` first, for it puts the
package's own folder on `sys.path`, which `messages_pb2` needs to find its neighbour `config_pb2`. They are loaded with
the first aggregate: with protobuf they cost more of a cold start than all that reads other records.

We use the library's protobuf messages and check what its deaggregator does not: that re-encodes every record in
base64, silently drops the records behind a bad index, and passes a corrupt digest through.

Source: "KPL Aggregated Record Format", awslabs/amazon-kinesis-producer, aggregation-format.md.
"""

import re
from collections.abc import Mapping, Sequence
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
            explicit_hash_key_indexes likewise, None where it has none. payloads may be protobuf's own container, which
            makes a payload anew each time it is asked for: make a list to go through them more than once.
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
    message = _parse_message(body)
    return _read_columns(message, body) or _read_one_by_one(message)


def _read_columns(message: Any, body: bytes) -> Aggregate | None:
    """Read an aggregate that is sound and has no explicit hash keys; None if it may be another.

    Why: a wrapper for each record, which `_read_one_by_one` has protobuf make, takes twice as long as all else of
         opening an aggregate, MD5 apart.
    """
    _, columns_class, codec_errors = _message_classes()
    try:
        columns = columns_class.FromString(body)
        is_written_alike = message.SerializeToString() == body
    except codec_errors:  # a text is not UTF-8, or a record lacks its index or its data, which protobuf does not write
        return None
    records, table = columns.records, columns.partition_key_table
    if records.explicit_hash_key_index or columns.explicit_hash_key_table:
        return None
    indexes = records.partition_key_index[:]
    # Each record has one of each: none lacks one or has two, for that would not be written alike. Nor has any more in a
    # field that it does not know, which columns do: a packed list of indexes. Then there would be more than records.
    has_one_each = is_written_alike and len(message.records) == len(records.data) == len(indexes)
    if not (indexes and has_one_each and max(indexes) < len(table)):
        return None
    return Aggregate(records.data, table, indexes)


def _read_one_by_one(message: Any) -> Aggregate:
    records = list(message.records)  # the container makes a wrapper anew for each record, each time one goes through it
    if not records:
        raise BrokenAggregateError("it holds no user record")
    partition_key_indexes = [record.partition_key_index for record in records]
    if max(partition_key_indexes) >= len(message.partition_key_table):
        raise BrokenAggregateError("a partition key index points behind its table")
    # protobuf hands text that is not UTF-8 over as bytes; Kinesis itself takes no such key.
    if not set(map(type, message.partition_key_table)) <= {str}:
        raise BrokenAggregateError("a partition key is not UTF-8")
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


def _parse_message(body: bytes) -> Any:
    message_class, _, codec_errors = _message_classes()
    try:
        return message_class.FromString(body)
    except codec_errors as error:
        raise BrokenAggregateError("the protobuf message cannot be parsed") from error


@cache
def _message_classes() -> tuple[Any, Any, tuple[type[Exception], ...]]:
    """The library's class of the message, ours that reads the same bytes as columns, and what both raise.

    Why that is the same: a field that is a message and declared to come once, and comes several times, is merged
            field by field. So all user records are parsed as one whose fields repeat. Text is declared as version 3
            has it: checked to be UTF-8.
    Source: Protocol Buffers, "Encoding", "Last One Wins"; "Language Guide (proto 3)", "Scalar Value Types".
    """
    import aws_kinesis_agg.deaggregator  # noqa: F401, PLC0415  must come before messages_pb2, see above
    from aws_kinesis_agg import messages_pb2  # noqa: PLC0415
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # noqa: PLC0415
    from google.protobuf.message import DecodeError, EncodeError  # noqa: PLC0415

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="columns.proto", package="highwater", syntax="proto3")

    def declare(message: str, repeated: Mapping[str, int]) -> Any:
        declared = file.message_type.add(name=message)
        for number, (name, kind) in enumerate(repeated.items(), start=1):
            declared.field.add(name=name, number=number, type=kind, label=field.LABEL_REPEATED)
        return declared

    number, text = field.TYPE_UINT64, field.TYPE_STRING
    declare("Records", {"partition_key_index": number, "explicit_hash_key_index": number, "data": field.TYPE_BYTES})
    columns = declare("Columns", {"partition_key_table": text, "explicit_hash_key_table": text})
    columns.field.add(
        name="records", number=3, type=field.TYPE_MESSAGE, type_name=".highwater.Records", label=field.LABEL_OPTIONAL
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    columns_class = message_factory.GetMessageClass(pool.FindMessageTypeByName("highwater.Columns"))
    return messages_pb2.AggregatedRecord, columns_class, (DecodeError, EncodeError)


def _parse_hash_key(text: str | bytes) -> int:
    if not (isinstance(text, str) and re.fullmatch(r"[0-9]{1,39}", text) and int(text) in HASH_KEYS):
        raise BrokenAggregateError("an explicit hash key is no decimal number below 2^128")
    return int(text)
