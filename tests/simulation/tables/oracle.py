"""What must be stored and told, from what producers and the table know: independent of the code under test, and naive.

A metric's declaration is taken as it is, with the bucket and the partition of a group; nothing else of the code under
test is used. Everything is computed anew, from all events, whenever it is asked for.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct

from chalicelib.aggregates.metric import Metric

Group = tuple[str, ...]
States = tuple[int | Decimal, ...]
Groups = dict[Group, States]
OVERFLOW: Group = ()


class Row(Struct, frozen=True):
    """What a metric sees of an event: one row, or of a change the old one taken back and the new one."""

    sign: int
    values: Mapping[str, str]
    amount: Decimal


class Event(Struct, frozen=True):
    """An event as its producer knows it, or the table whose change it tells."""

    source: str
    id: str
    type: str
    time_ms: int
    rows: tuple[Row, ...]


class Counted(Struct, frozen=True):
    """An event that must be in every metric of its type, by the shard that took it."""

    writer: str
    arrived_ms: int
    event: Event


class Oracle:
    """Judges each record when the stream takes it, and says what all of them come to."""

    def __init__(self, lateness_ms: Mapping[str, int]) -> None:
        self._lateness_ms = lateness_ms
        self._known: set[tuple[str, str, str]] = set()
        self.counted: list[Counted] = []
        self.too_late: list[Event] = []

    def judge(self, writer: str, event: Event, arrived_ms: int) -> None:
        """Take one event in. Every repeat is within the horizon, for it is longer than any run."""
        if event.time_ms < arrived_ms - self._lateness_ms[event.type]:
            self.too_late.append(event)
        elif (writer, event.source, event.id) not in self._known:
            self._known.add((writer, event.source, event.id))
            self.counted.append(Counted(writer, arrived_ms, event))

    def windows(self, metric: Metric, step_ms: int) -> dict[int, Groups]:
        """What each window of this size holds, merged over writers and buckets."""
        found: dict[int, dict[Group, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for (start_ms, *_), groups in self._shares(metric).items():
            for group, rows in groups.items():
                found[start_ms - start_ms % step_ms][group] += rows
        return {start_ms: _states(metric, groups) for start_ms, groups in found.items()}

    def _shares(self, metric: Metric) -> dict[tuple[int, int, str], dict[Group, list[Row]]]:
        """The rows of each writer's share of each base window of each bucket, by group, overflow included."""
        shares: dict[tuple[int, int, str], dict[Group, list[Row]]] = defaultdict(dict)
        for each in self.counted:
            if each.event.type == metric.event_type:
                start_ms = each.event.time_ms - each.event.time_ms % metric.window_ms
                for row in each.event.rows:
                    group = tuple(row.values[dimension] for dimension in metric.by)
                    share = shares[start_ms, metric.bucket_of(group), each.writer]
                    is_full = len(share.keys() - {OVERFLOW}) >= metric.group_limit
                    share.setdefault(OVERFLOW if is_full and group not in share else group, []).append(row)
        return shares

    def numbers(self, metric: Metric, before_ms: int) -> dict[int, int]:
        """How many rows of events that arrived before this instant each base window of a metric has."""
        found: dict[int, int] = defaultdict(int)
        for each in self.counted:
            if each.event.type == metric.event_type and each.arrived_ms < before_ms:
                found[each.event.time_ms - each.event.time_ms % metric.window_ms] += len(each.event.rows)
        return found


def _states(metric: Metric, groups: Mapping[Group, Iterable[Row]]) -> Groups:
    return {
        group: tuple(_state(accumulator.kind, list(rows)) for accumulator in metric.accumulators)
        for group, rows in groups.items()
    }


def _state(kind: str, rows: list[Row]) -> int | Decimal:
    if kind in ("min", "max"):
        return (min if kind == "min" else max)(row.amount for row in rows)
    return sum(row.sign if kind == "count" else row.sign * row.amount for row in rows)


def merged(metric: Metric, shares: Iterable[Mapping[Group, States]]) -> Groups:
    """Several shares as one."""
    found: dict[Group, list[States]] = defaultdict(list)
    for groups in shares:
        for group, states in groups.items():
            found[group].append(states)
    ways = [{"min": min, "max": max}.get(accumulator.kind, sum) for accumulator in metric.accumulators]
    return {
        group: tuple(way(column) for way, column in zip(ways, zip(*states, strict=True), strict=True))
        for group, states in found.items()
    }
