"""A cursor: where in the order of its answer a page ended. Only this file knows how one is written.

It holds values and no place number, so that what changes between two pages moves no other row across the page's
edge. It carries the range, so that the pages of one answer agree on "now", and a digest of the request, so that a
cursor of another question is refused rather than misread. It is opaque and no secret: all in it is checked again.
"""

from base64 import b64decode, urlsafe_b64encode
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from chalicelib.query.errors import ParameterError

PositionValue = int | Decimal | str | None
Position = tuple[PositionValue, ...]


class Cursor(Struct, frozen=True, array_like=True):
    """Where a page ended: the last row's values of the columns that the answer is ordered by; decimals are text."""

    digest: str
    start_ms: int
    end_ms: int
    values: tuple[int | str | None, ...]


def encode_cursor(digest: str, start_ms: int, end_ms: int, position: Position) -> str:
    """Write a cursor as text for a URL."""
    packed = msgspec.msgpack.encode((digest, start_ms, end_ms, position))
    return urlsafe_b64encode(packed).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """Read a cursor.

    Raises: ParameterError when it is none.
    """
    try:
        packed = b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(packed, type=Cursor)
    except (ValueError, msgspec.MsgspecError) as error:
        raise _not_ours() from error


def position_of(cursor: Cursor, digest: str, types: Sequence[Any]) -> Position:
    """The cursor's position, in the types of the columns that this answer is ordered by.

    Raises: ParameterError when the cursor is of another request.
    """
    if cursor.digest != digest:
        raise _not_ours()
    try:
        position: Position = msgspec.convert(cursor.values, tuple[tuple(types)])  # type: ignore[misc]
    except msgspec.MsgspecError as error:
        raise _not_ours() from error
    if not all(value.is_finite() for value in position if isinstance(value, Decimal)):
        raise _not_ours()
    return position


def _not_ours() -> ParameterError:
    return ParameterError("cursor", "it is not the `next` of an answer to this request; the first page needs none")
