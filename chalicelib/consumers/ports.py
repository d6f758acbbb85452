"""What the consumers need of the world, as protocols: `aws/` fulfils them on AWS, tests with fakes."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from hashlib import sha256
from typing import NamedTuple, Protocol

import msgspec
from msgspec import Struct

from chalicelib.aggregates.measures import Value
from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.partial import Partial, PartialKey
from chalicelib.aggregates.rollup import Rollup, WindowKey
from chalicelib.effects import Effect
from chalicelib.identity.run import IdRun
from chalicelib.reading.merged import MergedWindow, MetricWindow
from chalicelib.reading.ports import Settled, SettledReader, ShardLister
from chalicelib.records.batch import Record
from chalicelib.records.letter import Letter
from chalicelib.records.rejection import Rejected


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


ATTRIBUTE_TYPE = "String"  # of a message's attributes, all of them


class AlertKey(NamedTuple):
    """What an alert's item is of: the alert's name, and a text that tells its window and group."""

    alert: str
    occasion: str


class StoredChange(Struct, frozen=True):
    """One change of the aggregates table, by the key of the item that changed.

    Shapes: key is None when it is of nothing that consumers look at: progress, a metric that is declared no more, what
            has expired.
    """

    sequence_number: str
    key: WindowKey | AlertKey | None


class RollupPut(Struct, frozen=True):
    """Store this rollup, if what stands there still has the revision that it was built on (None: nothing stands)."""

    key: WindowKey
    built_on: int | None
    rollup: Rollup


class Overtaken(Struct, frozen=True):
    """Another rollup was put there meanwhile. The put took no effect."""


RollupOutcome = Committed | Overtaken | Failed


class RaisedAlert(Struct, frozen=True):
    """An alert that a window of a group has raised, with all that its message says.

    Shapes: group has the value of each dimension that the alert is by; before is the value of the window before, where
            the rule compares with it.
    """

    alert: str
    metric: str
    step_ms: int
    window_start_ms: int
    group: Mapping[str, str]
    measure: str
    rule: str
    threshold: Decimal | int
    value: Value
    before: Value | None = None

    @property
    def window_end_ms(self) -> int:
        """The instant at which the window is over."""
        return self.window_start_ms + self.step_ms

    @property
    def id(self) -> str:
        """The same whenever the same alert is raised again of the same window and group, whatever the value is then."""
        about = (self.alert, self.window_start_ms, self.step_ms, sorted(self.group.items()))
        return sha256(msgspec.json.encode(about)).hexdigest()[:32]


class Repeated(Struct, frozen=True):
    """It was put there before. The put took no effect."""


AlertOutcome = Committed | Repeated | Failed


class ThresholdsRead(Struct, frozen=True):
    """What thresholds are set at run time, as text, by the alert's name.

    Shapes: error names why they could not be read; then they are as they were last known.
    """

    texts: Mapping[str, str]
    error: str | None = None


class Done(Struct, frozen=True):
    """The effect has been carried out: now, or at any time before."""


class Refused(Struct, frozen=True):
    """It will never succeed; the error says why, for the dead letter, and may quote what was refused."""

    error: str


EffectOutcome = Done | Refused | Failed


class Message(Struct, frozen=True):
    """A message for the topic of results, and its attributes for filter policies, all of them text.

    Shapes: body is its JSON; `consumers.result_message` writes it.
    """

    body: bytes
    attributes: Mapping[str, str]

    @property
    def payload_bytes(self) -> int:
        """What SNS' limits count: the body, and of each attribute name, type and value."""
        texts = [text for name, value in self.attributes.items() for text in (name, ATTRIBUTE_TYPE, value)]
        return len(self.body) + len("".join(texts).encode())


class Published(Struct, frozen=True):
    """The topic has taken the message."""


PublishOutcome = Published | Refused | Failed


class StreamRecord(Struct, frozen=True):
    """A record to put. Its explicit hash key, decimal text, says on which shard; None: its partition key does."""

    partition_key: str
    explicit_hash_key: str | None
    data: bytes

    @property
    def payload_bytes(self) -> int:
        """What the stream's limits count: data and partition key."""
        return len(self.data) + len(self.partition_key.encode())


class PartialStore(Protocol):
    """Keeps partials, with compare-and-set on their checkpoints."""

    def put_partials(self, puts: Sequence[PartialPut], timeout_ms: int) -> Sequence[PutOutcome]:
        """Carry out the puts, at once; one outcome each, in the order of the puts."""


class RollupStore(Protocol):
    """Keeps rollups, with compare-and-set on their revisions."""

    def read_rollups(self, keys: Collection[WindowKey], timeout_ms: int) -> Mapping[WindowKey, Rollup]:
        """Read these rollups, consistently; one that is not stored is not among them.

        Raises: TransientError when not all could be read in time; DefinitionChangedError.
        """

    def put_rollups(self, puts: Sequence[RollupPut], timeout_ms: int) -> Sequence[RollupOutcome]:
        """Carry out the puts, at once; one outcome each, in the order of the puts."""


class SettledStore(SettledReader, Protocol):
    """Keeps how far windows that can change no more have been seen to, for each purpose."""

    def first_window(self, metric: Metric, timeout_ms: int) -> int | None:
        """The start of the oldest base window that is stored of a metric, epoch milliseconds; None when there is none.

        Raises: TransientError when it could not be read in time.
        """

    def advance_settled(
        self, purpose: str, subject: str, built_on: Settled | None, settled: Settled, timeout_ms: int
    ) -> bool:
        """Note how far the subject's windows are settled, if what stands is what it was built on (None: nothing).

        Returns: whether it was.
        Raises: TransientError when it is not known to be stored, in time.
        """


class AlertStore(Protocol):
    """Keeps alerts, each written once."""

    def put_alerts(self, alerts: Sequence[RaisedAlert], timeout_ms: int) -> Sequence[AlertOutcome]:
        """Store these alerts, at once, each unless it is stored; one outcome each, in their order."""


class ThresholdReader(Protocol):
    """Reads the thresholds that are set at run time."""

    def read_thresholds(self, timeout_ms: int) -> ThresholdsRead:
        """Read what is set, or was a moment ago; never raises because it cannot be read."""


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


class MessageTopic(Protocol):
    """The topic of results."""

    def publish_messages(self, messages: Sequence[Message], timeout_ms: int) -> Sequence[PublishOutcome]:
        """Publish these messages, at once; one outcome each, in their order."""


class WindowWatch(Protocol):
    """Looks at windows that have changed, for whoever raises alerts about them."""

    def __call__(self, windows: Sequence[MergedWindow], timeout_ms: int) -> Collection[MetricWindow]:
        """Store the alerts that these windows give rise to; those of a window that comes again are the same ones.

        Returns: the windows of which not all alerts are known to be stored; they come again.
        """


class AlertReader(Protocol):
    """Reads stored alerts as the messages to publish of them."""

    def read_alerts(self, keys: Collection[AlertKey], timeout_ms: int) -> Mapping[AlertKey, Message]:
        """Read these alerts; one that is stored no more is not among them.

        Raises: TransientError when they could not be read in time; none of them is published then.
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


class RecordStream(Protocol):
    """The events stream, for whoever puts records on it."""

    def put_records(self, records: Sequence[StreamRecord], timeout_ms: int) -> Sequence[int]:
        """Put these records. Returns: the places of those that the stream did not take.

        Raises: TransientError when the stream did not answer in time.
        """


class TickStream(ShardLister, RecordStream, Protocol):
    """The events stream, for whoever puts a record on each of its shards."""


class StoredLetters(Struct, frozen=True):
    """What an object held when it was opened: `version` is another as soon as it holds anything else.

    Shapes: letters are read as they are asked for; that raises LettersError or TransientError.
    """

    version: str
    letters: Iterator[Letter]


class AcceptedLetters(Protocol):
    """Collects letters that the stream has accepted, until they are saved."""

    def add(self, letter: Letter) -> None:
        """Collect one."""

    def save(self) -> None:
        """Keep those collected beside what was kept of their object before, whoever else does so at the same time.

        Raises: TransientError when that failed; they may be kept, or not.
        """


class LetterObjects(Protocol):
    """The objects that hold dead letters, and what of each was accepted before. All of it may raise TransientError."""

    def read_letters(self, key: str, version: str | None = None) -> StoredLetters | None:
        """Open an object; None when there is none.

        Raises: TransientError too when it is not of this version any more.
        """

    def read_accepted(self, key: str) -> StoredLetters | None:
        """Open what was accepted of this object before; None when nothing was."""

    def accepting(self, key: str) -> AbstractContextManager[AcceptedLetters]:
        """Collect what is accepted of this object; what is not saved is forgotten."""

    def move(self, key: str, version: str) -> None:
        """Keep the whole object as accepted, and remove it; only if it still is of this version."""

    def remove(self, key: str, version: str) -> None:
        """Remove an object of which everything has been kept as accepted; only if it still is of this version."""

    def list_keys(self, prefix: str, after: str | None) -> Iterator[Sequence[str]]:
        """List the keys under a prefix, beyond this one, in order; some at a time."""


class MessageQueue(Protocol):
    """The queue that redrive's own messages come from."""

    def send_messages(self, bodies: Sequence[str], timeout_ms: int) -> None:
        """Send these messages.

        Raises: TransientError when not all could be sent in time; some may have been.
        """
