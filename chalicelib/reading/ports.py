"""What both queries and consumers read of the world, as protocols: `aws/` fulfils them on AWS, tests with fakes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.partial import Groups
from chalicelib.records.shard import Shard


class ReadPlan(Struct, frozen=True):
    """Read the windows of one size that start in `[start_ms, end_ms)`, from these partitions of a metric.

    Shapes: step_ms is one of the metric's `steps_ms`. The base windows of a bucket lie in `Metric.partitions_of` it; a
            rollup's only partition is its bucket.
    """

    metric: Metric
    step_ms: int
    partitions: tuple[int, ...]
    start_ms: int
    end_ms: int


class StoredShare(Struct, frozen=True):
    """One item of one window: a writer's share of a base window, or a rollup of all writers.

    Shapes: revision only grows. groups is None where a rollup is larger than an item can be: then finer windows tell.
    """

    partition: int
    window_start_ms: int
    revision: int
    groups: Groups | None


class ReadCost(Struct, frozen=True):
    """What reading some windows cost."""

    items_read: int = 0
    read_units: float = 0.0

    def __add__(self, other: "ReadCost") -> "ReadCost":
        return ReadCost(self.items_read + other.items_read, self.read_units + other.read_units)


Take = Callable[[ReadPlan, StoredShare], None]


class ShareReader(Protocol):
    """Reads what is stored of metrics."""

    def read_shares(self, plans: Sequence[ReadPlan], take: Take, timeout_ms: int) -> ReadCost:
        """Hand over every item of the planned windows, with its plan, as it is read: consistently.

        Shapes: take is called in any order of items, one call at a time; what it raises ends the read.
        Raises: TransientError when a read failed or was not done in time; take is not called any more then.
                DefinitionChangedError when an item was stored under another definition of its metric.
        """


class ShardProgress(Struct, frozen=True):
    """How far one shard has been committed: its last record, and when the stream accepted that."""

    shard_id: str
    sequence_number: str
    arrived_at_ms: int


class ProgressReader(Protocol):
    """Reads how far the shards have been committed."""

    def read_progress(self, stream: str, timeout_ms: int) -> Sequence[ShardProgress]:
        """Read the progress of every shard that has any.

        Raises: TransientError when the read failed, or was not done in time.
        """


class ShardLister(Protocol):
    """Lists the shards of the events stream."""

    def list_shards(self, timeout_ms: int) -> Sequence[Shard]:
        """List the shards that the stream still knows, closed ones too.

        Raises: TransientError when the stream did not answer in time.
        """


ROLLUPS = "rollups"  # the purpose of windows' being settled that queries look at


class Settled(Struct, frozen=True):
    """How far windows that can change no more have been seen to, for one purpose.

    Units:  epoch milliseconds. Every window that ends in `(from_ms, until_ms]` has been; complete_until_ms is what the
            stream's completeness was then. Before from_ms nothing was stored when it began.
    """

    from_ms: int
    until_ms: int
    complete_until_ms: int

    def until(self, lateness_ms: int) -> int:
        """Up to which end windows are settled if events may be so late now.

        Why: a lateness that was raised since lets windows change that had been settled.
        """
        return min(self.until_ms, self.complete_until_ms - lateness_ms)


class SettledReader(Protocol):
    """Reads how far windows have been settled."""

    def read_settled(self, purpose: str, timeout_ms: int) -> Mapping[str, Settled]:
        """Read, by subject, how far its windows are settled for this purpose; one that never was is not in it.

        Shapes: the subject of ROLLUPS is `Metric.layout`: to a rollup that is added, nothing is settled yet.

        Raises: TransientError when the read failed, or was not done in time.
        """
