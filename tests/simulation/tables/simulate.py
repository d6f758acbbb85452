"""Runs seeded worlds of the tables' consumers: `python -m tests.simulation.tables.simulate --runs 10000`."""

import sys
from collections.abc import Mapping

from chalicelib.aggregates.metric import Metric
from tests.simulation.command import run_seeds
from tests.simulation.tables.alerts import Looked
from tests.simulation.tables.faults import TableFaults
from tests.simulation.tables.oracle import Groups, merged
from tests.simulation.tables.topic import Window
from tests.simulation.tables.world import World

STEPS = 20
HAPPENINGS = ("rollup overtaken", "tick died", "item expired")
QUESTIONS = 5
DRAIN_STEPS_MAX = 2_000


def simulate(seed: int) -> World:
    """Run one world to its end, and check it.

    Raises: AssertionError when anything is lost, counted twice, claimed too early, published wrongly or not at all.
    """
    world = World(seed, TableFaults())
    for _ in range(world.chance.randrange(4, STEPS)):
        world.happen()
        world.work()
        world.check()
        if world.chance.random() < 0.5:
            world.minute()
        if world.chance.random() < 0.2:
            world.ask()
    world.faults.stop()
    drain(world)
    check_carried(world)
    world.let_all_be_over()
    for _ in range(2):  # the first puts a tick on every shard, the second settles what is then complete
        world.minute()
        drain(world)
    check(world)
    return world


def drain(world: World) -> None:
    """Let everything come to its end."""
    for _ in range(DRAIN_STEPS_MAX):
        if world.is_drained:
            return
        world.work()
    raise AssertionError("a shard sticks")


def check_carried(world: World) -> None:
    """While nothing changes, and though nothing is settled, rollups that are carried hold it, and it has been told."""
    highest = world.topic.highest()
    for metric in world.stage.metrics:
        for step_ms in metric.steps_ms:
            stored = world.aggregates.stored(metric, step_ms)
            if metric.is_rollup(step_ms) and world.is_carried(metric):
                assert world.aggregates.rolled_up(metric, step_ms) == stored, f"{metric.name}: a change was not carried"
            for start_ms, groups in stored.items() if metric.published else ():
                _, several = highest.get(Window(metric.name, step_ms, start_ms), (0, []))
                assert several == [groups], f"{metric.name}: a change was not told"


def check(world: World) -> None:
    """Hold what is stored against what was sent."""
    letters = world.stores.dead_letters.objects
    reasons = {each.refusal.reason.value for pieces in letters.values() for each in pieces}
    assert reasons <= {"too late"}, "dead letters of what is no poison"
    for metric in world.stage.metrics:
        for step_ms in metric.steps_ms:
            expected = world.oracle.windows(metric, step_ms)
            assert world.aggregates.stored(metric, step_ms) == expected, f"{metric.name}: not counted exactly once"
            if metric.is_rollup(step_ms):
                assert world.aggregates.rolled_up(metric, step_ms) == expected, f"{metric.name}: a rollup is not exact"
            check_told(world, metric, step_ms, expected)
    for _ in range(QUESTIONS):
        world.ask()
    check_scan(world)
    check_alerts(world)


def check_told(world: World, metric: Metric, step_ms: int, expected: Mapping[int, Groups]) -> None:
    """Each window was told when it was final, and as it is; who keeps the highest revision ends with that."""
    if not metric.published:
        assert all(told.window.metric != metric.name for told in world.topic.windows), "told, and not to be published"
        return
    final_revisions: dict[int, int] = {}
    for told, several in world.topic.finals():
        if (told.window.metric, told.window.step_ms) == (metric.name, step_ms):
            start_ms = told.window.window_start_ms
            assert several == [expected.get(start_ms)], f"{metric.name}: what is final is not what the window holds"
            final_revisions[start_ms] = max(told.revision, final_revisions.get(start_ms, 0))
    assert final_revisions.keys() == expected.keys(), f"{metric.name}: not each window was told to be final"
    for window, (revision, several) in world.topic.highest().items():
        if (window.metric, window.step_ms) == (metric.name, step_ms):
            start_ms = window.window_start_ms
            assert several == [expected[start_ms]], f"{metric.name}: the highest revision is not what the window holds"
            assert revision == final_revisions[start_ms], f"{metric.name}: a revision is above the final one"


def check_scan(world: World) -> None:
    """Over all windows together, changes come to what a scan of the table gives, groups at zero aside."""
    metric = world.stage.catalog.metrics["order_status"]
    counted = merged(metric, world.aggregates.stored(metric, metric.window_ms).values())
    assert {group: states for group, states in counted.items() if any(states)} == world.orders.scan(), "not the table"


def check_alerts(world: World) -> None:
    """What must be raised was, once, and told; nothing was that never held."""
    raised = list(world.aggregates.alerts.alerts.values())
    about = {(each.alert, each.window_start_ms, tuple(each.group.values())): each for each in raised}
    assert len(about) == len(raised), "an alert was raised twice"
    assert {each.id for each in raised} == {said["id"] for said in world.topic.alerts}, "an alert was not told"
    for alert in world.stage.alerts:
        metric = world.stage.catalog.metrics[alert.metric]
        settled = world.looked_at(metric)
        looked = Looked(alert, metric, world.oracle, settled, world.aggregates.first_window(metric, 1))
        for start_ms, group in looked.must_be_raised():
            assert (alert.name, start_ms, group) in about, f"{alert.name}: an alert was not raised"
        for (name, start_ms, group), each in about.items():
            if name == alert.name:
                assert looked.can_be_raised(start_ms, group, each.value), f"{alert.name}: raised, and never true"


if __name__ == "__main__":
    sys.exit(run_seeds("tests.simulation.tables.simulate", __doc__, simulate, [*TableFaults.names(), *HAPPENINGS]))
