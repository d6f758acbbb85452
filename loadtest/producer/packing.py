"""Events into Kinesis records: which events may share one, and what its bytes are. Pure.

All events of a record must hash into one shard: a shard is the one writer that knows which events it has counted, so
an event that travelled with another shard's could be counted twice. A record carries its first event's own partition
key, which keeps that true without an explicit hash key, for the shards as the producer last knew them.

Why not partition key "a", as the KPL does: that key is the KPL's signature, and a reader may then rely on the KPL's
habit of sending again whatever a split left in the wrong shard (docs/guarantees.md). We do not, so do not sign like it.

Source: github.com/awslabs/amazon-kinesis-producer, aggregation-format.md.
"""

import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import md5

import aws_kinesis_agg.deaggregator  # noqa: F401  must come before messages_pb2: it puts it on the path
import zstandard
from aws_kinesis_agg import MAGIC, messages_pb2

from loadtest.producer.event import Event

PACK_BYTES_MAX = 50 * 1024  # The KPL's own AggregationMaxSize: far fewer records, and still many to a request.
PACK_EVENTS_MAX = 500

DIGEST_BYTES = 16  # MD5's, at an aggregate's end

# What an aggregate adds to an event and its key, at most: five one-byte field tags, five varints of up to three bytes.
EVENT_FRAME_BYTES = 20


class Encoding(StrEnum):
    """How events stand in a record: one a record, or many, as compressed JSON Lines or as a KPL aggregate."""

    PLAIN = "plain"
    GZIP = "gzip"
    ZSTD = "zstd"
    AGGREGATE = "aggregate"


@dataclass(frozen=True, slots=True)
class Record:
    """What PutRecords takes, and the events in it, so that they can be given back, or packed anew after a reshard."""

    partition_key: str = field(repr=False)
    data: bytes = field(repr=False)
    events: tuple[Event, ...] = field(repr=False)
    encoding: Encoding

    @property
    def size_bytes(self) -> int:
        """As Kinesis counts a record's size: payload and partition key."""
        return len(self.data) + len(self.partition_key.encode())


class Pack:
    """Events of one shard that will share a record. It always holds one; ask `fits` before adding another."""

    def __init__(self, first: Event) -> None:
        self.events = [first]
        self._bytes = _packed_bytes(first)

    def fits(self, event: Event) -> bool:
        """Whether the record stays within the pack's limits with this event too."""
        return len(self.events) < PACK_EVENTS_MAX and self._bytes + _packed_bytes(event) <= PACK_BYTES_MAX

    def add(self, event: Event) -> None:
        """Take the event in, behind those that came before."""
        self.events.append(event)
        self._bytes += _packed_bytes(event)


def encode_record(events: Sequence[Event], encoding: Encoding) -> Record:
    """The one record that carries these events, in their order.

    Shapes: events, at least one, all of one shard; one alone is never aggregated, as with the KPL: it would only grow.
    """
    keys, texts = [event.partition_key for event in events], [event.data for event in events]
    return Record(keys[0], encode_payload(keys, texts, encoding), tuple(events), encoding)


def encode_payload(partition_keys: Sequence[str], texts: Sequence[bytes], encoding: Encoding) -> bytes:
    """The bytes of the one record that carries these events, in their order: `encode_record` for many at a time.

    Shapes: partition_keys and texts, one each for every event, as `encode_record` takes them.
    """
    match encoding:
        case Encoding.GZIP:
            return gzip.compress(b"\n".join(texts), mtime=0)
        case Encoding.ZSTD:
            return zstandard.compress(b"\n".join(texts))
        case Encoding.AGGREGATE if len(texts) > 1:
            return _aggregate(partition_keys, texts)
        case _:
            (text,) = texts
            return text


def _aggregate(partition_keys: Sequence[str], texts: Sequence[bytes]) -> bytes:
    # By the library's message and not by its AggRecord, which takes four times as long, mostly to add up sizes.
    message = messages_pb2.AggregatedRecord()
    table = {key: place for place, key in enumerate(dict.fromkeys(partition_keys))}
    message.partition_key_table.extend(table)
    add = message.records.add
    for key, text in zip(partition_keys, texts, strict=True):
        add(partition_key_index=table[key], data=text)
    body = message.SerializeToString()
    payload: bytes = MAGIC + body + md5(body, usedforsecurity=False).digest()
    return payload


def _packed_bytes(event: Event) -> int:
    return len(event.data) + len(event.partition_key.encode()) + EVENT_FRAME_BYTES
