"""Records as PutRecords takes them: how large one may be, how many a request. Only this file knows that call's limits.

Source: Kinesis Data Streams API Reference, PutRecords.
"""

import gzip
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from chalicelib.consumers.cut import cut
from chalicelib.consumers.ports import StreamRecord
from chalicelib.records import kpl
from chalicelib.records.compression import is_compressed

RECORDS_A_REQUEST = 500
REQUEST_BYTES_MAX = 5 * 1024 * 1024
RECORD_BYTES_MAX = 1024 * 1024  # of a stream that nobody has set a higher limit for; partition key included
PARTITION_KEY_CHARACTERS_MAX = 256

T = TypeVar("T")


def fitting_record(partition_key: str, data: bytes) -> StreamRecord | None:
    """The record with this data, compressed where only that makes it fit; None when it is too large even so."""
    record = StreamRecord(partition_key, None, data)
    if record.payload_bytes > RECORD_BYTES_MAX and not (is_compressed(data) or kpl.is_aggregate(data)):
        record = StreamRecord(partition_key, None, gzip.compress(data, mtime=0))
    return record if record.payload_bytes <= RECORD_BYTES_MAX else None


def in_requests(items: Iterable[T], bytes_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Cut what records are put for into requests, in order; no more items are asked for than the next one takes.

    Shapes: bytes_of is at least what the item's record counts. One item alone may be over a request's bytes: what is
            large in memory may be small when it is put, and what is not is the service's to refuse.
    """
    return cut(items, bytes_of, RECORDS_A_REQUEST, REQUEST_BYTES_MAX)
