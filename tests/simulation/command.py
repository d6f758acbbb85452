"""The command that runs seeded worlds: a progress bar, a table of what went wrong in them, and how to replay one."""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.simulation.faults import Faults


class World(Protocol):
    """All that is told of a world that has come to its end."""

    batches: int
    faults: Faults


def run_seeds(module: str, description: str, simulate: Callable[[int], World], happenings: Sequence[str]) -> int:
    """Run the seeds that the command line asks for. Returns: the exit code."""
    arguments = argparse.ArgumentParser(prog=f"python -m {module}", description=description.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=1_000)
    arguments.add_argument("--seed", type=int, help="run this one seed only")
    arguments.add_argument("--first", type=int, default=0, metavar="SEED", help="the first seed (%(default)s)")
    options = arguments.parse_args()
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.runs)
    console = Console()
    fired: Counter[str] = Counter()
    batches, started = 0, time.perf_counter()
    with Progress(console=console, transient=True) as progress:
        for seed in progress.track(seeds, description="simulating"):
            try:
                world = simulate(seed)
            except Exception as failure:
                console.print(f"[red]seed {seed}:[/] {failure!r}\nreplay: python -m {module} --seed {seed}")
                if not isinstance(failure, AssertionError):
                    raise
                return 1
            batches += world.batches
            fired += world.faults.fired
    seconds = time.perf_counter() - started
    table = Table(
        "fault", "times", title=f"{len(seeds):,} runs, {batches:,} batches, {batches / seconds:,.0f} batches/s"
    )
    for name in happenings:
        table.add_row(name.replace("_", " "), f"{fired[name]:,}")
    console.print(table)
    return 0
