"""Handle: which effects the events of a batch have. Pure; whoever asks has them carried out, after counting.

An event that a handler refused comes back inside another event, of an internal type that no metric counts: so that a
redrive runs its handlers again and does not count it again. Handlers that had succeeded with it stay idle, for an
effect keeps its identity.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, compress
from operator import attrgetter, itemgetter
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

    def effects_of(self, decoded: Sequence[Decoded]) -> EffectPlan:
        """Plan the effects of these records' events, several of one event in the order of their declaration.

        Shapes: decoded, one for each record of a batch, in order, without events that are repeats of counted ones.
        """
        events: list[Any] = list(chain.from_iterable(map(_events_of, decoded)))
        kinds = set(map(type, events))
        if self._handled.isdisjoint(kinds):
            return EffectPlan((), ())
        found: list[tuple[int, Effect | Refusal]] = []
        if self._wrapper in kinds:
            events = [self._unwrap(event) if type(event) is self._wrapper else event for event in events]
            kinds = set(map(type, events))
            found += [(number, event) for number, event in enumerate(events) if isinstance(event, Refusal)]
        for handler, kind in self._handlers:
            if kind in kinds:
                numbers = _numbers_of(kind, events) if len(kinds) > 1 else range(len(events))
                found += _find(handler, events, numbers)
        found.sort(key=itemgetter(0))
        return _plan(found, list(accumulate(len(each.events) for each in decoded)))

    def _unwrap(self, wrapper: CloudEvent) -> CloudEvent | Refusal:
        """The event inside; however old it is, for it was counted when it was not."""
        event = self._decoder.decode_event(bytes(wrapper.data.event))
        if isinstance(event, Refusal):
            return Refusal(Reason.NOT_HANDLED, shorten(f"the event inside is {event.reason}: {event.error}"))
        if isinstance(event, self._wrapper):
            return Refusal(Reason.NOT_HANDLED, "the event inside is itself one to be handled")
        return event


def _numbers_of(kind: type[CloudEvent], events: Sequence[Any]) -> Sequence[int]:
    return [number for number, event in enumerate(events) if type(event) is kind]


def _find(handler: Handler, events: Sequence[Any], numbers: Sequence[int]) -> Iterator[tuple[int, Effect | Refusal]]:
    """Those of the events with these numbers that the handler wants, or whose wish it cannot tell."""
    data = list(map(_data_of, map(events.__getitem__, numbers)))
    try:
        wanted: Sequence[Any] = list(map(handler.when, data))  # no step of Python but the predicate's own
    except Exception:  # noqa: BLE001  asking one by one finds and names it
        wanted = [_ask(handler, each) for each in data]
    for number, answer in zip(compress(numbers, wanted), filter(None, wanted), strict=True):
        yield number, answer if isinstance(answer, Refusal) else Effect(handler, events[number])


def _ask(handler: Handler, data: Any) -> bool | Refusal:
    try:
        return bool(handler.when(data))
    except Exception as error:  # noqa: BLE001  a predicate that fails must not stop the shard
        return Refusal(Reason.NOT_HANDLED, explain_refusal(error))


def _plan(found: Iterable[tuple[int, Effect | Refusal]], ends: Sequence[int]) -> EffectPlan:
    """Say where each event stands; `ends` are the numbers at which the records end."""
    due, unhandled = [], []
    for number, what in found:
        place = bisect_right(ends, number)
        index = number - ends[place - 1] if place else number
        if isinstance(what, Refusal):
            unhandled.append(Unhandled(place, index, what))
        else:
            due.append(Due(place, index, what))
    return EffectPlan(due, unhandled)


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
