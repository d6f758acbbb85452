"""Reads a shard by iterators, as Kinesis and DynamoDB Streams have it alike: GetShardIterator, then GetRecords."""

from collections.abc import Callable, Sequence
from typing import Any

from botocore.exceptions import ClientError

from localstage.source import EncodedRecord, Shard

TRIM_HORIZON = "TRIM_HORIZON"
AFTER_SEQUENCE_NUMBER = "AFTER_SEQUENCE_NUMBER"

# The shard was blocked for longer than an iterator lasts; or for so long that records behind the iterator are gone.
NEEDS_ANOTHER_ITERATOR = {"ExpiredIteratorException", "TrimmedDataAccessException"}
SHARD_IS_GONE = "ResourceNotFoundException"  # past its retention; and MiniStack drops a shard that is split or merged


class IteratorReader:
    """Reads one shard once, from its beginning to its end.

    Shapes: iterator_after gives an iterator that begins behind a sequence number, or for None where the mapping begins
            with the shard; encode takes a record of GetRecords; records_max, that one GetRecords gives.
    """

    def __init__(
        self,
        client: Any,
        iterator_after: Callable[[str | None], str],
        encode: Callable[[dict[str, Any]], EncodedRecord],
        records_max: int,
    ) -> None:
        self._client = client
        self._iterator_after = iterator_after
        self._encode = encode
        self._records_max = records_max
        self._last_read: str | None = None
        self._iterator: str | None = None

    def read(self, limit: int) -> Sequence[EncodedRecord] | None:
        """Return the next records, `limit` at most, none when there are none yet; None when the shard has ended."""
        try:
            if self._iterator is None:
                self._iterator = self._iterator_after(self._last_read)
            page = self._client.get_records(ShardIterator=self._iterator, Limit=min(limit, self._records_max))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in NEEDS_ANOTHER_ITERATOR:
                self._iterator = None
                return ()
            if code == SHARD_IS_GONE:
                return None
            raise
        self._iterator = page.get("NextShardIterator")
        records = [self._encode(record) for record in page["Records"]]
        if records:
            self._last_read = records[-1].sequence_number
        elif self._iterator is None:
            return None
        return records


def first_position(shard: Shard, starting_position: str) -> str:
    """Where a mapping begins with a shard: one that came of others is read from its beginning, or records were lost."""
    return TRIM_HORIZON if shard.parent_ids else starting_position
