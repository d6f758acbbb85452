"""CloudEvents 1.0 in JSON, decoded and validated in one pass into typed events.

Each event type becomes one tagged msgspec struct, so that a single call parses the envelope, picks the type by the
`type` attribute, and checks the domain's data. Context attributes that Highwater does not use are passed over.

Source: CloudEvents 1.0.2, "JSON Event Format", section 3.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta, Struct

from chalicelib.records.rejection import Reason, Refusal

NonEmpty = Annotated[str, Meta(min_length=1)]
ERROR_CHARACTERS_MAX = 300  # an error names the fault; a producer's text must not make it long


class CloudEvent(Struct, frozen=True, gc=False):
    """What every event has; `event_class` says what `data` is. An event's identity is (source, id)."""

    specversion: Literal["1.0"]
    id: NonEmpty
    source: NonEmpty
    time: Annotated[datetime, Meta(tz=True)]
    data: Any


def event_class(event_type: str, data_class: type[Struct]) -> type[CloudEvent]:
    """Make the struct of a whole event of this type."""
    made = msgspec.defstruct(
        data_class.__name__ + "Event",
        [("data", data_class)],
        bases=(CloudEvent,),
        tag_field="type",
        tag=event_type,
        frozen=True,
        gc=False,
    )
    return cast("type[CloudEvent]", made)


def event_decoder(event_classes: Mapping[str, type[CloudEvent]]) -> Callable[[bytes], Any]:
    """Make the function that decodes one JSON object into one of these events.

    Raises: the function raises whatever msgspec or a data class's own `__post_init__` raises; see `explain`.
    """
    any_event: Any = reduce(or_, event_classes.values())
    return msgspec.json.Decoder(any_event).decode


class _Typed(Struct):
    """The one attribute of an object that tells its event type, if it has one."""

    type: str | None = None


def explain(payload: bytes, error: Exception, known_types: Mapping[str, Any]) -> Refusal:
    """Say why a payload that raised this error is no event: malformed, of an unknown type, or invalid.

    Why so roundabout: a small payload can hold a JSON value that is huge in memory, so none is built to find out.
    """
    is_about_syntax = isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError)
    if is_about_syntax or isinstance(error, UnicodeDecodeError | RecursionError):
        return Refusal(Reason.MALFORMED, shorten(f"not JSON: {error}"))
    try:
        msgspec.json.decode(payload, type=msgspec.Raw)  # a rule may have been broken before the syntax was
    except (ValueError, RecursionError) as not_json:
        return Refusal(Reason.MALFORMED, shorten(f"not JSON: {not_json}"))
    try:
        event_type = msgspec.json.decode(payload, type=_Typed).type
    except (ValueError, RecursionError):
        event_type = None  # no object, or its type is no text
    if event_type is not None and event_type not in known_types:
        return Refusal(Reason.UNKNOWN_TYPE, shorten(f"no event type is named {event_type!r}"))
    return Refusal(Reason.INVALID, shorten(str(error) or type(error).__name__))


def shorten(text: str) -> str:
    """Cut an error's text to a length that is always safe to keep."""
    return text if len(text) <= ERROR_CHARACTERS_MAX else text[: ERROR_CHARACTERS_MAX - 1] + "…"
