"""A Kinesis stream in memory: it routes, numbers and limits as the service does, and refuses what a test tells it to.

Where it differs from AWS: sequence numbers are small, a split is instant, and a request over a limit is an
AssertionError, because no producer may ever make one.
"""

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

HASH_KEYS = 2**128
Refusal = Callable[[int, Mapping[str, Any]], str | None]


class FakeKinesis:
    """`refuse(request_number, entry)` is the error code for an entry, or None to accept it."""

    def __init__(self, shards: int = 1, refuse: Refusal = lambda request_number, entry: None) -> None:
        self.refuse = refuse
        self.requests: list[list[bytes]] = []
        self.records: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        self._lock = threading.Lock()
        self._ranges: list[tuple[int, str]] = []
        self.reshard(shards)

    def reshard(self, shards: int) -> None:
        """Close all shards and open others in their place."""
        first = len(self._ranges)
        self._closed = [shard_id for _, shard_id in self._ranges]
        self._ranges = [(HASH_KEYS * number // shards, f"shardId-{first + number:012d}") for number in range(shards)]

    def list_shards(self, **request: Any) -> Mapping[str, Any]:
        """One shard a page, closed ones first."""
        shards: list[dict[str, Any]] = [
            {
                "ShardId": shard_id,
                "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(HASH_KEYS - 1)},
                "SequenceNumberRange": {"StartingSequenceNumber": "1", "EndingSequenceNumber": "2"},
            }
            for shard_id in self._closed
        ]
        for start, shard_id in self._ranges:
            shards.append(
                {
                    "ShardId": shard_id,
                    "HashKeyRange": {"StartingHashKey": str(start), "EndingHashKey": "unused"},
                    "SequenceNumberRange": {"StartingSequenceNumber": "1"},
                }
            )
        assert ("StreamName" in request) != ("NextToken" in request), "ListShards takes one of the two"
        if request.get("StreamName") == "absent":
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no stream"}}, "ListShards")
        page = int(request.get("NextToken", 0))
        token = {"NextToken": str(page + 1)} if page + 1 < len(shards) else {}
        return {"Shards": [shards[page]], **token}

    def put_records(self, **request: Any) -> Mapping[str, Any]:
        """Accept or refuse each entry by itself."""
        entries = request["Records"]
        sizes = [len(entry["Data"]) + len(entry["PartitionKey"].encode()) for entry in entries]
        assert 1 <= len(entries) <= 500
        assert max(sizes) <= 1024 * 1024
        assert sum(sizes) <= 5 * 1024 * 1024
        with self._lock:
            self.requests.append([entry["Data"] for entry in entries])
            number = len(self.requests)
            return {"Records": [self._answer(entry, self.refuse(number, entry)) for entry in entries]}

    def _answer(self, entry: Mapping[str, Any], code: str | None) -> dict[str, str]:
        if code:
            return {"ErrorCode": code, "ErrorMessage": "refused"}
        shard_id = self.shard_of(entry["PartitionKey"])
        self.records[shard_id].append(entry)
        return {"ShardId": shard_id, "SequenceNumber": f"{len(self.records[shard_id]):06d}"}

    def shard_of(self, partition_key: str) -> str:
        """By the plainest reading of the API reference: the last range that starts at or below the key's MD5."""
        hashed = int(hashlib.md5(partition_key.encode(), usedforsecurity=False).hexdigest(), 16)
        return [shard_id for start, shard_id in self._ranges if start <= hashed][-1]


@pytest.fixture(scope="session")
def kinesis() -> type[FakeKinesis]:
    """The class, to make as many streams of as a test needs."""
    return FakeKinesis
