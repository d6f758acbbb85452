"""Events for handlers alone: an event that is counted already and still has to be handled is wrapped in one."""

import msgspec

from chalicelib.aggregates.windows import format_instant

HANDLE_TYPE = "highwater.handle"


def to_be_handled(event: bytes, id: str, now_ms: int) -> bytes:  # noqa: A002  CloudEvents' own name for it
    """Wrap an event, so that it is handled and not counted again.

    Shapes: event is one JSON object; it stands in the wrapper as it is, digit by digit.
    Raises: ValueError when it is none.
    """
    msgspec.json.decode(event, type=dict[str, msgspec.Raw])
    wrapper = {
        "specversion": "1.0",
        "id": id,
        "source": "/highwater/redrive",
        "type": HANDLE_TYPE,
        "time": format_instant(now_ms),
        "data": {"event": msgspec.Raw(event)},
    }
    return msgspec.json.encode(wrapper)
