"""Where events come from: a table of orders whose rows change, and applications that place orders.

Both write down what they did, for the oracle; a change is told on the table's own stream, as Lambda gives it out.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from random import Random
from typing import Any
from zlib import crc32

from chalicelib.aggregates.windows import format_instant
from chalicelib.consumers.ports import StreamRecord
from tests.builders import ORDERS_TABLE, table_change
from tests.simulation.tables.oracle import Event, Row
from tests.simulation.tables.reading import Shard, Told

ORDER_IDS = [f"order-{number}" for number in range(12)]
STATUSES = ("open", "paid", "sent")
AMOUNTS = [Decimal(cents) / 100 for cents in (1, 250, 999, 10_000, 123_456, 999_999)]
USERS = [f"user-{number}" for number in range(6)]
CURRENCIES = ("EUR", "USD")
ORDER_TYPES = ("standard", "gift")
BY_TTL = {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}

TableRow = dict[str, Any]


class OrdersTable:
    """The table of orders: its rows, and the shards of its stream, dealt by key."""

    def __init__(self, chance: Random, shards: int) -> None:
        self._chance = chance
        self.rows: dict[str, TableRow] = {}
        self.shards = [Shard(f"orders-{number}") for number in range(shards)]
        self.changes: dict[str, Event] = {}
        self.images: dict[str, tuple[TableRow | None, TableRow | None]] = {}

    def write(self, now_ms: int) -> None:
        """Somebody puts a row, changes one or removes one; or one expires."""
        chance = self._chance
        order_id = chance.choice(ORDER_IDS)
        old, new = self.rows.get(order_id), None
        if old is None or chance.random() < 0.75:
            status, amount = chance.choice(STATUSES), chance.choice(AMOUNTS)
            new = {"order_id": order_id, "status": status, "amount": amount}
            if old and chance.random() < 0.3:
                new = {**old, "status": status}
        if old == new:
            return  # DynamoDB tells of no change that changes nothing
        if new:
            self.rows[order_id] = new
        else:
            del self.rows[order_id]
        self._tell(old, new, now_ms)

    def _tell(self, old: TableRow | None, new: TableRow | None, now_ms: int) -> None:
        number = len(self.changes) + 1
        event_id = f"change-{number}"
        rows = [(sign, image) for sign, image in ((-1, old), (1, new)) if image]
        second_ms = now_ms - now_ms % 1_000  # a table's stream tells the time to the second
        self.images[event_id] = (old, new)
        self.changes[event_id] = Event(
            f"/dynamodb/{ORDERS_TABLE}/stream",
            event_id,
            "order.changed",
            second_ms,
            tuple(Row(sign, {"status": image["status"]}, image["amount"]) for sign, image in rows),
        )
        record = table_change(
            old, new, event_id=event_id, sequence_number=str(10**20 + number), created_at=second_ms // 1_000
        )
        if new is None and self._chance.random() < 0.2:
            record |= BY_TTL
        order_id = rows[0][1]["order_id"]
        shard = self.shards[crc32(order_id.encode()) % len(self.shards)]
        shard.records.append(Told(str(10**20 + number), now_ms, record))

    def scan(self) -> dict[tuple[str, ...], tuple[int, Decimal]]:
        """How many orders there are of each status, and what they are worth."""
        found: dict[tuple[str, ...], tuple[int, Decimal]] = {}
        for row in self.rows.values():
            number, total = found.get((row["status"],), (0, Decimal(0)))
            found[row["status"],] = (number + 1, total + row["amount"])
        return found

    def event_of(self, data: bytes) -> Event:
        """The change that an event on the stream tells of, which has to be one of the table's, unaltered."""
        told: Mapping[str, Any] = json.loads(data, parse_float=Decimal, parse_int=Decimal)
        event = self.changes.get(told["id"])
        assert event, "an event of the table that no change of it has made"
        assert told["source"] == event.source
        assert told["type"] == event.type
        assert (told["data"]["old"], told["data"]["new"]) == self.images[event.id], "an event does not tell its change"
        return event


class Applications:
    """Applications that place orders: now, or some time ago, and at times the same one twice."""

    def __init__(self, chance: Random, lateness_ms: int) -> None:
        self._chance = chance
        self._lateness_ms = lateness_ms
        self._sent: list[StreamRecord] = []
        self.events: dict[bytes, Event] = {}

    def place(self, now_ms: int) -> StreamRecord:
        """Place an order, or send once more what was sent before."""
        if self._sent and self._chance.random() < 0.1:
            return self._chance.choice(self._sent[-20:])
        record = self._order(f"placed-{len(self._sent)}", self._time_ms(now_ms))
        self._sent.append(record)
        return record

    def _time_ms(self, now_ms: int) -> int:
        chance = self._chance
        kind = chance.random()
        if kind < 0.6:
            return now_ms - chance.randrange(20_000)
        if kind < 0.9:
            return now_ms - chance.randrange(self._lateness_ms + 1)
        return now_ms - self._lateness_ms - chance.choice([0, 0, 1, chance.randrange(90_000)])

    def _order(self, event_id: str, time_ms: int) -> StreamRecord:
        chance = self._chance
        user_id, amount = chance.choice(USERS), chance.choice(AMOUNTS)
        values = {
            "user_id": user_id,
            "currency": chance.choice(CURRENCIES),
            "order_type": chance.choice(ORDER_TYPES),
        }
        event = {
            "specversion": "1.0",
            "id": event_id,
            "source": "/shop",
            "type": "order.placed",
            "time": format_instant(time_ms),
            "data": {"order_id": event_id, "amount": str(amount), **values},
        }
        data = json.dumps(event).encode()
        self.events[data] = Event("/shop", event_id, "order.placed", time_ms, (Row(1, values, amount),))
        return StreamRecord(user_id, None, data)
