"""Handle: which effects the events of a batch have. Pure; whoever asks has them carried out, after counting.

An event that a handler refused comes back inside another event, of an internal type that no metric counts: so that a
redrive runs its handlers again and does not count it again. Handlers that had succeeded with it stay idle, for an
effect keeps its identity.
"""

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from chalicelib.aggregates.windows import format_instant
from chalicelib.effects import Effect, Handler, explain_refusal
from chalicelib.records.cloudevents import CloudEvent, shorten
from chalicelib.records.compression import expand, is_compressed
from chalicelib.records.decode import Decoded, Decoder
from chalicelib.records.rejection import Reason, Refusal

HANDLE_TYPE = "highwater.handle"
HANDLE_SOURCE = "/highwater/redrive"

_events_of = attrgetter("events")


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
        self._handlers_of: dict[type, tuple[Handler, ...]] = {self._wrapper: ()}
        for event_class in decoder.event_classes.values():
            data_class = event_class.__annotations__["data"]
            of_class = tuple(handler for handler in handlers if handler.data_class is data_class)
            if of_class:
                self._handlers_of[event_class] = of_class

    def effects_of(self, decoded: Sequence[Decoded]) -> EffectPlan:
        """Plan the effects of these records' events, several of one event in the order of their declaration.

        Shapes: decoded, one for each record of a batch, in order, without events that are repeats of counted ones.
        """
        due: list[Due] = []
        unhandled: list[Unhandled] = []
        handlers_of = self._handlers_of
        # Most batches hold no event that anyone handles: this tells so without a step of Python for each event.
        if handlers_of.keys().isdisjoint(map(type, chain.from_iterable(map(_events_of, decoded)))):
            return EffectPlan(due, unhandled)
        for place, each in enumerate(decoded):
            for index, counted in enumerate(each.events):
                kind = type(counted)
                if kind not in handlers_of:
                    continue
                event = self._unwrap(counted) if kind is self._wrapper else counted
                if isinstance(event, Refusal):
                    unhandled.append(Unhandled(place, index, event))
                    continue
                for handler in handlers_of.get(type(event), ()):
                    try:
                        if handler.when(event.data):
                            due.append(Due(place, index, Effect(handler, event)))
                    except Exception as error:  # noqa: BLE001  a predicate that fails must not stop the shard
                        refusal = Refusal(Reason.NOT_HANDLED, explain_refusal(error))
                        unhandled.append(Unhandled(place, index, refusal))
        return EffectPlan(due, unhandled)

    def _unwrap(self, wrapper: CloudEvent) -> CloudEvent | Refusal:
        """The event inside; however old it is, for it was counted when it was not."""
        event = self._decoder.decode_event(bytes(wrapper.data.event))
        if isinstance(event, Refusal):
            return Refusal(Reason.NOT_HANDLED, shorten(f"the event inside is {event.reason}: {event.error}"))
        if isinstance(event, self._wrapper):
            return Refusal(Reason.NOT_HANDLED, "the event inside is itself one to be handled")
        return event


class _Envelope(Struct):
    """As much of an event as tells whether it wraps another."""

    type: Any = None
    data: msgspec.Raw = msgspec.Raw(b"null")


def to_be_handled(event: bytes, event_id: str, now_ms: int) -> bytes:
    """Wrap an event that was counted and not handled, so that its handlers run when it is put on the stream.

    Shapes: event is its exact bytes, one JSON object, plain or compressed; of one that is wrapped already, the event
            inside is wrapped anew. event_id names this attempt: the stream drops a repeat of an id that it has seen.
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
            "time": format_instant(now_ms),
            "data": HandleData(msgspec.Raw(inner)),
        }
    )
