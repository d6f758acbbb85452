"""What one load test has seen: written by those that generate the load, read by the proof and the report.

Nothing of it is a payload or a secret. All of it is JSON (`write`, `read`), in the run's own folder.
"""

from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct

from loadtest.profile import Profile


class Run(Struct, frozen=True):
    """A load test, as all of its workers know it: what worker w sends as its event n follows from this alone.

    Shapes: run_id, short lower-case text that no other run on this stage has; workers, how many share the load.
    Units:  started_ms, epoch milliseconds of the load's start; lateness_ms, the stage's: what is later is too late.
    """

    run_id: str
    profile: Profile
    started_ms: int
    workers: int
    lateness_ms: int = 86_400_000

    @property
    def seed(self) -> int:
        """What chance starts from."""
        return self.profile.seed


class Ledger(Struct):
    """What the stream has accepted of one worker's events.

    Shapes: accepted, ranges [first, last] of event numbers, rising, apart; unsure, ranges of those of which no answer
            ever told whether they were accepted; resent, how many records were put again after an answer was lost, so
            that the stream may hold them twice.
    """

    worker: int
    accepted: list[tuple[int, int]]
    unsure: list[tuple[int, int]]
    resent: int = 0


class Second(Struct):
    """One second of the load, summed over the workers. Units: at, seconds since its start; counts in that second.

    Shapes: offered, accepted: events; throttled, records that Kinesis refused and got again; requests of PutRecords;
            waiting, events that were due and not yet accepted at its end.
    """

    at: int
    offered: int = 0
    accepted: int = 0
    throttled: int = 0
    records: int = 0
    bytes: int = 0
    requests: int = 0
    waiting: int = 0


class Probe(Struct, frozen=True):
    """One event of its own customer: when the stream accepted it, when the API first told of it; None if never."""

    accepted_ms: int
    visible_ms: int | None


class Query(Struct, frozen=True):
    """One question of an analyst: its name, when, how long it took, the answer's status (0: none came)."""

    name: str
    asked_ms: int
    elapsed_ms: float
    status: int


class Lag(Struct, frozen=True):
    """How far behind a shard was, as `/v1/stream` told; None where it did not."""

    at_ms: int
    shard_id: str
    behind_ms: int | None


LOST_WORKER = "lost-worker"  # a fault that nobody caused


class FaultDone(Struct, frozen=True):
    """A fault that was caused, and what came of it, in words; happened says whether it truly did."""

    kind: str
    at_ms: int
    what: str
    happened: bool


class Usage(Struct):
    """What the load took, between its start and the end of the proof's wait.

    Shapes: units, as `ops.cost.prices` names them (`dynamodb.write_units`); requests, by `service.Operation`;
            by_table, the write and read units of each table; source says who counted; None where nobody could.
    """

    units: dict[str, float]
    requests: dict[str, int]
    by_table: dict[str, dict[str, float]]
    source: str


class StageKind(StrEnum):
    """Whose the stage is: started for the run, already running on this machine, or on AWS."""

    OWN = "own"
    RUNNING = "running"
    AWS = "aws"


class Stage(Struct, frozen=True):
    """The stage that was loaded. Shapes: api_url without a slash at its end."""

    name: str
    kind: StageKind
    api_url: str
    shards: int
    lateness_ms: int


class Recording(Struct):
    """All that a load test has seen.

    Units:  epoch milliseconds; stopped_ms, when the load ended; complete_until_ms, what the API told when it was waited
            for, None when it did not come in time.
    Shapes: duplicates_reported, by the functions themselves (at least as many as there were); None where unknown;
            profile_name, as it was asked for; command, the whole line that began the run, without secrets.
    """

    run: Run
    stage: Stage
    stopped_ms: int
    complete_until_ms: int | None
    ledgers: list[Ledger]
    seconds: list[Second]
    probes: list[Probe] = []
    queries: list[Query] = []
    lags: list[Lag] = []
    faults: list[FaultDone] = []
    usage: Usage | None = None
    duplicates_reported: int | None = None
    versions: dict[str, str] = {}
    machine: str = ""
    profile_name: str = ""
    command: str = ""


def write(recording: Recording, path: Path) -> None:
    """Write it as JSON."""
    path.write_bytes(msgspec.json.encode(recording))


def read(path: Path) -> Recording:
    """Read what `write` wrote. Raises: OSError, msgspec.MsgspecError."""
    return msgspec.json.decode(path.read_bytes(), type=Recording)
