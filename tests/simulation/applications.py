"""What simulated applications have to say: orders and poison, some under ids that make trouble, some more than once.

An event made once may come again: with the same bytes, with others under the same id, or put right after it was bad.
How a payload gets onto the stream, and how often, is the producers' part.
"""

from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from random import Random

import orjson
from msgspec import Struct

from tests.simulation.chance import below, pick
from tests.simulation.oracle import MINUTE_MS, Limits
from tests.simulation.stream import Event, Order, Poison

CURRENCIES = ("EUR", "USD")
ORDER_TYPES = ("standard", "gift")
USERS = [f"user-{number}" for number in range(24)]
SOURCES = ["/shop/eu", "/shop/us"]  # each numbers its orders from 1, so they share ids and never mean the same event
HUGE_ID = "x" * 65_536
RECENT_EVENTS = 200  # those that may come again: with several shards, well beyond what one shard remembers

AMOUNTS = [Decimal(cents) / 100 for cents in (500_000, 499_999, 1, 1_000_000, *range(1_234, 1_000_000, 7_654))]

POISON_LINES = [
    (b"not json", "malformed"),
    (b'{"specversion": "1.0", "id": ', "malformed"),
    (orjson.dumps({"type": "nobody.knows"}), "unknown type"),
    (b"[]", "invalid"),
    (orjson.dumps({"type": "order.placed"}), "invalid"),
]
POISON_PAYLOADS = [*POISON_LINES, (b"", "malformed"), (b"\x1f\x8bbroken", "malformed"), (b"(\xb5/\xfd..", "malformed")]


class Said(Struct, frozen=True):
    """One thing that an application says: the user whom it is about, the text, and what it is."""

    user_id: str
    text: bytes
    piece: Event | Poison


class Applications:
    """Every application at once."""

    def __init__(self, chance: Random, limits: Limits) -> None:
        self._chance = chance
        self._limits = limits
        self._made = 0
        self._recent: deque[Said] = deque(maxlen=RECENT_EVENTS)

    def say(self, now_ms: int, *, line: bool = False) -> Said:
        """Make the next event or poison; a `line` is one that can stand among JSON Lines."""
        kind = self._chance.random()
        if kind < 0.08:
            return self._poison(now_ms, line=line)
        if kind < 0.2 and self._recent:
            return self._again()
        if kind < 0.24 and self._recent:
            return self._changed(self._again())
        return self.say_event(now_ms)

    def say_event(self, now_ms: int) -> Said:
        """Make the next event, certainly no poison."""
        said = self._order(self._time_ms(now_ms), *self._identity())
        self._recent.append(said)
        return said

    def say_many(self, now_ms: int, number: int) -> list[Said]:
        """Make so many events that count, all alike but for their ids: quickly, for there are many."""
        self._made += 1
        said = self._order(now_ms, "/flood", "ID")
        head, tail = said.text.split(b'"ID"')
        events = []
        for place in range(number):
            event_id = f"{self._made}-{place}"
            text = b'%b"%b"%b' % (head, event_id.encode(), tail)
            events.append(Said(said.user_id, text, Event("/flood", event_id, now_ms, text, said.piece.order)))
        return events

    def _identity(self) -> tuple[str, str]:
        self._made += 1
        number = self._made
        kind = self._chance.random()
        if kind < 0.8:
            return SOURCES[number % 2], f"order-{number // 2}"
        if kind < 0.997:
            return _trap(number)
        return "/huge", f"{HUGE_ID}{number}"

    def _time_ms(self, now_ms: int) -> int:
        chance, limits = self._chance, self._limits
        if chance.random() < 0.93:
            return now_ms - below(chance, 3 * MINUTE_MS) * below(chance, 2)
        # Around both edges: exactly on one, just beyond, and where a later arrival of the same bytes decides otherwise.
        beyond_ms = pick(chance, [0, 1, below(chance, 10_000), -below(chance, 10_000)])
        if chance.random() < 0.5:
            return now_ms - limits.lateness_ms - beyond_ms
        return now_ms + limits.future_tolerance_ms + beyond_ms

    def _order(self, time_ms: int, source: str, event_id: str) -> Said:
        chance = self._chance
        order = Order(pick(chance, USERS), pick(chance, CURRENCIES), pick(chance, ORDER_TYPES), pick(chance, AMOUNTS))
        return _said(source, event_id, time_ms, order)

    def _again(self) -> Said:
        """An event that was made before, more often one of the last few."""
        recent = self._recent
        span = len(recent) if self._chance.random() < 0.5 else min(len(recent), 20)
        return recent[-1 - below(self._chance, span)]

    def _changed(self, said: Said) -> Said:
        """The same id with other content, if only with its JSON written in another way."""
        event = said.piece
        if self._chance.random() < 0.3:
            text = orjson.dumps(dict(reversed(orjson.loads(event.text).items())))
            return Said(said.user_id, text, Event(event.source, event.id, event.time_ms, text, event.order))
        order = Order(event.order.user_id, event.order.currency, event.order.order_type, pick(self._chance, AMOUNTS))
        changed = _said(event.source, event.id, event.time_ms, order)
        if self._chance.random() < 0.5:
            self._recent.append(changed)
        return changed

    def _poison(self, now_ms: int, *, line: bool) -> Said:
        user_id = pick(self._chance, USERS)
        if self._chance.random() < 0.6:
            text, reason = pick(self._chance, POISON_LINES if line else POISON_PAYLOADS)
            return Said(user_id, text, Poison(reason))
        # An event that breaks a rule of its type; put right, it may come again under the same id.
        said = self._order(self._time_ms(now_ms), *self._identity())
        self._recent.append(said)
        event = said.piece
        bad_order = Order(event.order.user_id, event.order.currency, event.order.order_type, Decimal(0))
        text = _said(event.source, event.id, event.time_ms, bad_order).text
        return Said(said.user_id, text, Poison("invalid"))


def _trap(number: int) -> tuple[str, str]:
    """One of a family of neighbours that are one identity to who joins source and id by nothing, by a slash or by a
    NUL, cuts text at a NUL, or normalises it."""
    family, place = divmod(number, 9)
    return (
        ("/n", f"{family}/a"),
        (f"/n{family}", "/a"),
        (f"/n/{family}", "a"),
        ("/n", f"{family}\0a"),
        (f"/n\0{family}", "a"),
        ("/n", f"{family}\0"),
        ("/n", f"{family}"),
        ("/n", f"é{family}\U0001f4b6"),
        ("/n", f"e\u0301{family}\U0001f4b6"),
    )[place]


def _said(source: str, event_id: str, time_ms: int, order: Order) -> Said:
    text = orjson.dumps(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": source,
            "type": "order.placed",
            "time": _rfc3339(time_ms),
            "data": {
                "order_id": "order",
                "user_id": order.user_id,
                "amount": float(order.amount),
                "currency": order.currency,
                "order_type": order.order_type,
            },
        }
    )
    return Said(order.user_id, text, Event(source, event_id, time_ms, text, order))


def _rfc3339(instant_ms: int) -> str:
    seconds, milliseconds = divmod(instant_ms, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(10_000)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
