"""An engine: something that counts the workload's events, in this process or in its own."""

import gc
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from time import perf_counter, process_time
from typing import Any, Protocol

from msgspec import Struct

from benchmarks.engines.totals import Totals
from benchmarks.engines.workload import Batch, Workload

KPL = "KPL"  # Kinesis records of 200 events each
RECORDS = "records"  # Kinesis records of an event each
LINES = "lines"  # of a file
AGGREGATES, PLAIN = attrgetter("aggregates"), attrgetter("records")  # of a batch


class Pass(Struct, frozen=True):
    """One time through the events. Units: of CPU, of the engine's process and all that it started; all threads."""

    totals: Totals
    events: int
    cpu_seconds: float
    wall_seconds: float
    counted: Mapping[str, float] = {}


class UnavailableError(Exception):
    """This engine cannot run here; the text says why in one line."""


class Engine(Protocol):
    """What is measured. Shapes: workload, what of the events it counts; reads, one of the forms above."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def reads(self) -> str: ...  # noqa: D102
    @property
    def note(self) -> str: ...  # noqa: D102
    @property
    def workload(self) -> Workload: ...  # noqa: D102

    def warm_up(self) -> list[float]:
        """Count some of the events, or all, until what is slow at first is past. Returns: CPU seconds, if told."""
        ...

    def run(self, round_number: int) -> Pass:
        """Count the events, from nothing."""
        ...


class InProcess(Struct, frozen=True):
    """An engine in this process.

    Shapes: of_batch gives what is counted of a batch, begin what that is to be given to, and what tells the totals in
            the end. None of it is timed, and each pass begins anew.
    """

    name: str
    reads: str
    note: str
    workload: Workload
    of_batch: Callable[[Batch], Any]
    begin: Callable[[], tuple[Callable[[Any], object], Callable[[], Totals]]]

    def warm_up(self) -> list[float]:
        """Count the first of the batches."""
        take, _ = self.begin()
        take(self.of_batch(self.workload.batches[0]))
        return []

    def run(self, round_number: int) -> Pass:  # noqa: ARG002  each is alike
        """Count the events, from nothing."""
        take, totals = self.begin()
        cpu_seconds, wall_seconds = timed(take, map(self.of_batch, self.workload.batches))
        return Pass(totals(), len(self.workload.lines), cpu_seconds, wall_seconds)


def timed(take: Callable[[Any], object], inputs: Iterable[Any]) -> tuple[float, float]:
    """The seconds of CPU and of the clock that taking them all takes, without making them.

    Why garbage of before is cleared away first: only its own is the engine's to pay for.
    """
    gc.collect()
    cpu_seconds = wall_seconds = 0.0
    for each in inputs:
        wall, cpu = perf_counter(), process_time()
        take(each)
        cpu_seconds += process_time() - cpu
        wall_seconds += perf_counter() - wall
    return cpu_seconds, wall_seconds
