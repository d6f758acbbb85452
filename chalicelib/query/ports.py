"""What the queries need of the world, as protocols: `aws/` fulfils them on AWS, tests with fakes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from chalicelib.aggregates.metric import GroupKey, Metric
from chalicelib.aggregates.partial import States
from chalicelib.records.letter import Letter
from chalicelib.records.shard import Shard

R = TypeVar("R")


class ReadPlan(Struct, frozen=True):
    """Read the windows that start in `[start_ms, end_ms)` from these partitions of a metric."""

    metric: Metric
    partitions: tuple[int, ...]
    start_ms: int
    end_ms: int


class StoredShare(Struct, frozen=True):
    """One writer's share of one window, as a reader needs it."""

    window_start_ms: int
    groups: Mapping[GroupKey, States]


class ReadCost(Struct, frozen=True):
    """What reading some windows cost."""

    items_read: int
    read_units: float


class ShardProgress(Struct, frozen=True):
    """How far one shard has been committed: its last record, and when the stream accepted that."""

    shard_id: str
    sequence_number: str
    arrived_at_ms: int


class ShareReader(Protocol):
    """Reads what is stored of a metric."""

    def read_shares(self, plan: ReadPlan, take: Callable[[StoredShare], None], timeout_ms: int) -> ReadCost:
        """Hand over every writer's share of the planned windows, as it is read.

        Shapes: take is called in any order of shares, one call at a time; what it raises ends the read.
        Raises: TransientError when a read failed or was not done in time; take is not called any more then.
        """


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


class LetterObject(Struct, frozen=True):
    """An object of dead letters; day is RFC 3339's, in UTC."""

    key: str
    day: str
    size_bytes: int


class ObjectList(Struct, frozen=True):
    """Objects, the newest first; not whole when there may be more."""

    objects: Sequence[LetterObject]
    is_whole: bool


class LettersReader(Protocol):
    """Reads what waits to be redriven."""

    def list_objects(self, start_day: str, end_day: str, timeout_ms: int, a_day_max: int | None = None) -> ObjectList:
        """List the objects of the days in `[start_day, end_day)`, newest first; of one day at most so many.

        Raises: TransientError when the days could not be listed in time; objects that could not be make it not whole.
        """

    def read_objects(
        self,
        objects: Sequence[LetterObject],
        read: Callable[[LetterObject, Iterator[Letter]], R],
        time_left_ms: Callable[[], int],
    ) -> Sequence[R | None]:
        """Have the letters of these objects read, some at once. Returns: what `read` did, None where not in time.

        Shapes: the letters raise LettersError as they are asked for; an object that is gone has none.
        """
