"""The topic of results in memory, and what its subscribers can hold against each message as it comes."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.windows import parse_duration, parse_instant
from chalicelib.consumers.ports import Failed, Message, Published
from tests.simulation.calls import Calls
from tests.simulation.tables.age import is_old
from tests.simulation.tables.aggregates import AggregatesTable
from tests.simulation.tables.oracle import OVERFLOW, Groups
from tests.simulation.tables.stage import NAMES, Stage


class Window(NamedTuple):
    """A window that messages are about."""

    metric: str
    step_ms: int
    window_start_ms: int


class Told(NamedTuple):
    """What the parts of a window's messages say together, that are alike in all else."""

    window: Window
    revision: int
    is_final: bool


class Topic:
    """Takes messages, in the order in which they come."""

    def __init__(self, stage: Stage, aggregates: AggregatesTable) -> None:
        self._stage = stage
        self._aggregates = aggregates
        self._by_id: dict[str, Mapping[str, Any]] = {}
        self.windows: dict[Told, list[Groups]] = defaultdict(list)
        self.alerts: list[Mapping[str, Any]] = []

    def take(self, message: Message) -> None:
        """A message has come."""
        said = json.loads(message.body, parse_float=Decimal)
        assert self._by_id.setdefault(said["id"], said) == said, "two messages have one id"
        if said["kind"] == "alert":
            self.alerts.append(said)
            return
        told = told_by(message)
        metric = self._stage.catalog.metrics[told.window.metric]
        groups = _groups_of(metric, said["rows"])
        assert not is_old(told.window), "something is told of a window that has long been settled"
        if metric.event_type == "order.placed":
            self._check_stored(metric, told, groups)
        if groups not in self.windows[told]:
            self.windows[told].append(groups)

    def _check_stored(self, metric: Metric, told: Told, groups: Groups) -> None:
        """What only grows is never told before it is stored."""
        _, step_ms, start_ms = told.window
        of_step = self._aggregates.rolled_up if metric.is_rollup(step_ms) else self._aggregates.stored
        stored = of_step(metric, step_ms, start_ms).get(start_ms, {})
        assert all(groups[group][0] <= stored.get(group, (0,))[0] for group in groups), "told before it is stored"

    def highest(self) -> dict[Window, tuple[int, list[Groups]]]:
        """What a subscriber ends with that keeps the highest revision of each window: it, and all that it was told."""
        found: dict[Window, tuple[int, list[Groups]]] = {}
        for told, groups in self.windows.items():
            revision, known = found.get(told.window, (0, []))
            if told.revision >= revision:
                also = known if told.revision == revision else []
                found[told.window] = told.revision, also + [each for each in groups if each not in also]
        return found

    def finals(self) -> Iterator[tuple[Told, list[Groups]]]:
        """What was said to be final."""
        return ((told, groups) for told, groups in self.windows.items() if told.is_final)


class Publisher:
    """The topic as one container sees it: calls go wrong, and what it publishes of a window goes forward."""

    def __init__(self, topic: Topic, calls: Calls, is_throttled: Any) -> None:
        self._topic = topic
        self._calls = calls
        self._is_throttled = is_throttled
        self._revisions: dict[Window, int] = {}

    def publish_messages(self, messages, timeout_ms):
        if not timeout_ms:
            return [Failed("out of time")] * len(messages)
        return [self._publish(message) for message in messages]

    def _publish(self, message: Message) -> Published | Failed:
        if message.attributes["kind"] == "window":
            told = told_by(message)
            assert self._revisions.get(told.window, 0) <= told.revision, "a container's own revisions went back"
            self._revisions[told.window] = told.revision
        if self._is_throttled():
            return Failed("Throttled")

        def take() -> Published:
            self._topic.take(message)
            return Published()

        return self._calls.make(take, lambda: Failed("InternalError"))


def told_by(message: Message) -> Told:
    """What a message about a window is about, by what a subscriber can filter and order by."""
    said = json.loads(message.body, parse_float=Decimal)
    assert said["part"] == said["parts"] == 1, "a window here is small"
    assert message.attributes["final"] == ("true" if said["final"] else "false")
    step_ms, start_ms = parse_duration(message.attributes["step"]), parse_instant(said["window_start"])
    assert parse_instant(said["window_end"]) == start_ms + step_ms
    return Told(Window(said["metric"], step_ms, start_ms), said["revision"], said["final"])


def _groups_of(metric: Metric, rows: list[Mapping[str, Any]]) -> Groups:
    measures = [NAMES[accumulator.kind] for accumulator in metric.accumulators]
    groups = {}
    for row in rows:
        group = tuple(row[dimension] for dimension in metric.by)
        states = tuple(row[measure] for measure in measures)
        groups[OVERFLOW if None in group else group] = states
    assert len(groups) == len(rows), "a group is told twice"
    return groups
