"""The dead letters bucket. Only this file knows the layout of its keys and objects.

One object for each Kinesis record that had any dead letter: gzip JSON Lines under
`dead-letters/{stream}/{day of arrival}/{shard}/{sequence number}.jsonl.gz`. Key and bytes follow from the record alone,
so a retry, however it cuts the batch, overwrites an object with itself.
"""

import gzip
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aggregates.windows import format_instant
from chalicelib.aws.concurrent import call_all
from chalicelib.records.batch import Record
from chalicelib.records.rejection import Rejected

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "dead-letters"


class DeadLettersBucket:
    """The DeadLetterStore of ingest, on S3."""

    def __init__(self, client: "S3Client", name: str) -> None:
        self._client = client
        self._name = name

    def put_dead_letters(
        self, stream: str, shard_id: str, rejected: Mapping[int, tuple[Record, Sequence[Rejected]]], timeout_ms: int
    ) -> set[int]:
        """Store the dead letters of these records, at once. Returns the keys of those whose storing failed."""

        def put(place: int) -> None:
            record, pieces = rejected[place]
            self._client.put_object(
                Bucket=self._name,
                Key=object_key(stream, shard_id, record),
                Body=encode(stream, shard_id, record, pieces),
                ContentType="application/jsonl",
                ContentEncoding="gzip",
            )

        places = list(rejected)
        calls = call_all(put, places, timeout_ms)
        failed = set()
        for place, call in zip(places, calls, strict=True):
            if call.cancelled() or not call.done():
                failed.add(place)
            elif error := call.exception():
                if not isinstance(error, ClientError | BotoCoreError):
                    raise error
                failed.add(place)
        return failed


def object_key(stream: str, shard_id: str, record: Record) -> str:
    """The key of a record's dead letters."""
    day = format_instant(record.arrived_at_ms)[: len("2026-11-23")]
    return f"{PREFIX}/{stream}/{day}/{shard_id}/{record.sequence_number}.jsonl.gz"


def encode(stream: str, shard_id: str, record: Record, rejected: Sequence[Rejected]) -> bytes:
    """The object of a record's dead letters: the same bytes for the same record, whenever they are made."""
    lines = [
        orjson.dumps(
            {
                "reason": piece.refusal.reason,
                "error": piece.refusal.error,
                "stream": stream,
                "shard_id": shard_id,
                "sequence_number": record.sequence_number,
                "sub_sequence_number": piece.sub_sequence_number,
                "partition_key": piece.partition_key,
                "arrived_at": format_instant(record.arrived_at_ms),
                "data": b64encode(piece.data).decode(),
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for piece in rejected
    ]
    return gzip.compress(b"".join(lines), mtime=0)
