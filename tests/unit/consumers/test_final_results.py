import pytest
from msgspec.structs import replace

from chalicelib.consumers.ports import Failed, Refused
from chalicelib.consumers.settle import Settle, SettleAll
from chalicelib.errors import TransientError
from tests.builders import DAY_MS, MINUTE_MS, NOON_MS, STREAM
from tests.unit.consumers.results_world import CATALOG, HOUR_MS, LATENESS_MS, SALES, TABLE, WHOLE, World, states

EUR, GBP = ("EUR",), ("GBP",)


@pytest.fixture
def world():
    return World()


def see_to(world, start_minute, end_minute, metric=SALES):
    start_ms, end_ms = (NOON_MS + minute * MINUTE_MS for minute in (start_minute, end_minute))
    return world.final_results().see_to(metric, start_ms, end_ms, lambda: world.remaining_ms)


# minutes  12:00 [EUR]  12:01 [EUR]  12:02 [EUR]
#                 |----- seen to ----|
def test_every_stored_window_that_ends_in_the_slice_gets_its_final_message(world):
    for minute in range(4):
        world.store(minute, {EUR: states(minute), GBP: states(1)})
    assert see_to(world, 1, 3)
    assert world.told() == [("sales", "12:01", "12:02", 2, True), ("sales", "12:02", "12:03", 2, True)]
    assert [report.final for report in world.reports] == [2]


def test_windows_of_which_nothing_is_stored_get_none(world):
    world.store(1, {EUR: states(1)})
    world.settle_rollups(60)
    assert see_to(world, 0, 60)
    assert world.told() == [("sales", "12:01", "12:02", 1, True), ("sales", "12:00", "13:00", 1, True)]


def test_rollups_that_are_settled_are_told_after_what_they_are_made_of(world):
    world.store(0, {EUR: states(1), GBP: states(1)})
    world.store(59, {EUR: states(2)})
    world.settle_rollups(12 * 60)
    assert see_to(world, 0, 12 * 60)
    messages = world.published()
    assert [message["window_end"][11:16] for message in messages] == ["12:01", "13:00", "13:00", "00:00"]
    assert messages[-1]["rows"] == messages[-2]["rows"]
    assert messages[-1]["rows"] == [{"currency": "EUR", "n": 3, "total": 3}, {"currency": "GBP", "n": 1, "total": 1}]
    assert all(message["final"] for message in messages)


def test_a_metric_without_rollups_has_its_windows_told(world):
    world.store(0, {(): (1,)}, metric=WHOLE)
    assert see_to(world, 0, 60, WHOLE)
    assert world.told() == [("whole", "12:00", "12:01", 1, True)]


def test_what_is_not_published_is_named_and_comes_again_and_nothing_behind_it_is_told(world):
    for minute in range(100):
        world.store(minute, {(): (1,)}, metric=WHOLE)
    world.topic.judge = lambda message: Failed("Throttled")
    with pytest.raises(TransientError, match="Throttled"):
        see_to(world, 0, 100, WHOLE)
    (report,) = world.reports
    assert report.failed == 64
    world.topic.judge = lambda message: None
    assert see_to(world, 0, 100, WHOLE)
    assert len(world.told()) == 100


def test_what_can_never_be_sent_is_kept_under_its_windows_name_and_done_with(world):
    world.store(0, {EUR: states(1)})
    world.topic.judge = lambda message: Refused("no")
    for _ in range(2):
        assert see_to(world, 0, 1)
    assert list(world.dead_letters.objects) == [(TABLE, "final_results", "sales.1m.2026-11-24T12:00:00Z")]
    world.dead_letters.refused = {"sales.1m.2026-11-24T12:00:00Z"}
    with pytest.raises(TransientError, match="SlowDown"):
        see_to(world, 0, 1)


def test_a_rollup_that_is_not_settled_keeps_its_slice_waiting_and_no_other(world):
    world.store(0, {EUR: states(1)})
    for settled_until in (None, 59):
        if settled_until:
            world.settle_rollups(settled_until)
        assert not see_to(world, 0, 60)
    assert world.published() == []
    assert see_to(world, 0, 59)
    assert len(world.published()) == 1


def test_a_rollup_of_another_layout_is_not_the_metrics(world):
    world.store(0, {EUR: states(1)})
    world.settle_rollups(60)
    world.table.settled["rollups", "sales#1m,1d"] = world.table.settled.pop(("rollups", SALES.layout))
    assert not see_to(world, 0, 60)


def test_a_metric_that_is_not_published_has_nothing_told(world):
    world.store(0, {EUR: states(1)})
    assert see_to(world, 0, 60, replace(SALES, published=False))
    assert world.published() == []


def test_out_of_time_nothing_is_told(world):
    world.store(0, {EUR: states(1)})
    world.remaining_ms = 0
    with pytest.raises(TransientError):
        see_to(world, 0, 1)


def settle(world):
    duties = [world.roll_up(), world.final_results()]
    settles = {duty.purpose: Settle(CATALOG.metrics.values(), duty, world.table) for duty in duties}
    return SettleAll(STREAM, world.shards, world.table, settles)(lambda: world.remaining_ms)


# lateness 5 minutes; complete until 12:06 → 12:00 is final; until 12:08 → 12:01, 12:02
def test_tick_has_each_window_told_once_when_completeness_has_passed_it(world):
    for minute in (0, 1, 2):
        world.store(minute, {EUR: states(1)})
    told = []
    for complete in (5, 6, 6, 8, 8):
        world.complete_until(complete)
        assert not settle(world)["results"].errors
        told.append([(start, final) for _, start, _, _, final in world.told()])
    assert told == [[], [("12:00", True)], [], [("12:01", True), ("12:02", True)], []]


def test_a_failure_is_told_and_made_good_by_the_next_tick(world):
    world.store(0, {EUR: states(1)})
    world.complete_until(6)
    world.topic.judge = lambda message: Failed("circuit open")
    assert settle(world)["results"].errors == {"circuit open": 1}
    world.topic.judge = lambda message: None
    settle(world)
    assert world.told() == [("sales", "12:00", "12:01", 1, True)]


def test_it_waits_for_lateness_and_knows_metrics_by_their_name():
    duty = World().final_results()
    assert (duty.grace_ms(SALES), duty.step_ms(SALES), duty.subject(SALES)) == (LATENESS_MS, MINUTE_MS, "sales")
    assert SALES.steps_ms == (MINUTE_MS, HOUR_MS, DAY_MS)
