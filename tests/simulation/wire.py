"""The bytes that producers make of payloads: compressed, in lines, aggregated.

The aggregate is written field by field, so that it owes nothing to the library with which the code under test reads it.

Source: "KPL Aggregated Record Format", awslabs/amazon-kinesis-producer, aggregation-format.md.
"""

import gzip
from collections.abc import Sequence
from functools import cache
from hashlib import md5

import zstandard

AGGREGATE_MAGIC = b"\xf3\x89\x9a\xc2"
ZSTD = zstandard.ZstdCompressor(level=1)  # one for all: making one costs more than using it

KeyedPayload = tuple[str, int | None, bytes]  # partition key, explicit hash key if any, payload


def gzipped(payload: bytes) -> bytes:
    return gzip.compress(payload, compresslevel=1, mtime=0)


def zstd(payload: bytes) -> bytes:
    return ZSTD.compress(payload)


def aggregated(user_records: Sequence[KeyedPayload]) -> bytes:
    """One aggregate of these user records; each key stands once in its table, in order of first use."""
    partition_keys = _table(partition_key for partition_key, _, _ in user_records)
    hash_keys = _table(hash_key for _, hash_key, _ in user_records if hash_key is not None)
    # A field opens with its number and its wire type: 0 for a varint, 2 for bytes with their length before them.
    body = [b"\x0a" + _sized(key.encode()) for key in partition_keys]
    body += [b"\x12" + _sized(str(key).encode()) for key in hash_keys]
    for partition_key, hash_key, payload in user_records:
        record = b"\x08" + _varint(partition_keys[partition_key])
        if hash_key is not None:
            record += b"\x10" + _varint(hash_keys[hash_key])
        record += b"\x1a" + _sized(payload)
        body.append(b"\x1a" + _sized(record))
    message = b"".join(body)
    return AGGREGATE_MAGIC + message + md5(message, usedforsecurity=False).digest()


def broken(aggregate: bytes) -> bytes:
    """The aggregate with one bit of its digest turned."""
    return aggregate[:-1] + bytes([aggregate[-1] ^ 1])


def _table(keys):
    return {key: place for place, key in enumerate(dict.fromkeys(keys))}


def _sized(value: bytes) -> bytes:
    return _varint(len(value)) + value


@cache
def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    return bytes((value & 0x7F | 0x80,)) + _varint(value >> 7)
