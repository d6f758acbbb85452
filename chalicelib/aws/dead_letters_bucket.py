"""The dead letters bucket. Only this file knows the layout of its keys and objects.

One object for each Kinesis record that had any dead letter: gzip JSON Lines under
`dead-letters/{stream}/{day of arrival}/{shard}/{sequence number}.jsonl.gz`. Key and bytes follow from the record alone,
so a retry, however it cuts the batch, overwrites an object with itself.
"""

import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import orjson
from msgspec import Struct

from chalicelib.aggregates.windows import format_instant
from chalicelib.aws.concurrent import call_all, result_in_time
from chalicelib.aws.failures import CALL_FAILURES, name_of
from chalicelib.records.batch import Record
from chalicelib.records.rejection import Rejected

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PREFIX = "dead-letters"
GZIP_WBITS = zlib.MAX_WBITS | 16  # zlib's way to say: with gzip's header


class DeadLetter(Struct, frozen=True):
    """A line of a dead letters object, without its payload."""

    reason: str
    error: str
    arrived_at: str
    shard_id: str
    sequence_number: str


class DeadLettersBucket:
    """The DeadLetterStore of ingest, on S3; and what it holds, for operators."""

    def __init__(self, client: "S3Client", name: str) -> None:
        self._client = client
        self._name = name

    def put_dead_letters(
        self, stream: str, shard_id: str, rejected: Mapping[int, tuple[Record, Sequence[Rejected]]], timeout_ms: int
    ) -> dict[int, str]:
        """Store the dead letters of these records, at once. Returns the errors' names of those that failed."""

        def put(place: int) -> None:
            record, pieces = rejected[place]
            self._client.put_object(
                Bucket=self._name,
                Key=object_key(stream, shard_id, record),
                Body=encode(stream, shard_id, record, pieces),
                ContentType="application/jsonl",
                ContentEncoding="gzip",
            )

        calls = call_all(put, list(rejected), timeout_ms)
        failed = {}
        for place, call in zip(rejected, calls, strict=True):
            try:
                result_in_time(call)
            except CALL_FAILURES as error:
                failed[place] = name_of(error)
        return failed

    def read_all(self) -> Iterator[DeadLetter]:
        """Every dead letter in the bucket, in the order of its keys."""
        decoder = msgspec.json.Decoder(DeadLetter)
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=f"{PREFIX}/"):
            for listed in page.get("Contents", []):
                body = self._client.get_object(Bucket=self._name, Key=listed["Key"])["Body"].read()
                yield from decoder.decode_lines(zlib.decompress(body, wbits=GZIP_WBITS))


def object_key(stream: str, shard_id: str, record: Record) -> str:
    """The key of a record's dead letters."""
    day = format_instant(record.arrived_at_ms)[: len("2026-11-23")]
    return f"{PREFIX}/{stream}/{day}/{shard_id}/{record.sequence_number}.jsonl.gz"


def encode(stream: str, shard_id: str, record: Record, rejected: Sequence[Rejected]) -> bytes:
    """The object of a record's dead letters: the same bytes for the same record, whenever they are made."""
    compressor = zlib.compressobj(wbits=GZIP_WBITS)  # leaves the time in gzip's header zero
    parts = []
    for piece in rejected:  # one by one: a record may hold a hundred thousand, and all their text at once would not fit
        line = {
            "reason": piece.refusal.reason,
            "error": piece.refusal.error,
            "stream": stream,
            "shard_id": shard_id,
            "sequence_number": record.sequence_number,
            "sub_sequence_number": piece.sub_sequence_number,
            "partition_key": piece.partition_key,
            "arrived_at": format_instant(record.arrived_at_ms),
            "data": b64encode(piece.data).decode(),
        }
        parts.append(compressor.compress(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)))
    return b"".join([*parts, compressor.flush()])
