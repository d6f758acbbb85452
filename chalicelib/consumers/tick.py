"""Tick: once a minute one small record on every open shard, so that the progress of an idle shard advances too.

A tick is an event of a type that no metric counts: ingest commits it like any other, and nothing knows of it besides.
One that is lost is made good by the next.
"""

from collections.abc import Callable

import orjson
from msgspec import Struct

from chalicelib.aggregates.windows import format_instant
from chalicelib.consumers.ports import StreamRecord, TickStream
from chalicelib.records.shard import Shard

TICK_TYPE = "highwater.tick"
RESERVE_MS = 1_000  # kept back of the invocation's time to report


class TickData(Struct, frozen=True):
    """A tick says nothing but that it is there."""


class TickReport(Struct, frozen=True):
    """How many shards are open, and on how many of them the stream took no tick."""

    shards: int
    failed: int


class Tick:
    """The consumer of the minute's schedule."""

    def __init__(self, stream: TickStream) -> None:
        self._stream = stream

    def __call__(self, now_ms: int, remaining_ms: Callable[[], int]) -> TickReport:
        """Put a tick on every open shard.

        Raises: TransientError when the stream cannot be reached in time; the next minute's tick makes it good.
        """
        shards = self._stream.list_shards(_time_left(remaining_ms))
        ticks = [tick_on(shard, now_ms) for shard in shards if shard.is_open]
        return TickReport(len(ticks), len(self._stream.put_records(ticks, _time_left(remaining_ms))))


def tick_on(shard: Shard, now_ms: int) -> StreamRecord:
    """The tick of this minute for one shard; its explicit hash key leads it there."""
    event = {
        "specversion": "1.0",
        "id": f"{shard.shard_id}/{now_ms}",
        "source": "/highwater/tick",
        "type": TICK_TYPE,
        "time": format_instant(now_ms),
        "data": {},
    }
    return StreamRecord("tick", shard.starting_hash_key, orjson.dumps(event))


def _time_left(remaining_ms: Callable[[], int]) -> int:
    return max(0, remaining_ms() - RESERVE_MS)
