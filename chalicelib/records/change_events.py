"""A change of a table as the event that tells of it: a CloudEvent, the same bytes whenever it is made."""

from datetime import UTC, datetime, timedelta

import msgspec

from chalicelib.records.images import BrokenImageError, Image, plain_item
from chalicelib.records.table_changes import EventName, TableChange

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Whether there is an old and a new row. A change that lacks one would be counted as another kind of change.
ROWS: dict[EventName, tuple[bool, bool]] = {
    "INSERT": (False, True),
    "MODIFY": (True, True),
    "REMOVE": (True, False),
}

# In order, for a repeat of an event is known by its text, and the attributes of an item have no order of their own.
_encode = msgspec.json.Encoder(decimal_format="number", order="sorted").encode


def change_event(change: TableChange, event_type: str) -> bytes:
    """Write the event of a change.

    Shapes: its data is `{"old", "new"}`, numbers with all their digits; either is null where there is no such row.
    Raises: ValueError when the change has not the images that such a change has, or one of them cannot be read or
            written (BrokenImageError among them); RecursionError.
    """
    if (change.old is not None, change.new is not None) != ROWS[change.event_name]:
        raise BrokenImageError(f"a record of {change.event_name} has not the images of one")
    return _encode(
        {
            "specversion": "1.0",
            "id": change.event_id,
            "source": change.source,
            "type": event_type,
            "time": EPOCH + timedelta(milliseconds=change.created_at_ms),
            "data": {"old": _row(change.old), "new": _row(change.new)},
        }
    )


def _row(image: Image | None) -> dict[str, object] | None:
    return None if image is None else plain_item(image)
