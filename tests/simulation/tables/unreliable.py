"""The stores and streams as consumers see them: any call may go wrong, and reads are no snapshot of anything."""

from collections.abc import Sequence
from functools import partial as bind
from random import Random
from typing import Any

from chalicelib.consumers.ports import Failed, RaisedAlert
from chalicelib.errors import TransientError
from tests.fakes import MemoryDeadLetters, MemoryIds
from tests.simulation.calls import Calls
from tests.simulation.faults import Faults
from tests.simulation.tables.aggregates import AggregatesTable
from tests.simulation.tables.events import EventsStream


def throttled() -> Any:
    raise TransientError("ThrottlingException")


def failed() -> Failed:
    return Failed("ThrottlingException")


def _key_of(put: Any) -> Any:
    return put.id if isinstance(put, RaisedAlert) else put.key


class Unreliable:
    """Every port of every consumer."""

    def __init__(
        self,
        chance: Random,
        faults: Faults,
        calls: Calls,
        *,
        aggregates: AggregatesTable,
        events: EventsStream,
        accept: Any,
    ) -> None:
        self._chance = chance
        self._faults = faults
        self._calls = calls
        self._aggregates = aggregates
        self._events = events
        self._accept = accept
        self.ids = MemoryIds()
        self.dead_letters = MemoryDeadLetters()

    # ── the aggregates table ──

    def put_partials(self, puts, timeout_ms):
        return self._put_each(self._aggregates.put_partials, puts, timeout_ms)

    def put_rollups(self, puts, timeout_ms):
        return self._put_each(self._aggregates.put_rollups, puts, timeout_ms)

    def read_rollups(self, keys, timeout_ms):
        """Each is read at a moment of its own."""
        found = {}
        for key in sorted(keys):
            found |= self._within(timeout_ms, bind(self._aggregates.read_rollups, [key], timeout_ms))
        return found

    def put_alerts(self, alerts, timeout_ms):
        return self._put_each(self._aggregates.put_alerts, alerts, timeout_ms)

    def read_alerts(self, keys, timeout_ms):
        return self._within(timeout_ms, bind(self._aggregates.alerts.read_alerts, keys, timeout_ms))

    def read_shares(self, plans, take, timeout_ms):
        """Each partition is read at a moment of its own, in any order; where one fails, some has been handed over."""
        partitions = sorted(
            ((plan, partition) for plan in plans for partition in plan.partitions),
            key=lambda each: (each[0].metric.name, each[0].step_ms, each[0].start_ms, each[1]),
        )
        self._chance.shuffle(partitions)
        for plan, partition in partitions:
            only = type(plan)(plan.metric, plan.step_ms, (partition,), plan.start_ms, plan.end_ms)
            for share in self._within(timeout_ms, bind(self._read, only, timeout_ms)):
                take(plan, share)

    def _read(self, plan, timeout_ms):
        shares = []
        self._aggregates.read_shares([plan], lambda _, share: shares.append(share), timeout_ms)
        return shares

    def first_window(self, metric, timeout_ms):
        return self._within(timeout_ms, bind(self._aggregates.first_window, metric, timeout_ms))

    def read_settled(self, purpose, timeout_ms):
        return self._within(timeout_ms, bind(self._aggregates.read_settled, purpose, timeout_ms))

    def advance_settled(self, *what):
        return self._within(what[-1], bind(self._aggregates.advance_settled, *what))

    def read_progress(self, stream, timeout_ms):
        return self._within(timeout_ms, bind(self._aggregates.read_progress, stream, timeout_ms))

    def advance(self, *what):
        return self._within(what[-1], bind(self._aggregates.advance, *what))

    # ── the id log and the dead letters ──

    def read_back(self, writer, *, timeout_ms, **what):
        return self._within(timeout_ms, bind(self.ids.read_back, writer, timeout_ms=timeout_ms, **what))

    def read_on(self, writer, *, timeout_ms, **what):
        return self._within(timeout_ms, bind(self.ids.read_on, writer, timeout_ms=timeout_ms, **what))

    def put_run(self, writer, run, timeout_ms):
        return self._within(timeout_ms, bind(self.ids.put_run, writer, run, timeout_ms))

    def put_dead_letters(self, stream, shard_id, rejected, timeout_ms):
        if not timeout_ms:
            return dict.fromkeys(rejected, "out of time")
        errors = {
            place: self._calls.make(
                bind(self.dead_letters.put_dead_letters, stream, shard_id, {place: what}, timeout_ms),
                lambda place=place: {place: "SlowDown"},
            )
            for place, what in rejected.items()
        }
        return {place: error for each in errors.values() for place, error in each.items()}

    # ── the events stream ──

    def list_shards(self, timeout_ms):
        return self._within(timeout_ms, bind(self._events.list_shards, timeout_ms))

    def put_records(self, records, timeout_ms):
        """The stream, which takes some of the records."""
        refused = []
        if self._faults.hits(self._chance, "refused_in_part"):
            refused = self._chance.sample(range(len(records)), self._chance.randint(1, len(records)))

        def take() -> Sequence[int]:
            for place, record in enumerate(records):
                if place not in refused:
                    self._accept(record)
            return sorted(refused)

        return self._within(timeout_ms, take)

    # ──

    def _put_each(self, put, puts, timeout_ms):
        if not timeout_ms:
            return put(puts, 0)
        # Consumers keep keys in sets, whose order is another in each process: a seed must mean the same in all of them.
        in_order = sorted(range(len(puts)), key=lambda place: _key_of(puts[place]))
        outcomes = {
            place: self._calls.make(lambda each=puts[place]: put([each], timeout_ms)[0], failed) for place in in_order
        }
        return [outcomes[place] for place in range(len(puts))]

    def _within(self, timeout_ms, effect):
        if not timeout_ms:
            raise TransientError("out of time")
        return self._calls.make(effect, throttled)
