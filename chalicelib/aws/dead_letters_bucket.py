"""Where dead letters are put. Only this file knows how the keys of their objects are made.

By ingest, by capture (a table's name stands for the stream), and of results that cannot be sent. One object for each
Kinesis record that had any dead letter: gzip JSON Lines under
`dead-letters/{stream}/{day of arrival}/{shard}/{sequence number}.jsonl.gz`. Key and bytes follow from the record alone,
so a retry, however it cuts the batch, overwrites an object with itself.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from chalicelib.aggregates.windows import format_instant
from chalicelib.aws.concurrent import call_all, result_in_time
from chalicelib.aws.failures import CALL_FAILURES, name_of
from chalicelib.aws.letter_objects import LetterWriter
from chalicelib.records.batch import Record
from chalicelib.records.letter import DEAD_LETTERS, Letter
from chalicelib.records.rejection import Rejected

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class DeadLettersBucket:
    """The DeadLetterStore of ingest, on S3.

    Shapes: client makes the client, when first needed: most containers see no dead letter, and S3's client costs more
            of a cold start than any other.
    """

    def __init__(self, client: Callable[[], "S3Client"], name: str) -> None:
        self._client = client
        self._name = name

    def put_dead_letters(
        self, stream: str, shard_id: str, rejected: Mapping[int, tuple[Record, Sequence[Rejected]]], timeout_ms: int
    ) -> dict[int, str]:
        """Store the dead letters of these records, at once. Returns the errors' names of those that failed."""
        if not rejected:
            return {}
        client = self._client()

        def put(place: int) -> None:
            record, pieces = rejected[place]
            client.put_object(
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


def object_key(stream: str, shard_id: str, record: Record) -> str:
    """The key of a record's dead letters."""
    day = format_instant(record.arrived_at_ms)[: len("2026-11-23")]
    return f"{DEAD_LETTERS}{stream}/{day}/{shard_id}/{record.sequence_number}.jsonl.gz"


def encode(stream: str, shard_id: str, record: Record, rejected: Sequence[Rejected]) -> bytes:
    """The object of a record's dead letters: the same bytes for the same record, whenever they are made."""
    file = io.BytesIO()
    writer = LetterWriter(file)
    for piece in rejected:  # one by one: a record may hold a hundred thousand, and all their text at once would not fit
        writer.write(
            Letter(
                reason=piece.refusal.reason,
                error=piece.refusal.error,
                stream=stream,
                shard_id=shard_id,
                sequence_number=record.sequence_number,
                sub_sequence_number=piece.sub_sequence_number,
                partition_key=piece.partition_key,
                arrived_at=format_instant(record.arrived_at_ms),
                data=piece.data,
            )
        )
    writer.close()
    return file.getvalue()
