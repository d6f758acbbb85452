"""Handle: which effects the events of a batch have. Pure; whoever asks has them carried out, after counting.

An event that a handler refused comes back inside another event, of an internal type that no metric counts: so that a
redrive runs its handlers again and does not count it again. Handlers that had succeeded with it stay idle, for an
effect keeps its identity.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import compress
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from chalicelib.effects import Effect, Handler, explain_refusal
from chalicelib.records.cloudevents import CloudEvent, shorten
from chalicelib.records.compression import expand, is_compressed
from chalicelib.records.decode import Decoded, Decoder
from chalicelib.records.rejection import Reason, Refusal
from chalicelib.records.stretches import placed

HANDLE_TYPE = "highwater.handle"
HANDLE_SOURCE = "/highwater/redrive"

_data_of = attrgetter("data")


class HandleData(Struct, frozen=True, gc=False):
    """An event that was counted and is still to be handled: its JSON object as it came."""

    event: msgspec.Raw


class Due(Struct, frozen=True):
    """An effect, and where its event stands: the record's place in the batch, the event's index in the record."""

    place: int
    index: int
    effect: Effect


class Unhandled(Struct, frozen=True):
    """An event whose effects cannot be told, and why; where it stands, as in `Due`."""

    place: int
    index: int
    refusal: Refusal


class EffectPlan(Struct, frozen=True):
    """What a batch's events have for effects, each list in the order of the stream."""

    due: Sequence[Due]
    unhandled: Sequence[Unhandled]


class Handling:
    """Finds the effects of decoded batches. Stateless once made."""

    def __init__(self, handlers: Sequence[Handler], decoder: Decoder) -> None:
        self._decoder = decoder
        self._wrapper = decoder.event_classes[HANDLE_TYPE]
        # One data class may be that of several event types.
        self._handlers = [
            (handler, kind)
            for handler in handlers
            for kind in decoder.event_classes.values()
            if kind.__annotations__["data"] is handler.data_class
        ]
        self._handled = {self._wrapper, *(kind for _, kind in self._handlers)}

    def wants(self, events: Sequence[CloudEvent]) -> bool:
        """Whether any of a record's events may have an effect: told once they are decoded; then they are dropped."""
        kinds = set(map(type, events))
        if self._handled.isdisjoint(kinds):
            return False
        if self._wrapper in kinds:
            return True
        try:
            return any(
                any(map(handler.when, map(_data_of, _of_kind(kind, kinds, events)))) for handler, kind in self._handlers
            )
        except Exception:  # noqa: BLE001  asking one by one finds and names it
            return True

    def effects_of(self, decoded: Sequence[Decoded]) -> EffectPlan:
        """Plan the effects of the events that were kept, several of one event as they are declared.

        Shapes: decoded, of all records of a batch, without events that are repeats of counted ones. Kept were those of
                which `wants` said that one may have an effect.
        """
        due: list[Due] = []
        unhandled: list[Unhandled] = []
        for start, each in placed(decoded):
            for event_index in self._candidates(each.events) if each.events else ():
                place, index = (start, event_index) if each.records == 1 else (start + event_index, 0)
                for what in self._effects_of_event(each.events[event_index]):
                    if isinstance(what, Refusal):
                        unhandled.append(Unhandled(place, index, what))
                    else:
                        due.append(Due(place, index, what))
        return EffectPlan(due, unhandled)

    def _candidates(self, events: Sequence[CloudEvent]) -> Iterable[int]:
        """The indexes of the events that may have effects: most often few of them, and found at once."""
        kinds = set(map(type, events))
        handlers = [handler for handler, kind in self._handlers if kind in kinds]
        if len(kinds) == 1 and len(handlers) == 1:
            with suppress(Exception):  # asking one by one finds and names it
                return list(compress(range(len(events)), map(handlers[0].when, map(_data_of, events))))
        return range(len(events))

    def _effects_of_event(self, event: CloudEvent) -> Iterator[Effect | Refusal]:
        inner = self._unwrap(event) if isinstance(event, self._wrapper) else event
        if isinstance(inner, Refusal):
            yield inner
            return
        for handler, kind in self._handlers:
            if isinstance(inner, kind):
                wish = _ask(handler, inner.data)
                if isinstance(wish, Refusal):
                    yield wish
                elif wish:
                    yield Effect(handler, inner)

    def _unwrap(self, wrapper: CloudEvent) -> CloudEvent | Refusal:
        """The event inside; however old it is, for it was counted when it was not."""
        event = self._decoder.decode_event(bytes(wrapper.data.event))
        if isinstance(event, Refusal):
            return Refusal(Reason.NOT_HANDLED, shorten(f"the event inside is {event.reason}: {event.error}"))
        if isinstance(event, self._wrapper):
            return Refusal(Reason.NOT_HANDLED, "the event inside is itself one to be handled")
        return event


def _of_kind(kind: type[CloudEvent], kinds: Collection[Any], events: Sequence[CloudEvent]) -> Iterable[CloudEvent]:
    if len(kinds) == 1:
        return events if kind in kinds else ()
    return [event for event in events if type(event) is kind]


def _ask(handler: Handler, data: Any) -> bool | Refusal:
    try:
        return bool(handler.when(data))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  a predicate that fails must not stop the shard
        return Refusal(Reason.NOT_HANDLED, explain_refusal(error))


class _Envelope(Struct):
    """As much of an event as tells whether it wraps another."""

    type: Any = None
    data: msgspec.Raw = msgspec.Raw(b"null")


def to_be_handled(event: bytes, event_id: str, time: str) -> bytes:
    """Wrap an event that was counted and not handled, so that its handlers run when it is put on the stream.

    Shapes: event is its exact bytes, one JSON object, plain or compressed; of one that is wrapped already, the event
            inside is wrapped anew. event_id and time, RFC 3339, are of whatever tells that it was not handled, so that
            the same attempt has the same bytes: then a repeat of it is dropped like any other.
    Raises: ValueError when the bytes are no JSON object.
    """
    text = expand(event) if is_compressed(event) else event
    envelope = msgspec.json.decode(text, type=_Envelope)
    inner = msgspec.json.decode(envelope.data, type=HandleData).event if envelope.type == HANDLE_TYPE else text
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": HANDLE_SOURCE,
            "type": HANDLE_TYPE,
            "time": time,
            "data": HandleData(msgspec.Raw(inner)),
        }
    )
