"""CloudEvents 1.0 in JSON, decoded and validated in one pass into typed events.

Each event type becomes one msgspec struct, so that a single call parses the envelope, checks the `type` attribute and
the domain's data. Context attributes that Highwater does not use are passed over.

Source: CloudEvents 1.0.2, "JSON Event Format", section 3.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
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
    type: str
    time: Annotated[datetime, Meta(tz=True)]
    data: Any


def event_class(event_type: str, data_class: type[Struct]) -> type[CloudEvent]:
    """Make the struct of a whole event of this type."""
    type_of_it: Any = Literal[event_type]
    made = msgspec.defstruct(
        data_class.__name__ + "Event",
        [("type", type_of_it), ("data", data_class)],
        bases=(CloudEvent,),
        frozen=True,
        gc=False,
    )
    return cast("type[CloudEvent]", made)


class _Typed(Struct):
    """The one attribute of an object that tells its event type."""

    type: str


class EventDecoder:
    """Decodes JSON objects into events of these classes, by event type. Stateless once made.

    Raises: its methods raise whatever msgspec or a data class's own `__post_init__` raises, and KeyError for an event
            type that is not known; see `explain`.
    """

    def __init__(self, event_classes: Mapping[str, type[CloudEvent]]) -> None:
        self._decode_typed = msgspec.json.Decoder(_Typed).decode
        self._decoders = {name: msgspec.json.Decoder(kind).decode for name, kind in event_classes.items()}

    def decode(self, text: bytes) -> CloudEvent:
        """Decode one event: its type is looked for first, wherever in the object it stands."""
        return self._decoders[self._decode_typed(text).type](text)

    def decode_all(self, texts: Sequence[bytes]) -> list[CloudEvent]:
        """Decode several: taken to be of the first one's type, which that type's own struct then checks.

        Why: the type is most often found behind other attributes, and looking for it takes a third of decoding.
        """
        if not texts:
            return []
        first = self.decode(texts[0])
        with suppress(Exception):  # another type, or a fault, which decoding one by one finds and names
            return [first, *map(self._decoders[first.type], texts[1:])]
        return list(map(self.decode, texts))


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
