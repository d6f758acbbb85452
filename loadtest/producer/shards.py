"""Which shard a partition key belongs to: MD5 of the key as a 128-bit number, in the shards' hash key ranges. Pure.

Source: Kinesis API Reference, "PutRecord": partition keys are mapped to shards by an MD5 hash as a 128-bit integer.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from typing import Any


class ShardMap:
    """The open shards of a stream, as ListShards told them."""

    def __init__(self, shards: Iterable[Mapping[str, Any]]) -> None:
        """Shapes: shards, of all pages; closed ones, which have an ending sequence number, are left out."""
        opened = sorted(
            (int(shard["HashKeyRange"]["StartingHashKey"]), str(shard["ShardId"]))
            for shard in shards
            if "EndingSequenceNumber" not in shard["SequenceNumberRange"]
        )
        self._starts = [start for start, _ in opened]
        self.ids = tuple(shard_id for _, shard_id in opened)

    def shard_of(self, partition_key: str) -> str:
        """The id of the open shard that takes records with this partition key."""
        return self.ids[bisect_right(self._starts, hash_key(partition_key)) - 1]


def hash_key(partition_key: str) -> int:
    """The 128-bit number by which Kinesis routes a partition key."""
    return int.from_bytes(hashlib.md5(partition_key.encode(), usedforsecurity=False).digest())
