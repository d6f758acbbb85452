"""What an event source mapping reads: a stream of shards, each of records in order."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard and those that it came from by a split or a merge."""

    shard_id: str
    parent_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class EncodedRecord:
    """A record as the event will carry it; encoded once, however often it is delivered."""

    sequence_number: str
    arrived_ms: int
    body: bytes

    @property
    def payload_bytes(self) -> int:
        """What it takes in the event."""
        return len(self.body)


class Reader(Protocol):
    """One shard, read once, from its beginning to its end."""

    def read(self, limit: int) -> Sequence[EncodedRecord] | None:
        """Return the next records, `limit` at most, none when there are none yet; None when the shard has ended."""


class Source(Protocol):
    """One stream. `batch_info` is what the on-failure destination calls a batch of it, such as `KinesisBatchInfo`."""

    arn: str
    batch_info: str

    def shards(self) -> list[Shard]:
        """All shards that are listed, open and closed."""

    def open(self, shard: Shard) -> Reader:
        """Begin to read one."""


def startable(shards: Iterable[Shard], started: set[str], drained: set[str]) -> list[Shard]:
    """The shards to begin with now: not begun yet, each parent drained, or past its retention and listed no more."""
    shards = list(shards)
    listed = {shard.shard_id for shard in shards}
    return [shard for shard in shards if shard.shard_id not in started and shard.parent_ids & listed <= drained]


def event_of(records: Sequence[EncodedRecord]) -> bytes:
    """The event that delivers these records."""
    return b'{"Records":[' + b",".join(record.body for record in records) + b"]}"
