"""What the consumers need of the world, as protocols: `aws/` fulfils them on AWS, tests with fakes."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from chalicelib.aggregates.partial import Partial, PartialKey
from chalicelib.effects import Effect
from chalicelib.identity.run import IdRun
from chalicelib.records.batch import Record
from chalicelib.records.rejection import Rejected
from chalicelib.records.shard import Shard


class PartialPut(Struct, frozen=True):
    """Store this state, if what stands there still has the checkpoint that it was built on (None: nothing stands)."""

    key: PartialKey
    built_on: str | None
    partial: Partial


class Committed(Struct, frozen=True):
    """The put took effect, at this cost."""

    write_units: float


class Conflict(Struct, frozen=True):
    """Something else stands there: this (None: nothing). The put took no effect."""

    standing: Partial | None


class Failed(Struct, frozen=True):
    """Whether it took effect is unknown, and it may well succeed later; the error names what happened."""

    error: str


PutOutcome = Committed | Conflict | Failed


class Done(Struct, frozen=True):
    """The effect has been carried out: now, or at any time before."""


class Refused(Struct, frozen=True):
    """The handler will not have this event; the error says why, for the dead letter, and may quote the event."""

    error: str


EffectOutcome = Done | Refused | Failed


class StreamRecord(Struct, frozen=True):
    """A record to put: its explicit hash key, decimal text, says on which shard."""

    partition_key: str
    explicit_hash_key: str
    data: bytes


class PartialStore(Protocol):
    """Keeps partials, with compare-and-set on their checkpoints."""

    def put_partials(self, puts: Sequence[PartialPut], timeout_ms: int) -> Sequence[PutOutcome]:
        """Carry out the puts, at once; one outcome each, in the order of the puts."""


class DeadLetterStore(Protocol):
    """Keeps dead letters, one object for each record that has any."""

    def put_dead_letters(
        self, stream: str, shard_id: str, rejected: Mapping[int, tuple[Record, Sequence[Rejected]]], timeout_ms: int
    ) -> Mapping[int, str]:
        """Store the dead letters of these records, at once; storing a record's again overwrites them.

        Returns: of those whose storing failed, the error's name.
        """


class EffectRunner(Protocol):
    """Runs handlers, each at most once to success for each event id."""

    def run_all(self, effects: Sequence[Effect], timeout_ms: int) -> Sequence[EffectOutcome]:
        """Carry out the effects, at once; one outcome each, in their order.

        Why Failed may also mean "under way": another invocation may be at the same effect, or have died at it.
        """


class ProgressStore(Protocol):
    """Keeps how far each shard has been committed."""

    def advance(self, stream: str, shard_id: str, last: Record, timeout_ms: int) -> float:
        """Note that everything up to this record is committed; never goes back.

        Returns: the write units that it took.
        Raises: TransientError when it could not be stored.
        """


class RunsRead(Struct, frozen=True):
    """What was read of an id log for a batch, in the order of the stream.

    Shapes: runs end ahead of the batch. spanning, if there is one, begins ahead of it and ends in it or behind it: an
            attempt that was cut otherwise wrote it.
    Units:  since_ms is the arrival from which on nothing was left out; None: nothing was, back to the log's beginning.
    """

    runs: Sequence[IdRun]
    spanning: IdRun | None = None
    since_ms: int | None = None


class IdLog(Protocol):
    """Keeps, for each writer, the ids that it has counted."""

    def read_back(self, writer: str, *, before: str | None, since_ms: int, ids_max: int, timeout_ms: int) -> RunsRead:
        """Read, consistently, what was counted ahead of the position `before`; None: all that was.

        Why back to `since_ms` or `ids_max` only: what arrived earlier, or so many ids before, does not matter.
        Raises: TransientError when it could not be read in time; CorruptIdLogError.
        """

    def read_on(self, writer: str, *, after: str, before: str, timeout_ms: int) -> RunsRead:
        """Read, consistently, the runs that end beyond `after`, where others have gone on.

        Raises: as `read_back`.
        """

    def put_run(self, writer: str, run: IdRun, timeout_ms: int) -> float:
        """Store a run under the position of its last record. One that begins earlier and ends there stays.

        Returns: the write units that it took.
        Raises: TransientError when it is not known to be stored.
        """


class ShardLister(Protocol):
    """Lists the shards of the events stream."""

    def list_shards(self, timeout_ms: int) -> Sequence[Shard]:
        """List the shards that the stream still knows, closed ones too.

        Raises: TransientError when the stream did not answer in time.
        """


class TickStream(ShardLister, Protocol):
    """The events stream, for whoever puts a record on each of its shards."""

    def put_records(self, records: Sequence[StreamRecord], timeout_ms: int) -> int:
        """Put these records. Returns: how many of them the stream did not take.

        Raises: TransientError when the stream did not answer in time.
        """
