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

import zstandard
from aws_kinesis_agg.aggregator import AggRecord

from loadtest.producer.event import Event

PACK_BYTES_MAX = 50 * 1024  # The KPL's own AggregationMaxSize: far fewer records, and still many to a request.
PACK_EVENTS_MAX = 500

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
    return Record(events[0].partition_key, _payload(events, encoding), tuple(events), encoding)


def _payload(events: Sequence[Event], encoding: Encoding) -> bytes:
    match encoding:
        case Encoding.GZIP:
            return gzip.compress(_json_lines(events), mtime=0)
        case Encoding.ZSTD:
            return zstandard.compress(_json_lines(events))
        case Encoding.AGGREGATE if len(events) > 1:
            return _aggregate(events)
        case _:
            (event,) = events
            return event.data


def _json_lines(events: Sequence[Event]) -> bytes:
    return b"\n".join(event.data for event in events)


def _aggregate(events: Sequence[Event]) -> bytes:
    # AggRecord and not RecordAggregator, which copies a whole full record to hand it on.
    aggregate = AggRecord()
    for event in events:
        if not aggregate.add_user_record(event.partition_key, event.data):
            raise RuntimeError(f"{len(events)} events do not fit in one aggregate: Pack let too many in")
    payload: bytes = aggregate.get_contents()[2]
    return payload


def _packed_bytes(event: Event) -> int:
    return len(event.data) + len(event.partition_key.encode()) + EVENT_FRAME_BYTES
