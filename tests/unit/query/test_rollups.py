"""Questions over settled rollups: fewer items, the same answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.rollup import Rollup
from chalicelib.aggregates.windows import format_instant
from chalicelib.consumers.rollup import RollUp
from chalicelib.consumers.settle import Settle
from chalicelib.query import plan, scan
from chalicelib.query.request import DAY_MS
from chalicelib.reading.ports import ROLLUPS, Settled
from tests.unit.query.shop import CATALOG, HOUR_MS, MINUTE_MS, START_MS, TOTALS, Stage, sold

LATENESS_MS = DAY_MS  # as the stage of these tests has it
MIDNIGHT_MS = START_MS - 20 * HOUR_MS
WRITERS = ("shard-0", "shard-1", "shard-2")


def plenty():
    return 60_000


def settle(stage, complete_until_ms):
    """Bring the stage's rollups to where tick brings them when the stream is so complete."""
    duty = RollUp(CATALOG, LATENESS_MS, stage.shares, stage.shares, clock_ms=lambda: complete_until_ms)
    Settle(CATALOG.metrics.values(), duty, stage.shares)(complete_until_ms, plenty)


def a_month(writers):
    """Sales each quarter of an hour for thirty days, by these writers."""
    return [
        sold(-day * 86_400 - quarter * 900, shop="abc"[quarter % 3], price=str(quarter + day), writer=writer)
        for day in range(30)
        for quarter in range(96)
        for writer in writers
    ]


A_MONTH = {
    "start": format_instant(MIDNIGHT_MS - 30 * DAY_MS),
    "end": format_instant(MIDNIGHT_MS),
    "step": "1d",
    "limit": 10_000,
}


@pytest.mark.parametrize("writers", [WRITERS[:1], WRITERS])
def test_thirty_days_read_one_item_a_day_however_many_writers_there_are(writers):
    stage = Stage(a_month(writers))
    settle(stage, MIDNIGHT_MS + LATENESS_MS)
    answer = stage.ask("totals", **A_MONTH)
    assert answer["rows"] == 30
    assert answer["statistics"]["items_read"] == 30


def test_what_is_not_settled_is_read_by_base_windows():
    stage = Stage(a_month(WRITERS))
    by_minutes = stage.rows("sales", group_by="shop", **A_MONTH)
    settle(stage, MIDNIGHT_MS - 2 * DAY_MS + LATENESS_MS)  # but for two days
    answer = stage.ask("sales", group_by="shop", **A_MONTH)
    assert answer["data"] == by_minutes
    days, minutes = [
        sum(plan.step_ms == step_ms for plan in stage.shares.plans[-2:]) for step_ms in (DAY_MS, MINUTE_MS)
    ]
    assert (days, minutes) == (1, 1)


def test_a_rollup_that_nobody_has_settled_is_not_believed():
    stage = Stage(a_month(WRITERS))
    settle(stage, MIDNIGHT_MS + LATENESS_MS)
    for key in stage.shares.rollups:
        stage.shares.rollups[key] = Rollup(9, None)
    stage.shares.settled.clear()
    assert stage.rows("totals", **A_MONTH) == Stage(a_month(WRITERS)).rows("totals", **A_MONTH)


def test_a_rollup_too_large_to_be_stored_is_read_by_what_it_is_made_of():
    stage = Stage(a_month(WRITERS))
    settle(stage, MIDNIGHT_MS + LATENESS_MS)
    whole = stage.rows("sales", group_by="shop,clerk", **A_MONTH)
    for place, key in enumerate(sorted(stage.shares.rollups)):
        if place % 3 == 0:
            stage.shares.rollups[key] = Rollup(9, None)
    assert stage.rows("sales", group_by="shop,clerk", **A_MONTH) == whole


def test_a_lateness_that_was_raised_unsettles_what_may_change_again():
    settled = Settled(from_ms=0, until_ms=100, complete_until_ms=110)
    assert [settled.until(lateness_ms) for lateness_ms in (5, 10, 30)] == [100, 100, 80]


sales = st.lists(
    st.builds(
        sold,
        st.integers(-3 * 86_400, 86_400),
        shop=st.sampled_from("ab"),
        clerk=st.sampled_from("xy"),
        price=st.sampled_from(["0.1", "2", "-3.25"]),
        writer=st.sampled_from(WRITERS),
    ),
    max_size=40,
)
instants = st.one_of(
    st.integers(-80, 30).map(lambda n: n * HOUR_MS), st.integers(-5_000, 1_000).map(lambda n: n * MINUTE_MS)
)
ranges = st.tuples(instants, instants).map(sorted).filter(lambda ends: ends[0] < ends[1])
steps = st.sampled_from(["1m", "7m", "45m", "1h", "90m", "3h", "5h", "1d", "all"])


@settings(max_examples=200)
@given(sales, ranges, steps, st.sampled_from(["sales", "small", "totals"]), st.integers(-100, 60))
def test_the_answer_is_that_of_base_windows_alone(made, asked_range, step, metric, settled_hours):
    start_ms, end_ms = (START_MS + instant_ms for instant_ms in asked_range)
    asked = {"start": format_instant(start_ms), "end": format_instant(end_ms), "step": step, "limit": 10_000}
    if CATALOG.metrics[metric].by:
        asked["group_by"] = "shop"
    alone, rolled_up = Stage(made), Stage(made)
    settle(rolled_up, START_MS + settled_hours * HOUR_MS + LATENESS_MS)
    assert rolled_up.rows(metric, **asked) == alone.rows(metric, **asked)


def test_to_a_rollup_that_is_added_nothing_is_settled():
    stage = Stage(a_month(WRITERS[:1]))
    settle(stage, MIDNIGHT_MS + LATENESS_MS)
    added = Catalog(CATALOG.event_types, [replace(TOTALS, rollups=("6h", "1d"))])
    deployed = Stage(a_month(WRITERS[:1]), catalog=added)
    deployed.shares.rollups, deployed.shares.settled = stage.shares.rollups, stage.shares.settled
    assert deployed.rows("totals", **A_MONTH) == stage.rows("totals", **A_MONTH)
    assert [plan.step_ms for plan in deployed.shares.plans] == [MINUTE_MS]


def test_reading_rollups_is_what_the_settled_purpose_says():
    stage = Stage(a_month(WRITERS[:1]))
    settle(stage, MIDNIGHT_MS + LATENESS_MS)
    assert set(stage.shares.read_settled(ROLLUPS, 1)) == {metric.layout for metric in CATALOG.metrics.values()}


@pytest.mark.parametrize("parameters", [{"step": "1d"}, {"step": "all"}, {"step": "1m"}, {"step": "7m"}])
def test_an_answer_made_of_too_many_stored_windows_is_refused_with_what_would_do(monkeypatch, parameters):
    monkeypatch.setattr(scan, "WINDOWS_MAX", 2_000)
    monkeypatch.setattr(plan, "WINDOWS_MAX", 2_000)
    stage = Stage(a_month(WRITERS))
    asked = A_MONTH | parameters
    problem = stage.problem("totals", **asked)
    assert (problem["status"], problem["parameter"]) == (400, "step")
    start = problem["detail"].partition("start=")[2].removesuffix(" would do")
    assert stage.answer("totals", **asked | {"start": start}).status == 200
    assert "step=" not in problem["detail"].removeprefix("step: ")  # no rollup is settled yet, so no step helps

    settle(stage, MIDNIGHT_MS + LATENESS_MS)
    if parameters["step"] in ("1d", "all"):
        assert stage.answer("totals", **asked).status == 200
    else:
        detail = stage.problem("totals", **asked)["detail"]
        step = detail.partition("step=")[2].partition(" ")[0]
        assert stage.answer("totals", **asked | {"step": step}).status == 200


def test_rollups_too_large_to_be_stored_are_not_promised_to_do(monkeypatch):
    monkeypatch.setattr(scan, "WINDOWS_MAX", 2_000)
    monkeypatch.setattr(plan, "WINDOWS_MAX", 2_000)
    stage = Stage(a_month(WRITERS))
    settle(stage, MIDNIGHT_MS + LATENESS_MS)
    for key, rollup in stage.shares.rollups.items():
        stage.shares.rollups[key] = replace(rollup, packed=None)
    detail = stage.problem("totals", **A_MONTH)["detail"]
    assert "step=" not in detail.removeprefix("step: ")
    start = detail.partition("start=")[2].removesuffix(" would do")
    assert stage.answer("totals", **A_MONTH | {"start": start}).status == 200


def test_a_range_of_many_windows_that_hold_little_is_answered(monkeypatch):
    monkeypatch.setattr(scan, "WINDOWS_MAX", 10)
    stage = Stage([sold(-(day + 1) * 86_400) for day in range(10)])
    assert stage.ask("totals", **A_MONTH)["rows"] == 10
