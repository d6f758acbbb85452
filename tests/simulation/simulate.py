"""Runs seeded worlds and holds each against the oracle: `python -m tests.simulation.simulate --runs 10000`."""

import sys

from tests.simulation.command import run_seeds
from tests.simulation.faults import Faults
from tests.simulation.oracle import stored_counts
from tests.simulation.world import World, reasons

STEPS = 25
HAPPENINGS = ("split", "merge", "replay", "metric added", "redrive")
DRAIN_STEPS_MAX = 2_000


def simulate(seed: int, kind: type[World] = World) -> World:
    """Run one world, of this kind, to its end, and check it.

    Raises: AssertionError when anything is lost, counted twice or claimed too early, or when a shard sticks.
    """
    world = kind(seed, Faults())
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


if __name__ == "__main__":
    sys.exit(run_seeds("tests.simulation.simulate", __doc__, simulate, [*Faults.names(), *HAPPENINGS]))
