"""How records are cut into PutRecords requests. Only this file knows that call's limits.

Source: Kinesis Data Streams API Reference, PutRecords.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

RECORDS_A_REQUEST = 500
REQUEST_BYTES_MAX = 5 * 1024 * 1024
RECORD_BYTES_MAX = 1024 * 1024  # of a stream that nobody has set a higher limit for; partition key included
PARTITION_KEY_CHARACTERS_MAX = 256

T = TypeVar("T")


def in_requests(items: Iterable[T], bytes_of: Callable[[T], int]) -> Iterator[list[T]]:
    """Cut into requests what records are put for, in order; no more items are asked for than the next one takes.

    Shapes: bytes_of is at least what the item's record counts. One item alone may be over a request's bytes: what is
            large in memory may be small when it is put.
    """
    request: list[T] = []
    request_bytes = 0
    for item in items:
        item_bytes = bytes_of(item)
        is_full = len(request) == RECORDS_A_REQUEST or request_bytes + item_bytes > REQUEST_BYTES_MAX
        if request and is_full:
            yield request
            request, request_bytes = [], 0
        request.append(item)
        request_bytes += item_bytes
    if request:
        yield request
