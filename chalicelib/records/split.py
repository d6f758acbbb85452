"""A record into the smallest pieces that can be put on the stream by themselves.

For a record that Lambda could not deliver: it is over Lambda's payload limit, so it would fail again. An aggregate is
split into its user records, JSON Lines into lines; what is one piece stays one, byte for byte.
"""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

from chalicelib.records import kpl
from chalicelib.records.batch import Record
from chalicelib.records.compression import CompressionError, expand, is_compressed
from chalicelib.records.decode import LINES_MAX


class Piece(Struct, frozen=True):
    """A part of a record; sub_sequence_number is its place in a KPL aggregate, None outside one."""

    partition_key: str
    sub_sequence_number: int | None
    data: bytes


def split(record: Record) -> Iterator[Piece]:
    """Split a record where the decoder would tell its events apart."""
    if not kpl.is_aggregate(record.data):
        yield from (Piece(record.partition_key, None, data) for data in _split_payload(record.data))
        return
    try:
        aggregate = kpl.deaggregate(record.data)
    except kpl.BrokenAggregateError:
        yield Piece(record.partition_key, None, record.data)
        return
    for number, payload in enumerate(aggregate.payloads):
        for data in _split_payload(payload):
            yield Piece(aggregate.partition_key(number), number, data)


def _split_payload(payload: bytes) -> Sequence[bytes]:
    """JSON Lines as its lines; what is one JSON text, or none at all, as it is."""
    try:
        text = expand(payload) if is_compressed(payload) else payload
    except CompressionError:
        return [payload]
    if _is_json(text) or text.count(b"\n") > LINES_MAX:
        return [payload]
    lines = [line for line in text.split(b"\n") if line.strip()]
    return lines if any(map(_is_json, lines)) else [payload]


def _is_json(text: bytes) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except (ValueError, RecursionError):
        return False
    return True
