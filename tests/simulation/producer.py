"""Simulated producers: how what applications say gets onto the stream, and how often.

They send plain, compressed, in lines, and aggregated, as other aggregators do and as the KPL does. They retry what
they take for lost, at once, later, or around the horizon, always with the same bytes. The KPL packs user records for
one shard of a map that may be stale; where the stream's answer names another shard than it meant, it sends again.

Source of the KPL's ways: awslabs/amazon-kinesis-producer, `retrier.cc` (`succeed_if_correct_shard`), `aggregator.h`,
`kinesis_record.cc`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Protocol

from msgspec import Struct

from tests.simulation.applications import USERS, Applications, Said
from tests.simulation.chance import below, between, pick
from tests.simulation.oracle import Limits
from tests.simulation.stream import KPL_PARTITION_KEY, Poison, Put, UserRecord, effective_hash_key, hash_key_of
from tests.simulation.wire import aggregated, broken, gzipped, zstd


class OpenShard(Protocol):
    """All that a producer sees of a shard."""

    keys: range


@dataclass(frozen=True)
class Habits:
    """How the producers are: the weight of each way of sending, and the odds that a put is sent once more."""

    plain: int = 44
    aggregator: int = 16  # puts aggregates under the first user record's partition key, wherever the others belong
    kpl: int = 34
    imitator: int = 4  # no KPL, but puts aggregates under its partition key, of user records from anywhere
    broken: int = 2
    retry: float = 0.12
    flood: float = 0.01  # that a shard takes about as many events as it remembers between a record and its retry


class Payload(Struct, frozen=True):
    """A user record before it is packed."""

    partition_key: str
    explicit_hash_key: int | None
    data: bytes
    pieces: tuple

    @property
    def hash_key(self) -> int:
        return effective_hash_key(self.partition_key, self.explicit_hash_key)

    def alone(self) -> Put:
        return Put(self.partition_key, self.explicit_hash_key, self.data, (UserRecord(self.pieces),))


class Producers:
    """Every producer at once. The world asks for the `next` puts and routes each by its hash key."""

    def __init__(self, chance: Random, limits: Limits, habits: Habits | None = None) -> None:
        self._chance = chance
        self._limits = limits
        self._habits = habits or Habits()
        self._applications = Applications(chance, limits)
        self._known: list[range] = []  # the KPL's shard map, as old as its last refresh
        self._later: list[tuple[int, int, Put | Sequence[Payload]]] = []  # a heap: when, a tie-breaker, what
        self._ties = count()
        ways = {
            self._plain: self._habits.plain,
            self._aggregator: self._habits.aggregator,
            self._kpl: self._habits.kpl,
            self._imitator: self._habits.imitator,
            self._broken: self._habits.broken,
        }
        self._ways = [way for way, weight in ways.items() for _ in range(weight)]

    @property
    def next_due_ms(self) -> int | None:
        """When the next retry is due: a clock that stops there meets the horizon's edge to the millisecond."""
        return self._later[0][0] if self._later else None

    def next(self, now_ms: int, open_shards: Sequence[OpenShard]) -> list[Put]:
        """What the producers put now, in order: every retry that is due, and one new record."""
        if not self._known or self._chance.random() < 0.05:
            self._refresh(open_shards)
        puts = self.due(now_ms, open_shards)
        put = pick(self._chance, self._ways)(now_ms, open_shards)
        if self._chance.random() < self._habits.flood:
            return [*puts, put, *self._flood(put, now_ms)]
        return [*puts, put, *self._retries(put, now_ms)]

    def due(self, now_ms: int, open_shards: Sequence[OpenShard]) -> list[Put]:
        """Only the retries that are due."""
        puts: list[Put] = []
        while self._later and self._later[0][0] <= now_ms:
            _, _, again = heappop(self._later)
            puts += [again] if isinstance(again, Put) else self._send_again(again, now_ms, open_shards)
        return puts

    # ── retries ──

    def _retries(self, put: Put, now_ms: int) -> list[Put]:
        """The puts of the same record that follow at once; those that follow later are noted."""
        at_once: list[Put] = []
        while self._chance.random() < self._habits.retry:
            if delay_ms := self._delay_ms():
                self._send_later(now_ms + delay_ms, put)
            else:
                at_once.append(put)
        return at_once

    def _flood(self, put: Put, now_ms: int) -> list[Put]:
        """As many events as a shard remembers, or nearly, on the shard of this record, and then its retry."""
        number = max(1, self._limits.ids_max + between(self._chance, -2, 2))
        at_once = self._chance.random() < 0.5
        if not at_once:
            self._send_later(now_ms + between(self._chance, 1, self._limits.horizon_ms // 2), put)
            number = max(1, number - below(self._chance, 20))  # others come in between, and a reshard perhaps
        said = self._applications.say_many(now_ms, number)
        payloads = [Payload(each.user_id, None, each.text, (each.piece,)) for each in said]
        flood = _pack(payloads, payloads[0].partition_key, put.hash_key)
        return [flood, put] if at_once else [flood]

    def _delay_ms(self) -> int:
        horizon_ms = self._limits.horizon_ms
        kind = self._chance.random()
        if kind < 0.3:
            return 0
        if kind < 0.7:
            return between(self._chance, 100, 8_000)
        if kind < 0.86:
            return max(1, horizon_ms + pick(self._chance, (-1, 0, 0, 1, 1)))
        return horizon_ms + between(self._chance, 1, 40_000)

    def _send_later(self, due_ms: int, what: Put | Sequence[Payload]) -> None:
        heappush(self._later, (due_ms, next(self._ties), what))

    # ── ways of sending ──

    def _plain(self, now_ms: int, open_shards: Sequence[OpenShard]) -> Put:
        return self._payload(now_ms).alone()

    def _aggregator(self, now_ms: int, open_shards: Sequence[OpenShard]) -> Put:
        payloads = self._payloads(now_ms)
        return _pack(payloads, payloads[0].partition_key, payloads[0].explicit_hash_key)

    def _imitator(self, now_ms: int, open_shards: Sequence[OpenShard]) -> Put:
        payloads = self._payloads(now_ms)
        return _pack(payloads, KPL_PARTITION_KEY, pick(self._chance, (None, payloads[0].hash_key)))

    def _broken(self, now_ms: int, open_shards: Sequence[OpenShard]) -> Put:
        whole = pick(self._chance, (self._aggregator, self._imitator))(now_ms, open_shards)
        # It goes where the whole would have gone; nothing inside can be told.
        pieces = (Poison("broken aggregate"),)
        return Put(whole.partition_key, whole.explicit_hash_key, broken(whole.data), (UserRecord(pieces),))

    def _payloads(self, now_ms: int) -> list[Payload]:
        number = between(self._chance, 1, 5) if self._chance.random() < 0.96 else between(self._chance, 12, 25)
        return [self._payload(now_ms) for _ in range(number)]

    def _payload(self, now_ms: int) -> Payload:
        """One payload: an event or poison, at times compressed, or several as JSON Lines."""
        chance = self._chance
        kind = chance.random()
        if kind < 0.12:
            # One line must be JSON for the rest to be told from it, so an event opens.
            said = [self._applications.say_event(now_ms)]
            said += [self._applications.say(now_ms, line=True) for _ in range(between(chance, 1, 5))]
            data = b"\n".join([each.text for each in said])
        else:
            said = [self._applications.say(now_ms)]
            data = said[0].text
        if 0.09 < kind < 0.18:
            data = pick(chance, (gzipped, zstd))(data)
        return Payload(*self._keys(said[0]), data, tuple([each.piece for each in said]))

    def _keys(self, said: Said) -> tuple[str, int | None]:
        """A partition key and, seldom, an explicit hash key: mostly a user's events go one way."""
        kind = self._chance.random()
        if kind < 0.9:
            return said.user_id, None
        if kind < 0.95:
            return pick(self._chance, USERS), None
        return said.user_id, self._hash_key_in(pick(self._chance, self._known))

    def _hash_key_in(self, keys: range) -> int:
        """A key of this range, often at its edge or at the edge of what a split would leave of it."""
        chance = self._chance
        if chance.random() < 0.4:
            eighth = keys.start + (keys.stop - keys.start) * below(chance, 9) // 8
            return min(max(eighth - below(chance, 2), keys.start), keys.stop - 1)
        return chance.randrange(keys.start, keys.stop)

    # ── the KPL ──

    def _kpl(self, now_ms: int, open_shards: Sequence[OpenShard]) -> Put:
        """A new record of user records that all belong, by the KPL's map, to one shard."""
        payloads = self._payloads(now_ms)
        shard = self._known_shard_of(payloads[0].hash_key)
        payloads = [payloads[0], *(self._moved_into(shard, payload) for payload in payloads[1:])]
        return self._put_by_kpl(payloads, now_ms, open_shards)

    def _moved_into(self, shard: range, payload: Payload) -> Payload:
        if payload.hash_key in shard:
            return payload
        key_of_shard = next((user_id for user_id in USERS if hash_key_of(user_id) in shard), None)
        if key_of_shard and self._chance.random() < 0.5:
            return Payload(key_of_shard, None, payload.data, payload.pieces)
        return Payload(payload.partition_key, self._hash_key_in(shard), payload.data, payload.pieces)

    def _put_by_kpl(self, payloads: Sequence[Payload], now_ms: int, open_shards: Sequence[OpenShard]) -> Put:
        """Pack user records of one known shard, and note what the KPL will send again after the stream's answer."""
        first = payloads[0]
        # The KPL aggregates two user records or more.
        put = first.alone() if len(payloads) == 1 else _pack(payloads, KPL_PARTITION_KEY, first.hash_key)
        meant = self._known_shard_of(put.hash_key)
        taken_by = next(shard.keys for shard in open_shards if put.hash_key in shard.keys)
        if taken_by != meant:
            again = payloads  # the answer names a shard that the map has not: it trusts nothing of it
            if self._chance.random() < 0.6:
                self._refresh(open_shards)
                again = [payload for payload in payloads if payload.hash_key not in taken_by]
            if again:
                self._send_later(now_ms + between(self._chance, 50, 4_000), again)
        return put

    def _send_again(self, payloads: Sequence[Payload], now_ms: int, open_shards: Sequence[OpenShard]) -> list[Put]:
        """Send user records once more, each by what the map says now, alone or in new aggregates."""
        if self._chance.random() < 0.3:
            return [self._put_by_kpl([payload], now_ms, open_shards) for payload in payloads]
        by_shard: dict[range, list[Payload]] = {}
        for payload in payloads:
            by_shard.setdefault(self._known_shard_of(payload.hash_key), []).append(payload)
        return [self._put_by_kpl(group, now_ms, open_shards) for group in by_shard.values()]

    def _known_shard_of(self, hash_key: int) -> range:
        return next(keys for keys in self._known if hash_key in keys)

    def _refresh(self, open_shards: Sequence[OpenShard]) -> None:
        self._known = [shard.keys for shard in open_shards]


def _pack(payloads: Sequence[Payload], partition_key: str, explicit_hash_key: int | None) -> Put:
    data = aggregated([(payload.partition_key, payload.explicit_hash_key, payload.data) for payload in payloads])
    user_records = tuple([UserRecord(payload.pieces, payload.hash_key) for payload in payloads])
    return Put(partition_key, explicit_hash_key, data, user_records)
