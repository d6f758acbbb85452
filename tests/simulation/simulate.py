"""Runs seeded worlds and holds each against the oracle: `python -m tests.simulation.simulate --runs 10000`."""

import argparse
import sys
import time
from collections import Counter

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.simulation.faults import NAMES, Faults
from tests.simulation.oracle import stored_counts
from tests.simulation.world import World, reasons

STEPS = 25
HAPPENINGS = ("split", "merge", "replay", "metric added", "redrive")
DRAIN_STEPS_MAX = 2_000


def simulate(seed: int) -> World:
    """Run one world to its end, and check it.

    Raises: AssertionError when anything is lost, counted twice or claimed too early, or when a shard sticks.
    """
    world = World(seed, Faults())
    for _ in range(world.chance.randrange(5, STEPS)):
        for _ in range(world.chance.randrange(4)):
            world.produce()
        if world.chance.random() < 0.05:
            world.reshard()
        if world.chance.random() < 0.1:
            world.tick()
        if world.chance.random() < 0.1:
            world.operator.ask()
        world.work()
    for again, odds in ((world.replay, 0.3), (world.deploy_a_metric, 0.15)):
        if world.chance.random() < odds:
            again()
            for _ in range(world.chance.randrange(10)):
                world.work()
    world.faults.stop()
    drain(world)  # … what is still redriven, too
    world.tick()
    drain(world)
    check(world)
    return world


def drain(world: World) -> None:
    """Let everything come to its end."""
    for _ in range(DRAIN_STEPS_MAX):
        if world.drained:
            return
        world.work()
    raise AssertionError("a shard sticks")


def check(world: World) -> None:
    """Hold what is stored against what was sent."""
    expected = world.expected()
    assert stored_counts(world.partials) == world.counts(expected), "not each event is counted exactly once"
    assert world.bucket.reasons() == reasons(expected), "dead letters differ from the poison"
    assert not world.operator.lost, "a letter was taken for redriven that the stream never took"
    announced = {(message["source"], message["event_id"]) for message in world.effects.published}
    assert announced == expected.large, "not each large order is announced"
    assert world.complete_until() == world.ticked_at_ms, "complete_until does not follow the tick"
    for shard in world.shards:
        if shard.records:
            last, progress = shard.records[-1].sequence_number, world.progress.get(shard.shard_id)
            assert progress, "a shard has no progress at all"
            assert progress.sequence_number == last, "progress stands behind the last record"


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m tests.simulation.simulate", description=__doc__.splitlines()[0])
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
            except AssertionError as failure:
                console.print(
                    f"[red]seed {seed}:[/] {failure}\nreplay: python -m tests.simulation.simulate --seed {seed}"
                )
                return 1
            batches += world.batches
            fired += world.faults.fired
    seconds = time.perf_counter() - started
    table = Table(
        "fault", "times", title=f"{len(seeds):,} runs, {batches:,} batches, {batches / seconds:,.0f} batches/s"
    )
    for name in [*NAMES, *HAPPENINGS]:
        table.add_row(name.replace("_", " "), f"{fired[name]:,}")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
