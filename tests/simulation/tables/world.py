"""A world of one thread, one source of chance and a virtual clock, in which the consumers of tables' streams run.

A table of orders and applications make events; `capture` and `ingest` count them; whatever changes in the aggregates
table is told on its own stream, to `rollup` and `fan_out`; `tick` settles what is over. At any call of a store the
process may be killed, the call may fail with or without its effect, or take effect later. In the midst of any call
another container may handle the same records, and others may do their work: other shards, other consumers, a tick, the
writers.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.rollup import WindowKey, window_above
from chalicelib.aws.aggregates_stream import parse_stored_changes
from chalicelib.consumers.alerts import Alerts
from chalicelib.consumers.capture import Capture
from chalicelib.consumers.counted_ids import IDS_MAX, CountedIds
from chalicelib.consumers.fan_out import FanOut
from chalicelib.consumers.final_results import FinalResults
from chalicelib.consumers.ingest import Ingest
from chalicelib.consumers.ports import StoredChange
from chalicelib.consumers.publish import Publish
from chalicelib.consumers.rollup import RollUp
from chalicelib.consumers.settle import Duty, Settle, SettleAll
from chalicelib.consumers.tick import Tick, tick_on
from chalicelib.errors import TransientError
from chalicelib.reading.completeness import complete_until
from chalicelib.reading.ports import Settled
from tests.builders import MINUTE_MS, NOON_MS, ORDERS_TABLE, STREAM, lambda_event
from tests.fakes import MemoryEffects, MemoryThresholds
from tests.simulation.calls import Calls
from tests.simulation.faults import Killed
from tests.simulation.tables.age import age
from tests.simulation.tables.aggregates import AggregatesTable
from tests.simulation.tables.events import EventsStream
from tests.simulation.tables.faults import TableFaults
from tests.simulation.tables.oracle import Oracle
from tests.simulation.tables.questions import Analysts
from tests.simulation.tables.reading import Answer, Consumer, Reading, Shard, Told
from tests.simulation.tables.sources import Applications, OrdersTable
from tests.simulation.tables.stage import LATENESS_MS, STAGES, make_stage
from tests.simulation.tables.topic import Publisher, Topic
from tests.simulation.tables.unreliable import Unreliable

HORIZON_MS = 4 * 60 * MINUTE_MS  # above what any run takes: whatever a capture puts twice, it puts within it
STEP_MS_MAX = 40_000
NESTED_MAX = 3  # others at work in the midst of others
TIME_MS = 60_000
STEPS_TO_CATCH_UP = 6
JUMP_MS_MAX = 4 * MINUTE_MS  # an invocation may hang for so long …
JUMPS_UNTIL_MS = NOON_MS + 12 * MINUTE_MS  # … early in a run, so that no capture comes too late

TICK, FORGOTTEN = "tick", "forgotten"
Running = Reading | str  # whoever is at work: a shard's own invocation, or one of these


class World:
    """One run's world."""

    def __init__(self, seed: int, faults: TableFaults) -> None:
        self.chance = chance = Random(seed)
        self.faults = faults
        self.now_ms = NOON_MS
        self.over_ms = 0
        self.batches = 0
        self.stage = make_stage(chance.randrange(STAGES))
        lateness_ms = {name: self.stage.lateness_ms(name) for name in self.stage.catalog.event_types}
        self.oracle = Oracle(lateness_ms)
        self.orders = OrdersTable(chance, shards=chance.randint(1, 2))
        self._applications = Applications(chance, lateness_ms["order.placed"])
        self.events = EventsStream(chance.randint(1, 3), self._judge)
        self.aggregates = AggregatesTable(self.stage, chance.randint(1, 4), lambda: self.now_ms)
        self._calls = Calls(chance, faults, self._meanwhile)
        self._running: list[Running] = []
        self.topic = Topic(self.stage, self.aggregates)
        self._throttled_until_ms = 0
        self.stores = Unreliable(
            chance, faults, self._calls, aggregates=self.aggregates, events=self.events, accept=self._accept
        )
        self._readings = [
            Reading(chance, faults, consumer, shard)
            for shards, consumers in (
                (self.orders.shards, [self._capture()]),
                (self.events.shards, [self._ingest()]),
                (self.aggregates.shards, [self._roll_up(), self._fan_out()]),
            )
            for consumer in consumers
            for shard in shards
        ]
        self._analysts = Analysts(chance, self.stage, self.aggregates, self.events)
        if chance.random() < 0.5:
            age(self.stage, self.aggregates, self._duties())
        settled = self.aggregates.read_settled(Alerts.purpose, 1)
        self._settled_ms = {name: each.until_ms for name, each in settled.items()}  # before the run

    # ── the consumers, as wiring makes them ──

    def _capture(self) -> Consumer:
        def make() -> Capture:
            return Capture(ORDERS_TABLE, "order.changed", self.stores, self.stores, pause=lambda _: None)

        return Consumer("capture", make, _handle_table_records)

    def _ingest(self) -> Consumer:
        def make() -> Ingest:
            return Ingest(
                self.stage.catalog,
                self.stage.decoder,
                partials=self.stores,
                dead_letters=self.stores,
                progress=self.stores,
                ids=CountedIds(self.stores, self.stores, HORIZON_MS, IDS_MAX),
                effects=MemoryEffects(),
            )

        return Consumer("ingest", make, _handle_events)

    def _roll_up(self) -> Consumer:
        def handle(roll_up: RollUp, shard: Shard, records: Sequence[Told], remaining_ms: Callable[[], int]) -> Answer:
            changes = self._changes(records)
            at_least = self._numbers_below(changes)
            report = roll_up(changes, remaining_ms)
            numbers = [change.sequence_number for change in changes]
            failed = report.failed_sequence_number
            for place, (key, number) in at_least.items():
                if failed is None or place < numbers.index(failed):
                    metric = self.stage.catalog.metrics[key.metric]
                    assert self.aggregates.number_in(metric, key, key.step_ms) >= number, "acknowledged, not carried"
            self.faults.fired["rollup overtaken"] += report.overtaken
            return report.response

        return Consumer("rollup", self._new_roll_up, handle)

    @property
    def watched(self) -> set[str]:
        """The metrics that have alerts."""
        return {alert.metric for alert in self.stage.alerts}

    def is_carried(self, metric: Metric) -> bool:
        """Whether its rollups are up to date before they are settled."""
        return metric.published or metric.name in self.watched

    def _numbers_below(self, changes: Sequence[StoredChange]) -> Mapping[int, tuple[WindowKey, int]]:
        """How much, by the place of a change, the window above it must hold once it is done with: what only grows."""
        found = {}
        for place, change in enumerate(changes):
            if isinstance(change.key, WindowKey):
                metric = self.stage.catalog.metrics[change.key.metric]
                above = window_above(metric, change.key)
                if above and metric.event_type == "order.placed" and self.is_carried(metric):
                    found[place] = above, self.aggregates.number_in(metric, above, change.key.step_ms)
        return found

    def _new_roll_up(self) -> RollUp:
        return RollUp(
            self.stage.catalog,
            LATENESS_MS,
            self.stores,
            self.stores,
            clock_ms=lambda: self.now_ms,
            watched=self.watched,
        )

    def _fan_out(self) -> Consumer:
        def make() -> FanOut:
            return FanOut(
                self.stage.catalog,
                stage_lateness_ms=LATENESS_MS,
                stream=STREAM,
                shares=self.stores,
                shards=self.stores,
                progress=self.stores,
                publish=self._new_publish("fan_out"),
                clock_ms=lambda: self.now_ms,
                watch=self._new_alerts(),
                watched=self.watched,
                alerts=self.stores,
            )

        def handle(fan_out: FanOut, shard: Shard, records: Sequence[Told], remaining_ms: Callable[[], int]) -> Answer:
            return fan_out(self._changes(records), remaining_ms).response

        return Consumer("fan_out", make, handle)

    def _new_publish(self, name: str) -> Publish:
        publisher = Publisher(self.topic, self._calls, lambda: self.now_ms < self._throttled_until_ms)
        return Publish(publisher, self.stores, "highwater-test-aggregates", name, lambda: self.now_ms)

    def _new_alerts(self) -> Alerts:
        return Alerts(
            self.stage.alerts,
            shares=self.stores,
            first_window=self.stores.first_window,
            store=self.stores,
            thresholds=MemoryThresholds(),
            tell=lambda report: None,
        )

    def _duties(self) -> list[Duty]:
        final_results = FinalResults(
            self._new_roll_up(), self.stores, self.stores, self._new_publish("final_results"), lambda report: None
        )
        return [self._new_alerts(), self._new_roll_up(), final_results]

    def _changes(self, records: Sequence[Told]) -> Sequence[StoredChange]:
        return parse_stored_changes(self.stage.catalog, {"Records": [told.record for told in records]})

    # ── what the world does by itself ──

    def happen(self) -> None:
        """Time goes by, and somebody writes: an application, or whoever changes orders; or an old item expires."""
        self.now_ms += self.chance.randrange(STEP_MS_MAX)
        self._write()
        if self.faults.hits(self.chance, "expired") and self.aggregates.expire(self.chance):
            self.faults.fired["item expired"] += 1

        if self.faults.hits(self.chance, "topic_throttled"):
            self._throttled_until_ms = self.now_ms + self.chance.randrange(4 * STEP_MS_MAX)

    def _write(self) -> None:
        for _ in range(self.chance.randrange(4)):
            if self.chance.random() < 0.5:
                self.orders.write(self.now_ms)
            else:
                self._accept(self._applications.place(self.now_ms))

    def _accept(self, record: Any) -> None:
        self.events.accept(record, self.now_ms)

    def _judge(self, shard: Shard, told: Told) -> None:
        data = told.record.data
        if told.record.partition_key == "tick":
            return
        event = self._applications.events.get(data) or self.orders.event_of(data)
        self.oracle.judge(shard.shard_id, event, told.arrived_ms)

    def work(self) -> None:
        """Let each mapping take a step, in any order."""
        for reading in self.chance.sample(self._readings, len(self._readings)):
            if self.faults.hits(self.chance, "forgotten"):
                self._forget(reading)
            self._step(reading)
        self._calls.let_late_effects_land()

    def ask(self) -> None:
        """An analyst asks about now."""
        metric = self.chance.choice(self.stage.metrics)
        stored = self.aggregates.stored(metric, metric.window_ms)
        self._analysts.ask(metric, stored, NOON_MS - 30 * MINUTE_MS, self.now_ms)

    def minute(self) -> None:
        """The minute's schedule; it may fail to come, or come twice at once."""
        if not self.faults.hits(self.chance, "tick_missed"):
            self._tick()

    def _tick(self) -> None:
        """What `wiring.tick` does."""
        remaining_ms = self._remaining_ms()
        settles = {duty.purpose: Settle(self.stage.metrics, duty, self.stores) for duty in self._duties()}
        settle_all = SettleAll(STREAM, self.stores, self.stores, settles)
        self._running.append(TICK)
        try:
            Tick(self.stores)(self.now_ms, remaining_ms)
            settle_all(remaining_ms)
        except (Killed, TransientError):
            self.faults.fired["tick died"] += 1
        finally:
            self._running.pop()

    def let_all_be_over(self) -> None:
        """Let time go by until nothing can change any more, whatever its window and its lateness."""
        for metric in self.stage.metrics:
            step_ms = metric.steps_ms[-1]
            window_end_ms = self.now_ms - self.now_ms % step_ms + step_ms
            self.over_ms = max(self.over_ms, window_end_ms + self.stage.lateness_ms(metric.event_type))
        self.now_ms = self.over_ms

    @property
    def is_drained(self) -> bool:
        """Whether everything that was told has been handled, and no effect is still to come."""
        return self._calls.are_over and all(reading.is_done for reading in self._readings)

    # ── invocations ──

    def _step(self, reading: Reading) -> None:
        waits_until_ms = reading.step(self.now_ms, self._invoke)  # meanwhile time may have gone by
        self.now_ms = max(self.now_ms, waits_until_ms)

    def _invoke(self, reading: Reading, records: Sequence[Told]) -> Answer | None:
        return self._run(reading, records, running=reading)

    def _forget(self, reading: Reading) -> None:
        """An invocation that Lambda has given up goes on, slowly: all others go their way, its own shard's too."""
        if records := reading.some_records():
            self._run(reading, records, running=FORGOTTEN)

    def _run(self, reading: Reading, records: Sequence[Told], running: Running) -> Answer | None:
        container = reading.consumer.container(self.chance, self.faults)
        self.batches += 1
        self._running.append(running)
        try:
            answer = reading.consumer.handle(container, reading.shard, records, self._remaining_ms())
        except Killed:
            return None
        finally:
            self._running.pop()
        reading.consumer.give_back(container)
        return answer

    def _remaining_ms(self) -> Callable[[], int]:
        """What is left of an invocation's time: enough, or none from some moment on."""
        if not self.faults.hits(self.chance, "out_of_time"):
            return lambda: TIME_MS
        asked = iter([TIME_MS] * self.chance.randrange(12))
        return lambda: next(asked, 0)

    def _meanwhile(self) -> None:
        """What goes on in the midst of a call."""
        if not self._running or len(self._running) > NESTED_MAX:
            return
        running = self._running[-1]
        if self.faults.hits(self.chance, "landing"):
            self._calls.let_late_effects_land()
        if running is FORGOTTEN and self.chance.random() < 0.5:
            self._go_all_the_way()
        elif self.faults.hits(self.chance, "doubled"):
            self._double(running)
        if self.faults.hits(self.chance, "overtaken"):
            self._overtake()

    def _double(self, running: Running) -> None:
        """A second container is at the same work, later than the first; nobody hears what it answers."""
        if self.chance.random() < 0.5:
            self._overtake()
        if running is TICK:
            if self.faults.hits(self.chance, "tick_doubled"):
                self._tick()
        elif isinstance(running, Reading) and (records := running.some_records()):
            self._invoke(running, records)

    def _go_all_the_way(self) -> None:
        """What is written now is counted, carried and told, in the midst of a call; at times it is complete, too."""
        self._accept(self._applications.place(self.now_ms))
        self._write()
        if self.now_ms < JUMPS_UNTIL_MS and self.chance.random() < 0.3:
            self.now_ms += self.chance.randrange(JUMP_MS_MAX)
            for shard in self.events.list_shards(1):
                self._accept(tick_on(shard, self.now_ms))
        for reading in self._readings:  # in the order in which changes go
            for _ in range(STEPS_TO_CATCH_UP):
                if reading not in self._running and not reading.is_done:
                    self._step(reading)

    def _overtake(self) -> None:
        """Others do theirs: each shard's mapping goes its own way, and so do writers and the schedule."""
        if self.chance.random() < 0.3:
            self.now_ms += self.chance.randrange(STEP_MS_MAX)
            self._write()
        if self.chance.random() < 0.1 and TICK not in self._running:
            self._tick()
        others = [reading for reading in self._readings if reading not in self._running]
        for reading in self.chance.sample(others, min(len(others), self.chance.randrange(1, 5))):
            for _ in range(self.chance.choice([1, 1, 3])):
                self._step(reading)

    def looked_at(self, metric: Metric) -> Settled:
        """Which windows have been looked at for alerts, since the run began."""
        settled = self.aggregates.settled.get((Alerts.purpose, metric.name), Settled(0, 0, 0))
        return Settled(
            max(settled.from_ms, self._settled_ms.get(metric.name, 0)), settled.until_ms, settled.complete_until_ms
        )

    # ── what must hold at every moment ──

    def complete_until(self) -> int | None:
        """What an answer would claim now."""
        return complete_until(self.events.list_shards(1), self.aggregates.read_progress(STREAM, 1))

    def check(self) -> None:
        """Whatever `complete_until` claims is counted: of one metric whose numbers only grow."""
        claimed_ms = self.complete_until()
        if claimed_ms is None:
            return
        metric = self.chance.choice(self.stage.catalog.of_event_type("order.placed"))
        stored = self.aggregates.stored(metric, metric.window_ms)
        for window_start_ms, number in self.oracle.numbers(metric, claimed_ms).items():
            counted = sum(count for count, *_ in stored.get(window_start_ms, {}).values())
            assert counted >= number, "claims what is not counted"


def _handle_table_records(
    capture: Capture, shard: Shard, records: Sequence[Told], remaining_ms: Callable[[], int]
) -> Answer:
    return capture({"Records": [told.record for told in records]}, remaining_ms).response


def _handle_events(ingest: Ingest, shard: Shard, records: Sequence[Told], remaining_ms: Callable[[], int]) -> Answer:
    event = lambda_event([])
    for told in records:
        event["Records"] += lambda_event(
            [told.record.data],
            first=int(told.sequence_number),
            shard=shard.shard_id,
            arrived_at_ms=told.arrived_ms,
            partition_key=told.record.partition_key,
        )["Records"]
    return ingest(event, remaining_ms).response
