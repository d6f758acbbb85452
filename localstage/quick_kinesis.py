"""A quick PutRecords and GetRecords for MiniStack, whose own (1.4.21) go through all that a stream holds.

At each request MiniStack looks at the age of each record of the stream and of each iterator of the last five minutes,
and decodes each record's base64 three times on its way through: of 100 aggregates of 50 KB a second that was half of
its work. Here ages are looked at in their order, up to the first that is young enough, and base64 stays as it came.
Whatever is out of the ordinary MiniStack does itself, as it always did.
"""
# ruff: noqa: SLF001  MiniStack has no other way in

import time
from collections.abc import Mapping, MutableMapping
from itertools import takewhile
from typing import Any

from localstage.capacity import base64_bytes
from localstage.meter import Answer

RECORDS_MAX, REQUEST_BYTES_MAX, RECORD_BYTES_MAX, KEY_CHARACTERS_MAX = 500, 5 * 1024 * 1024, 1024 * 1024, 256


def install(kinesis: Any) -> None:
    """Make MiniStack's module of Kinesis quick."""
    kinesis._put_records = _QuickPut(kinesis, kinesis._put_records)
    kinesis._ensure_base64 = lambda data: data  # what `_put_record` and `_put_records` have stored is
    kinesis._expire_records = expire_records
    kinesis._expire_iterators = lambda: expire_iterators(
        kinesis._shard_iterators._data, kinesis.ITERATOR_EXPIRY_SECONDS, time.time()
    )


def expire_records(stream: Mapping[str, Any]) -> None:
    """Forget what is past the stream's retention."""
    oldest_kept = time.time() - stream["RetentionPeriodHours"] * 3600
    for shard in stream["shards"].values():
        expired = sum(1 for _ in takewhile(lambda record: _arrived(record) < oldest_kept, shard["records"]))
        if expired:
            shard["records"] = shard["records"][expired:]


def expire_iterators(iterators: MutableMapping[Any, Mapping[str, Any]], seconds: float, now: float) -> None:
    """Forget those that are older; they are in the order in which they were made."""
    for token in list(takewhile(lambda token: now - iterators[token]["created_at"] > seconds, iterators)):
        del iterators[token]


def _arrived(record: Mapping[str, Any]) -> float:
    arrived: float = record["ApproximateArrivalTimestamp"]
    return arrived


class _QuickPut:
    def __init__(self, kinesis: Any, put_records: Any) -> None:
        self._kinesis = kinesis
        self._put_records = put_records

    def __call__(self, data: Mapping[str, Any]) -> Answer:
        _, stream = self._kinesis._resolve_stream(data)
        records = data.get("Records", [])
        if stream is None or stream["StreamStatus"] != "ACTIVE" or not _is_ordinary(records):
            answer: Answer = self._put_records(data)
            return answer
        self._kinesis._expire_records(stream)
        encryption = stream.get("EncryptionType", "NONE")
        results = []
        for record in records:
            key, hash_key = record["PartitionKey"], record.get("ExplicitHashKey")
            at = int(hash_key) if hash_key else self._kinesis._partition_key_to_hash(key)
            shard_id = self._kinesis._route_to_shard(at, stream)
            sequence_number = self._kinesis._next_sequence_number()
            stream["shards"][shard_id]["records"].append(
                {
                    "SequenceNumber": sequence_number,
                    "ApproximateArrivalTimestamp": int(time.time()),
                    "Data": record["Data"],
                    "PartitionKey": key,
                }
            )
            results.append({"SequenceNumber": sequence_number, "ShardId": shard_id, "EncryptionType": encryption})
        response: Answer = self._kinesis.json_response(
            {"FailedRecordCount": 0, "Records": results, "EncryptionType": encryption}
        )
        return response


def _is_ordinary(records: Any) -> bool:
    """Whether nothing about these is to be refused."""
    if len(records) > RECORDS_MAX:
        return False
    request_bytes = 0
    for record in records:
        key, data = record.get("PartitionKey"), record.get("Data")
        if not key or not data or len(key) > KEY_CHARACTERS_MAX:
            return False
        data_bytes = base64_bytes(data)
        if data_bytes > RECORD_BYTES_MAX:
            return False
        request_bytes += data_bytes + len(key.encode())
    return request_bytes <= REQUEST_BYTES_MAX
