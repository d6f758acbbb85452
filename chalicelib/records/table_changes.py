"""Changes of a DynamoDB table as DynamoDB tells them. Only this file knows the shape of its records, in both forms.

A table's own stream (DynamoDB Streams) tells Lambda of a change with `eventSourceARN`, a sequence number and a time in
seconds. "Kinesis Data Streams for DynamoDB" puts it on a Kinesis stream with `tableName`, no sequence number, and a
time in milliseconds or microseconds. Images stay as they came, typed, until somebody asks for them (`records.images`):
the streams of some tables carry keys only.

Source: Amazon DynamoDB API Reference, Record and StreamRecord of DynamoDB Streams; Developer Guide, "Using Kinesis Data
Streams to capture changes to DynamoDB".
"""

import json
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from chalicelib.records.cloudevents import NonEmpty, shorten
from chalicelib.records.images import Image
from chalicelib.records.rejection import Reason, Refusal

EVENT_SOURCE = "aws:dynamodb"
TIME_TO_LIVE = ("Service", "dynamodb.amazonaws.com")  # who deletes an item that has expired
UNITS_A_SECOND = {"MILLISECOND": 1_000, "MICROSECOND": 1_000_000}  # by ApproximateCreationDateTimePrecision
INSTANT_MS_MAX = 253_402_300_799_999  # the year 9999 ends: no datetime holds more
# Both images of an item of 400 KB, with descriptors. A text is built whole: of one this long up to 130 MB.
TEXT_BYTES_MAX = 4 * 1024 * 1024

EventName = Literal["INSERT", "MODIFY", "REMOVE"]


class TableChange(Struct, frozen=True):
    """A change of one item of a table.

    Shapes: source and event_id are its identity as an event; keys, old and new are typed (`records.images`), old and
            new None where the record does not carry them.
    Units:  created_at_ms is epoch milliseconds, UTC: about when the item was written.
    """

    table: str
    source: str
    event_id: str
    event_name: EventName
    created_at_ms: int
    keys: Image
    old: Image | None
    new: Image | None
    is_expiry: bool  # deleted by the table's time to live, and by nobody

    @property
    def item(self) -> bytes:
        """The item's key: the same bytes for all changes of an item, and others for another item."""
        return _dumps(self.keys)


class TableRecord(Struct, frozen=True):
    """A record of a table's stream: where it stands, and the change that it tells or why it tells none.

    Shapes: sequence_number is None, and created_at_ms 0, where the record does not tell them.
    """

    sequence_number: str | None
    created_at_ms: int
    change: TableChange | Refusal
    raw: Any

    @property
    def data(self) -> bytes:
        """The record's JSON; the same bytes for the same record."""
        return _dumps(self.raw)


def _dumps(value: Any) -> bytes:
    # Not by msgspec, which refuses what is no Unicode: Lambda gave it, so it is to be kept.
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def parse_table_records(event: Mapping[str, Any]) -> list[TableRecord]:
    """Read the records out of Lambda's event of a table's stream, in their order; none of them can make it fail.

    Raises: KeyError when it is no such event.
    Source: AWS Lambda Developer Guide, "Using AWS Lambda with Amazon DynamoDB".
    """
    return [_parse_record(raw) for raw in event["Records"]]


def read_change(text: bytes) -> TableChange | Refusal | None:
    """The change that a JSON text tells, in either form; a refusal if it is meant to tell one; None if it is not."""
    if EVENT_SOURCE.encode() not in text or len(text) > TEXT_BYTES_MAX:
        return None
    try:
        origin = msgspec.json.decode(text, type=_Origin)
    except (ValueError, RecursionError):
        return None
    if origin.event_source != EVENT_SOURCE or origin.specversion:
        return None
    try:
        return _change_of(_decode(text))
    except (ValueError, RecursionError) as error:
        return _refusal(error)


class _Origin(Struct, rename="camel"):
    """As much of a text as tells whether it is a record of DynamoDB's. What has a specversion is a CloudEvent."""

    event_source: str | None = None
    specversion: msgspec.Raw = msgspec.Raw()


class _Body(Struct, rename="pascal"):
    approximate_creation_date_time: int | float
    keys: dict[str, dict[str, Any]]
    new_image: dict[str, Any] | None = None
    old_image: dict[str, Any] | None = None
    approximate_creation_date_time_precision: Literal["MILLISECOND", "MICROSECOND"] = "MILLISECOND"


class _Identity(Struct, rename="camel"):
    type: str | None = None
    principal_id: str | None = None


class _Record(Struct):
    event_id: NonEmpty = field(name="eventID")
    event_name: EventName = field(name="eventName")
    dynamodb: _Body
    table_name: NonEmpty | None = field(default=None, name="tableName")
    event_source_arn: str = field(default="", name="eventSourceARN")
    user_identity: _Identity | None = field(default=None, name="userIdentity")


_decode = msgspec.json.Decoder(_Record).decode


def _parse_record(raw: Any) -> TableRecord:
    change: TableChange | Refusal
    try:
        change = _change_of(msgspec.convert(raw, _Record))
    except (ValueError, RecursionError) as error:
        change = _refusal(error)
    return TableRecord(*_place_of(raw), change, raw)


def _change_of(record: _Record) -> TableChange:
    """Raises ValueError when it cannot be told which table's change it is, or when it was."""
    body, table, units_a_second = record.dynamodb, record.table_name, 1
    if table:
        source = f"/dynamodb/{table}"
        units_a_second = UNITS_A_SECOND[body.approximate_creation_date_time_precision]
    else:
        table = _table_of(record.event_source_arn)
        source = f"/dynamodb/{table}/stream"
    identity = record.user_identity or _Identity()
    return TableChange(
        table=table,
        source=source,
        event_id=record.event_id,
        event_name=record.event_name,
        created_at_ms=_milliseconds(body.approximate_creation_date_time, units_a_second),
        keys=body.keys,
        old=body.old_image or None,
        new=body.new_image or None,
        is_expiry=(identity.type, identity.principal_id) == TIME_TO_LIVE,
    )


def _table_of(arn: str) -> str:
    parts = arn.split("/")  # arn:…:table, its name, stream, the stream's label
    if len(parts) < 2 or not parts[1]:  # noqa: PLR2004  see above
        raise ValueError("it names no table")
    return parts[1]


def _milliseconds(units: float, units_a_second: int) -> int:
    if not 0 <= units <= INSTANT_MS_MAX * units_a_second // 1_000:  # NaN is not either
        raise ValueError("its time is no instant")
    return round(units * 1_000) if units_a_second == 1 else int(units) * 1_000 // units_a_second


def _place_of(raw: Any) -> tuple[str | None, int]:
    """The sequence number and the time of a record that may have any shape; None and 0 where there is none."""
    body = raw.get("dynamodb") if isinstance(raw, Mapping) else None
    if not isinstance(body, Mapping):
        return None, 0
    number, seconds = body.get("SequenceNumber"), body.get("ApproximateCreationDateTime")
    try:
        created_at_ms = _milliseconds(msgspec.convert(seconds, float), 1)
    except ValueError:
        created_at_ms = 0
    return number if isinstance(number, str) and number else None, created_at_ms


def _refusal(error: Exception) -> Refusal:
    return Refusal(Reason.INVALID, shorten(f"no record of a table's change: {error}"))
