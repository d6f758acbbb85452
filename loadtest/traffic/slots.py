"""A worker's traffic, slot by slot, packed for the shards that the stream has then. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from loadtest.producer import Encoding
from loadtest.producer.packing import EVENT_FRAME_BYTES, PACK_BYTES_MAX, PACK_EVENTS_MAX, encode_payload
from loadtest.producer.shards import ShardMap
from loadtest.recording import Run
from loadtest.traffic.arrivals import Ints
from loadtest.traffic.columns import Kind, Planner
from loadtest.traffic.names import Names
from loadtest.traffic.text import Writer


@dataclass(frozen=True, slots=True)
class PutRecord:
    """A record to put, and the numbers of the events in it, in its order."""

    partition_key: str = field(repr=False)
    data: bytes = field(repr=False)
    numbers: Sequence[int]

    @property
    def size_bytes(self) -> int:
        """As Kinesis counts a record's size: payload and partition key."""
        return len(self.data) + len(self.partition_key)


class Traffic:
    """All that one worker sends."""

    def __init__(self, run: Run, worker: int) -> None:
        """Shapes: worker, from 0 to run.workers - 1."""
        self._planner = Planner(run, worker)
        self._names = Names.of(run)
        self._writer = Writer(self._names, worker)
        self._started_ms = run.started_ms
        plain = self._planner.encodings.index(Encoding.PLAIN) if Encoding.PLAIN in self._planner.encodings else None
        self._encodings = self._planner.encodings if plain is not None else (*self._planner.encodings, Encoding.PLAIN)
        self._plain = self._encodings.index(Encoding.PLAIN)
        self._is_compressed = np.array([each in {Encoding.GZIP, Encoding.ZSTD} for each in self._encodings])
        self._shards: ShardMap | None = None
        self._shard_of_customers: Ints = np.zeros(0, np.int64)

    @property
    def total(self) -> int:
        """How many events there are; their numbers begin at 0."""
        return self._planner.schedule.total

    def slots(self) -> Iterator["Slot"]:
        """Its slots in the order in which they are due, one made when it is asked for; none is empty."""
        schedule = self._planner.schedule
        for slot, (first, end) in enumerate(pairwise(schedule.firsts.tolist())):
            if first < end:
                due_ms = self._started_ms + int(schedule.starts_ms[slot] + schedule.widths_ms[slot])
                yield Slot(due_ms, first, end - 1, self)

    def records(self, first: int, last: int, shards: ShardMap) -> list[PutRecord]:
        """The records of the events from number first to last, both included. Raises: ValueError, no such events."""
        if not 0 <= first <= last < self.total:
            raise ValueError(f"there are events from 0 to {self.total - 1}, not from {first} to {last}")
        columns = self._planner.columns(first, last)
        texts = self._writer.write(columns)
        keys = list(map(self._names.customers.__getitem__, columns.customers.tolist()))
        # What no decoder could tell apart is a record by itself: a broken aggregate, and a broken line, for where
        # all lines of a record are broken they are one dead letter.
        encodings = columns.encodings
        alone = columns.kinds == Kind.BROKEN_AGGREGATE
        alone |= (columns.kinds == Kind.MALFORMED) & self._is_compressed[encodings]
        encodings = np.where(alone, self._plain, encodings)
        lanes = self._shards_of(shards)[columns.customers] * len(self._encodings) + encodings
        order = np.argsort(lanes, kind="stable")
        edges = np.flatnonzero(np.diff(lanes[order])) + 1
        records: list[PutRecord] = []
        for places in np.split(order, edges):
            encoding = self._encodings[int(lanes[places[0]]) % len(self._encodings)]
            mine = places.tolist()
            for start, end in _cuts([len(texts[place]) + len(keys[place]) for place in mine], encoding):
                packed = mine[start:end]
                packed_keys, packed_texts = [keys[place] for place in packed], [texts[place] for place in packed]
                data = encode_payload(packed_keys, packed_texts, encoding)
                records.append(PutRecord(packed_keys[0], data, [first + place for place in packed]))
        return records

    def _shards_of(self, shards: ShardMap) -> Ints:
        """The place of each customer's shard; known until the stream has others."""
        if shards is not self._shards:
            places = {shard_id: place for place, shard_id in enumerate(shards.ids)}
            found = [places[shards.shard_of(customer)] for customer in self._names.customers]
            self._shards, self._shard_of_customers = shards, np.array(found, np.int64)
        return self._shard_of_customers


@dataclass(frozen=True, slots=True)
class Slot:
    """Events that are due together, from number first to last, both included. Units: due_ms, epoch milliseconds."""

    due_ms: int
    first: int
    last: int
    _traffic: Traffic = field(repr=False)

    def __len__(self) -> int:
        return self.last - self.first + 1

    def records(self, shards: ShardMap) -> list[PutRecord]:
        """Its records, packed for the shards that the stream has now: by shard and encoding, in rising numbers."""
        return self._traffic.records(self.first, self.last, shards)


def _cuts(sizes: Sequence[int], encoding: Encoding) -> Iterator[tuple[int, int]]:
    """Where to cut the events of one shard and encoding into records. Units: sizes, of texts and keys, bytes."""
    events_max = 1 if encoding is Encoding.PLAIN else PACK_EVENTS_MAX
    start, held_bytes = 0, 0
    for place, size in enumerate(sizes):
        held_bytes += size + EVENT_FRAME_BYTES
        if place > start and (place - start == events_max or held_bytes > PACK_BYTES_MAX):
            yield start, place
            start, held_bytes = place, size + EVENT_FRAME_BYTES
    yield start, len(sizes)
