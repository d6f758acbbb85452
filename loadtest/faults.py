"""Does to a local stage, while it is under load, what a profile says of faults, and tells what truly happened.

    with FaultsUnderLoad(stage, profile.faults, started_ms=run.started_ms) as faults:
        …  # the load
    recording.faults = faults.done

A fault that found nothing to befall proves nothing: its `FaultDone.happened` is false.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from botocore.exceptions import BotoCoreError, ClientError

from loadtest.profile import Fault, FaultKind
from loadtest.recording import FaultDone
from loadtest.target import now_ms
from localstage.faults import Told

CONSUMER = "ingest"
KILL_AFTER_SECONDS = 0.03  # of work: a batch takes some hundredths of a second, its first puts are under way by then
KILL_PATIENCE_SECONDS = 5.0
READ_ON_SECONDS = 5.0  # for the mappings to have asked for other iterators: they read some times a second
POLL_SECONDS = 0.1


class Stage(Protocol):
    """What of `localstage.LocalStage` the faults need."""

    @property
    def faults(self) -> Told:
        """What is done on purpose, and how often it was so far."""

    def throttle_dynamodb(self, share: float) -> None:
        """Have that share of the writes refused."""

    def delay_sns(self, ms: int) -> None:
        """Have each publish take so long."""

    def expire_iterators(self) -> int:
        """Have those that are held answered as expired."""

    def kill_worker(self, function: str, patience_seconds: float, after_seconds: float = ...) -> bool:
        """Kill a process in the middle of an invocation."""

    def replay(self) -> None:
        """Read the stream from its beginning."""


class FaultsUnderLoad:
    """Causes faults in their time between `with` and its end, each on a thread of its own; `done` tells of them then.

    Units:  started_ms, epoch milliseconds of the load's start.
    Shapes: what takes some time (a throttle, a delay) ends with the load at the latest, and lasts until then when no
            time is given; what is repeated is so evenly over its time; what is due only after the load does not happen.
    """

    def __init__(self, stage: Stage, faults: Sequence[Fault], *, started_ms: int) -> None:
        self._stage = stage
        self._started_ms = started_ms
        self._ending = threading.Event()
        self._done: list[FaultDone] = []
        self._threads = [
            threading.Thread(target=self._cause, args=(fault,), name=f"fault-{fault.kind}", daemon=True)
            for fault in faults
        ]
        self._causes: Mapping[FaultKind, Callable[[Fault], tuple[str, bool]]] = {
            FaultKind.KILL_WORKER: self._kill,
            FaultKind.THROTTLE_DYNAMODB: self._throttle,
            FaultKind.DELAY_SNS: self._delay,
            FaultKind.EXPIRE_ITERATORS: self._expire,
            FaultKind.REPLAY: self._replay,
        }

    @property
    def done(self) -> list[FaultDone]:
        """What happened so far, in the order of its beginning."""
        return sorted(self._done, key=lambda done: done.at_ms)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _cause(self, fault: Fault) -> None:
        lasts = fault.kind in (FaultKind.THROTTLE_DYNAMODB, FaultKind.DELAY_SNS)
        times = 1 if lasts else fault.times
        for number in range(times):
            is_due = self._wait_until(fault.at_seconds + number * fault.seconds / times)
            at_ms = now_ms()
            if not is_due:
                self._done.append(FaultDone(fault.kind, at_ms, "the load ended before it was due", happened=False))
                continue
            try:
                what, happened = self._causes[fault.kind](fault)
            except (OSError, BotoCoreError, ClientError) as failure:
                what, happened = f"failed: {type(failure).__name__}", False
            self._done.append(FaultDone(fault.kind, at_ms, what, happened))

    def _kill(self, _: Fault) -> tuple[str, bool]:
        killed = self._stage.kill_worker(CONSUMER, KILL_PATIENCE_SECONDS, KILL_AFTER_SECONDS)
        if killed:
            return f"a process of {CONSUMER} was killed in the middle of a batch", True
        return f"no process of {CONSUMER} was at work for long enough within {KILL_PATIENCE_SECONDS:.0f} s", False

    def _throttle(self, fault: Fault) -> tuple[str, bool]:
        before = self._stage.faults.writes_refused
        self._stage.throttle_dynamodb(fault.share)
        self._last(fault)
        self._stage.throttle_dynamodb(0)
        refused = self._stage.faults.writes_refused - before
        return f"DynamoDB refused {refused:,} writes ({fault.share:.0%} of them)", refused > 0

    def _delay(self, fault: Fault) -> tuple[str, bool]:
        before = self._stage.faults.publishes_delayed
        self._stage.delay_sns(fault.delay_ms)
        self._last(fault)
        self._stage.delay_sns(0)
        delayed = self._stage.faults.publishes_delayed - before
        return f"SNS took {fault.delay_ms} ms longer over {delayed:,} publishes", delayed > 0

    def _expire(self, _: Fault) -> tuple[str, bool]:
        before = self._stage.faults.expirations
        expired = self._stage.expire_iterators()
        give_up_at = time.monotonic() + READ_ON_SECONDS
        while True:
            now = self._stage.faults
            found, read_on = now.expirations - before, now.reads_since_expiry
            if (found >= expired and read_on) or time.monotonic() >= give_up_at:
                break
            time.sleep(POLL_SECONDS)
        went_on = "and reading went on with others" if read_on else "and nothing was read since"
        return f"{expired} iterators expired, {found} of them were read with, {went_on}", bool(found and read_on)

    def _replay(self, _: Fault) -> tuple[str, bool]:
        self._stage.replay()
        return "the stream is read from its beginning once more", True

    def _last(self, fault: Fault) -> None:
        """Wait until a fault that takes some time is over."""
        self._ending.wait(fault.seconds or None)

    def _wait_until(self, at_seconds: float) -> bool:
        """Wait for a time of the load; False when that has ended before."""
        return not self._ending.wait(max(0.0, self._started_ms / 1000 + at_seconds - time.time()))
