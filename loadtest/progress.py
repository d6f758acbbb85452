"""How a load test goes, while it goes: a table that changes on a terminal, plain lines where there is none."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from loadtest.generate.gathered import Progress
from loadtest.recording import FaultDone

IN_SECONDS_FROM_MS = 10_000
LINE_SECONDS = 5.0  # between two plain lines


class Show:
    """Shows it on standard error, so that standard output is the report's alone."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._seconds = 0.0
        self._live = Live(console=console)
        self._line_due = 0.0
        self._told_faults = 0

    @contextmanager
    def live(self, seconds: float) -> Iterator[None]:
        """Show what goes on between the block's start and its end. Units: seconds, of the load."""
        self._seconds = seconds
        self._line_due = 0.0
        if not self._console.is_terminal:
            yield
            return
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        with self._live:
            yield

    def say(self, what: str) -> None:
        """Tell what is done now."""
        self._console.print(f"loadtest: {what}", soft_wrap=True, markup=False)

    def load(self, progress: Progress, faults: Sequence[FaultDone]) -> None:
        """Show how the load goes."""
        for fault in faults[self._told_faults :]:
            self.say(f"{fault.kind}: {fault.what}")
        self._told_faults = len(faults)
        if self._console.is_terminal:
            self._live.update(self._table(progress, faults))
        elif time.monotonic() >= self._line_due:
            self._line_due = time.monotonic() + LINE_SECONDS
            self.say(line_of(progress, self._seconds))

    def wait(self, what: str, done: float | None) -> None:
        """Show how the rest goes. Shapes: done, the share that is done; None where nobody knows."""
        if self._console.is_terminal:
            bar = ProgressBar(total=1, completed=done or 0, pulse=done is None, width=40)
            self._live.update(Group(Text(what), bar))
        elif time.monotonic() >= self._line_due:
            self._line_due = time.monotonic() + LINE_SECONDS
            self.say(what if done is None else f"{what} ({done:.0%})")

    def _table(self, progress: Progress, faults: Sequence[FaultDone]) -> Group:
        table = Table.grid(padding=(0, 3))
        table.add_column(style="bold")
        table.add_column(justify="right", min_width=12)
        table.add_column(style="dim")
        throttled = "red" if progress.throttled else ""
        table.add_row("offered", f"{progress.offered_rate:,}/s", f"{progress.offered:,} events")
        table.add_row("accepted", f"{progress.accepted_rate:,}/s", f"{progress.accepted:,} events")
        table.add_row("waiting", f"{progress.waiting:,}", "due, and not accepted yet")
        table.add_row("throttled", Text(f"{progress.throttled:,}", throttled), "records, put again")
        fresh = f"p99 {_ms(progress.freshness_p99_ms)}, of {progress.probes:,} probes"
        table.add_row("freshness", _ms(progress.freshness_p50_ms), fresh)
        failed = f", {progress.queries_failed:,} failed" if progress.queries_failed else ""
        table.add_row("queries", f"{progress.queries:,}", f"p99 {_ms(progress.query_p99_ms)}{failed}")
        table.add_row("lag", _ms(progress.lag_ms), "of the shard furthest behind")
        if faults:
            table.add_row("faults", f"{sum(fault.happened for fault in faults):,}", faults[-1].what)
        if progress.note:
            table.add_row(Text("lost", "red"), "", progress.note)
        bar = ProgressBar(total=self._seconds, completed=min(progress.at, self._seconds), width=40)
        return Group(Text(f"{progress.at} of {self._seconds:.0f} s"), bar, table)


def line_of(progress: Progress, seconds: float) -> str:
    """How the load goes, in one line."""
    parts = [
        f"{progress.at} of {seconds:.0f} s",
        f"offered {progress.offered_rate:,}/s",
        f"accepted {progress.accepted_rate:,}/s",
        f"waiting {progress.waiting:,}",
        f"throttled {progress.throttled:,}",
        f"freshness p50 {_ms(progress.freshness_p50_ms)}, p99 {_ms(progress.freshness_p99_ms)}",
        f"lag {_ms(progress.lag_ms)}",
    ]
    return ", ".join([*parts, progress.note] if progress.note else parts)


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f} ms" if value < IN_SECONDS_FROM_MS else f"{value / 1000:,.1f} s"
