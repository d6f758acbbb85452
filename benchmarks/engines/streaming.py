"""Bytewax and Flink as engines: each counts a file of JSON lines, in a process of its own."""

from benchmarks.engines.apart import Apart
from benchmarks.engines.engine import LINES, Pass
from benchmarks.engines.totals import from_rows
from benchmarks.engines.workload import Lines, Workload

GAIN_MIN = 0.02  # a pass that is faster by less is not faster …
PASSES_WITHOUT_GAIN = 3  # … and after so many in a row none will be, to speak of


class FromFile:
    """An engine that reads a file of the workload.

    Shapes: further, if given, is the same events several times over, and what is told is what each time beyond the
            first costs in the job that goes on; asked, what the process is told beside the path.
    Why further: each job is planned, compiled and given a cluster anew. A stream's job runs for weeks.
    """

    reads = LINES

    def __init__(
        self,
        name: str,
        note: str,
        workload: Workload,
        process: Apart,
        lines: Lines,
        *,
        further: Lines | None = None,
        passes_max: int = 1,
        **asked: str,
    ) -> None:
        self.name, self.note, self.workload = name, note, workload
        self._process, self._lines, self._further = process, lines, further
        self._passes_max, self._asked = passes_max, asked

    def warm_up(self) -> list[float]:
        """Count the events until that gets no faster."""
        seconds: list[float] = []
        best, since_best = float("inf"), 0
        while len(seconds) < self._passes_max and since_best < PASSES_WITHOUT_GAIN:
            seconds.append(self._count(self._lines)[0])
            since_best = 0 if seconds[-1] < best * (1 - GAIN_MIN) else since_best + 1
            best = min(best, seconds[-1])
        return seconds

    def run(self, round_number: int) -> Pass:  # noqa: ARG002  each is alike
        """Count the events, from nothing."""
        cpu_seconds, wall_seconds = self._count(self._lines)
        if self._further:
            more = self._further.times - self._lines.times
            cpu_of_all, wall_of_all = self._count(self._further)
            cpu_seconds, wall_seconds = (cpu_of_all - cpu_seconds) / more, (wall_of_all - wall_seconds) / more
        return Pass(self._lines.totals, len(self.workload.lines), cpu_seconds, wall_seconds)

    def _count(self, lines: Lines) -> tuple[float, float]:
        answer, cpu_seconds, wall_seconds = self._process.ask(path=str(lines.path), **self._asked)
        if from_rows(answer.rows) != lines.totals:
            raise RuntimeError(f"{self.name} counted something else")
        return cpu_seconds, wall_seconds
