"""A metric as `definitions.py` declares it, and the catalog of all of them, checked when it is made.

A mistake in a declaration is found at import and names itself; nothing of it is left to find at run time.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from typing import Annotated, Any, get_args, get_origin
from zlib import crc32

import msgspec
from msgspec import Struct

from chalicelib.aggregates.measures import Accumulator, Finish, Measure, Reduce, Sketch, State, Value
from chalicelib.aggregates.windows import UNIT_MS, format_duration, parse_duration
from chalicelib.change import Change, row_class
from chalicelib.errors import DefinitionError

ITEM_BYTES_MAX = 400_000  # DynamoDB's limit is 400 KiB; the rest is for keys and the item's own attributes
GROUP_KEY_BYTES_MAX = 150_000  # all groups' dimension values in one partial, encoded
RESERVED = ("alert", "progress", "settled")  # what other keys of the aggregates table begin with
ROLLUPS = ("1h", "1d")  # what a metric has that declares none
GROUP_OVERHEAD_BYTES, VALUE_OVERHEAD_BYTES = 8, 5  # of MessagePack, around a group and around each of its values

GroupKey = tuple[str, ...]
OVERFLOW: GroupKey = ()  # no declared dimension has no values, so no group is named like this one


class Metric(Struct, frozen=True, dict=True, kw_only=True):
    """A windowed aggregate over one event type.

    Shapes: by, the dimensions: text fields of the event's data, or of the row if it is a change; measures, by the
            name that answers give them.
    Units:  window, lateness, retention are durations (`1m`, `6h`, `400d`). Lateness counts back from an event's
            arrival; without one the stage's `LATENESS` holds. Retention counts from the moment a window can no
            longer change. Rollups are the larger windows that are kept beside the base ones, each a multiple of the
            one before; by default an hour and a day.
    Why buckets and spread: one DynamoDB partition key takes some 1 000 write units a second. Groups are dealt to
            `buckets` by their values, so one group is read from one bucket; `spread` deals writers (shards) to
            further keys, for streams of hundreds of shards.
    Why published: each change of a window is told whole to those who subscribed to results. Of a metric with thousands
            of groups that is megabytes a second, and better asked for than sent.
    Why group_limit: an item holds 400 KB. Groups beyond the limit of one partial share one overflow group, whose
            dimensions are null in answers: totals stay exact.
    """

    name: str
    event_type: str
    by: tuple[str, ...] = ()
    measures: Mapping[str, Measure]
    window: str = "1m"
    lateness: str | None = None
    retention: str = "400d"
    rollups: tuple[str, ...] | None = None
    buckets: int = 1
    spread: int = 1
    group_limit: int = 1_000
    published: bool = True

    @cached_property
    def window_ms(self) -> int:
        """The base window's size, milliseconds."""
        return parse_duration(self.window)

    @cached_property
    def steps_ms(self) -> tuple[int, ...]:
        """The sizes of the windows that are stored: the base window, then the rollups, rising; milliseconds."""
        if self.rollups is not None:
            return (self.window_ms, *map(parse_duration, self.rollups))
        usual = (step_ms for step_ms in map(parse_duration, ROLLUPS) if step_ms % self.window_ms == 0)
        return (self.window_ms, *(step_ms for step_ms in usual if step_ms > self.window_ms))

    @cached_property
    def layout(self) -> str:
        """The name, and the sizes of the windows that are stored; changes when a rollup is added or removed."""
        return f"{self.name}#{','.join(map(format_duration, self.steps_ms))}"

    @cached_property
    def retention_ms(self) -> int:
        """How long a window is kept once it cannot change any more, milliseconds."""
        return parse_duration(self.retention)

    @cached_property
    def accumulators(self) -> tuple[Accumulator, ...]:
        """What a group stores, each once, in the order of the measures."""
        return tuple(dict.fromkeys(needed for measure in self.measures.values() for needed in measure.accumulators))

    @cached_property
    def reducers(self) -> tuple[tuple[Reduce, int] | None, ...]:
        """For each accumulator what makes its state of values, and of which of `fields`; None for a count of rows."""
        return tuple(
            (needed.reduce, self.fields.index(needed.field)) if needed.field else None for needed in self.accumulators
        )

    @cached_property
    def finishers(self) -> Mapping[str, Finish]:
        """What takes each measure's answer from a group's states."""
        return {name: measure.finisher(self.accumulators) for name, measure in self.measures.items()}

    def finish(self, states: Sequence[State]) -> dict[str, Value | None]:
        """Each measure's answer for a group with these states."""
        return {name: finish(states) for name, finish in self.finishers.items()}

    @cached_property
    def measured(self) -> tuple[str, ...]:
        """The number fields that any measure looks at."""
        return _fields_of(needed for needed in self.accumulators if needed.is_of_numbers)

    @cached_property
    def distinct(self) -> tuple[str, ...]:
        """The fields whose values any measure tells apart."""
        return _fields_of(needed for needed in self.accumulators if not needed.is_of_numbers)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """All fields that any measure looks at."""
        return _fields_of(self.accumulators)

    @cached_property
    def has_sketches(self) -> bool:
        """Whether any measure is answered by a sketch."""
        return any(isinstance(needed, Sketch) for needed in self.accumulators)

    @cached_property
    def group_bytes_max(self) -> int:
        """How many bytes a group takes at most, encoded, without its own name."""
        overhead_bytes = GROUP_OVERHEAD_BYTES + VALUE_OVERHEAD_BYTES * len(self.by)
        return overhead_bytes + sum(needed.state_bytes_max for needed in self.accumulators)

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever stored groups would no longer mean the same."""
        return f"{crc32(repr((self.event_type, self.by, self.accumulators, self.buckets, self.spread)).encode()):08x}"

    def bucket_of(self, group: GroupKey) -> int:
        """The bucket that holds the group; the same on every machine and for ever."""
        return crc32("\x1f".join(group).encode()) % self.buckets if self.buckets > 1 else 0

    def partition_of(self, bucket: int, writer: str) -> int:
        """The bucket's own partition key for this writer, among its `spread`."""
        return bucket * self.spread + (crc32(writer.encode()) % self.spread if self.spread > 1 else 0)

    @property
    def all_partitions(self) -> range:
        """All partition keys that hold base windows."""
        return range(self.buckets * self.spread)

    def partitions_of(self, bucket: int, step_ms: int | None = None) -> range:
        """All partition keys that hold what is stored of the bucket: of its base windows, or of a rollup of this size.

        Why: a rollup has no writers to be spread, so the bucket is its only partition.
        """
        if self.is_rollup(step_ms):
            return range(bucket, bucket + 1)
        return range(bucket * self.spread, (bucket + 1) * self.spread)

    def bucket_in(self, partition: int, step_ms: int | None = None) -> int:
        """The bucket that a partition key is of, among base windows or among rollups of this size."""
        return partition if self.is_rollup(step_ms) else partition // self.spread

    def is_rollup(self, step_ms: int | None) -> bool:
        """Whether windows of this size are rollups; None: of the base size."""
        return step_ms not in (None, self.window_ms)


class Catalog:
    """The declared event types and metrics, checked against each other.

    Raises: DefinitionError, naming the declaration at fault.
    """

    def __init__(self, event_types: Mapping[str, type[Struct]], metrics: Sequence[Metric]) -> None:
        self.event_types = dict(event_types)
        for name, data_class in event_types.items():
            if not (isinstance(data_class, type) and issubclass(data_class, Struct)):
                raise DefinitionError(f"event type {name!r}: {data_class!r} is no msgspec Struct")
            _check_change(name, data_class)
        self.metrics = {metric.name: metric for metric in metrics}
        if len(self.metrics) < len(metrics):
            raise DefinitionError("two metrics have the same name")
        for metric in metrics:
            _check(metric, self.event_types)

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever a metric is added or removed."""
        return f"{crc32(repr(sorted(self.metrics)).encode()):08x}"

    def outlives(self, events_retention_ms: int) -> None:
        """Check that each metric's windows are kept for as long as the stream can bring their events again.

        Raises: DefinitionError: a replay would make an expired window anew, of the later part of its events.
        """
        for metric in self.metrics.values():
            if metric.retention_ms < events_retention_ms:
                kept = format_duration(events_retention_ms)
                raise DefinitionError(f"metric {metric.name!r}: its retention is below the stream's own {kept}")

    def check_change(self, event_type: str) -> None:
        """Check that events of this type are changes of a row.

        Raises: DefinitionError when there is no such type, or it is another.
        """
        if not issubclass(self.event_types.get(event_type, Struct), Change):
            raise DefinitionError(f"event type {event_type!r}: it is not declared as a Change of a table's row")

    def of_event_type(self, event_type: str) -> list[Metric]:
        """The metrics that count events of this type."""
        return [metric for metric in self.metrics.values() if metric.event_type == event_type]

    def told_of(self, watched: Collection[str]) -> set[str]:
        """The metrics that anybody is told of as they change: what is published, and what is watched, for alerts."""
        return {metric.name for metric in self.metrics.values() if metric.published or metric.name in watched}

    def measured(self, event_type: str) -> tuple[str, ...]:
        """The number fields of this type that some metric measures."""
        return tuple(dict.fromkeys(field for metric in self.of_event_type(event_type) for field in metric.measured))

    def distinct(self, event_type: str) -> tuple[str, ...]:
        """The fields of this type whose values some metric tells apart."""
        return tuple(dict.fromkeys(field for metric in self.of_event_type(event_type) for field in metric.distinct))

    def dimensions(self, event_type: str) -> tuple[str, ...]:
        """The text fields of this type that some metric groups by."""
        return tuple(dict.fromkeys(field for metric in self.of_event_type(event_type) for field in metric.by))

    def kept_until_ms(self, metric: Metric, window_end_ms: int, stage_lateness_ms: int) -> int:
        """Until when what is stored of a window is kept, epoch milliseconds.

        Why: a window can change until its lateness is over, and is kept for its retention from then on.
        """
        return window_end_ms + self.lateness_ms(metric.event_type, stage_lateness_ms) + metric.retention_ms

    def lateness_ms(self, event_type: str, stage_lateness_ms: int) -> int:
        """How late an event of this type may be to count in *every* metric that it belongs to.

        Why the least: an event is counted in all of its metrics or in none; a dead letter that some metrics had
        counted could never be redriven exactly.
        """
        declared = [metric.lateness for metric in self.of_event_type(event_type)]
        return min(
            (parse_duration(late) if late else stage_lateness_ms for late in declared), default=stage_lateness_ms
        )


def _check_change(name: str, data_class: type[Struct]) -> None:
    row = row_class(data_class)
    if not (isinstance(row, type) and issubclass(row, Struct)):
        raise DefinitionError(f"event type {name!r}: it is a change of {row!r}, which is no msgspec Struct")
    if issubclass(data_class, Change) and data_class.__post_init__ is not Change.__post_init__:
        raise DefinitionError(f"event type {name!r}: it replaces Change's own __post_init__; rules are the row's")


def _check(metric: Metric, event_types: Mapping[str, type[Struct]]) -> None:
    def require(holds: bool, rule: str) -> None:
        if not holds:
            raise DefinitionError(f"metric {metric.name!r}: {rule}")

    require(bool(re.fullmatch(r"[a-z][a-z0-9_]{0,62}", metric.name)), "a name is 1..63 of a-z, 0-9, _, a letter first")
    require(metric.name not in RESERVED, "the name is one that the aggregates table has for other items")
    require(metric.event_type in event_types, f"no event type is named {metric.event_type!r}")
    require(bool(metric.measures), "it measures nothing")
    data_class = event_types[metric.event_type]
    is_change = issubclass(data_class, Change)
    for name, measure in metric.measures.items():
        require(isinstance(measure, Measure), f"the measure {name!r} is {measure!r}, no Count() or the like")
        rule = f"the measure {name!r}, a {type(measure).__name__}, cannot take back the old row of a change"
        require(measure.can_take_back or not is_change, rule)
        require(measure.fault is None, f"the measure {name!r}: {measure.fault}")
    _check_fields(metric, row_class(data_class), require)
    taken = ["window_start", "window_end", *metric.by]
    require(not set(taken) & set(metric.measures), "a measure is named like a dimension or a window column")
    for name in (*metric.by, *metric.measures):
        require(name.isidentifier(), f"{name!r} is no plain name")
    for duration in filter(None, (metric.window, metric.lateness, metric.retention, *(metric.rollups or ()))):
        try:
            parse_duration(duration)
        except ValueError as error:
            raise DefinitionError(f"metric {metric.name!r}: {error}") from error
    day_ms = UNIT_MS["d"]
    require(day_ms % metric.window_ms == 0, f"a window of {format_duration(metric.window_ms)} does not divide a day")
    for below_ms, step_ms in pairwise(metric.steps_ms):
        rollup = format_duration(step_ms)
        is_multiple = step_ms > below_ms and step_ms % below_ms == 0
        require(is_multiple, f"its rollup of {rollup} is no multiple of its windows of {format_duration(below_ms)}")
        require(day_ms % step_ms == 0, f"its rollup of {rollup} does not divide a day")
    require(metric.buckets >= 1 and metric.spread >= 1 and metric.group_limit >= 1, "a limit is below 1")
    require(bool(metric.by) or metric.buckets == 1, "it has buckets and nothing to deal to them")
    group_limit_max = (ITEM_BYTES_MAX - GROUP_KEY_BYTES_MAX) // metric.group_bytes_max
    require(metric.group_limit <= group_limit_max, f"its item holds at most {group_limit_max} groups; use buckets")


def _check_fields(metric: Metric, row: type[Struct], require: Callable[[bool, str], None]) -> None:
    types = {field.name: _base_type(field.type) for field in msgspec.structs.fields(row)}
    for dimension in metric.by:
        require(dimension in types, f"its event has no field {dimension!r} to group by")
        require(types[dimension] is str, f"the dimension {dimension!r} is no text")
    for field in metric.fields:
        require(field in types, f"its event has no field {field!r} to measure")
    for field in metric.measured:
        require(types[field] in (int, Decimal), f"{field!r} is no int or Decimal: no other sum is exact")
    for field in metric.distinct:
        require(types[field] in (str, int), f"{field!r} is no text or int, whose values could be told apart")


def _fields_of(accumulators: Iterable[Accumulator]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(needed.field for needed in accumulators if needed.field))


def _base_type(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
