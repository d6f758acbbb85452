"""A stage that answers rightly is exact; whatever else it answers is listed, as just that and nothing more."""

import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from chalicelib.records.letter import Letter
from loadtest.expectation import Ranked, expect
from loadtest.profile import Analysts, Arrivals, Events, Profile, Shares
from loadtest.proof import ApiError, Outcome, Verdict, prove
from loadtest.proof.verdict import Kind
from loadtest.recording import FaultDone, Ledger, StageKind
from loadtest.traffic import Names
from tests.unit.loadtest.proof.world import FakeApi, World, make_world, stage_of

CENT = Decimal("0.01")


def of(world: World, **options) -> Verdict:
    return prove(world.recording, world.expected, world.api, **options)


def first_of(rows):
    """The first group in the order of windows and names, so that a test is the same each time."""
    return min(rows)


def test_right_answers_are_exact(world: World) -> None:
    verdict = of(world)
    assert verdict.outcome is Outcome.EXACT
    assert (verdict.differences, verdict.unproved) == ([], [])
    assert verdict.counted == verdict.expected
    by_metric = {each.metric: each.groups for each in verdict.compared}
    assert all(by_metric[name] == len(places) for name, places in world.expected.metrics.items())


def test_every_metric_is_asked_for_by_all_its_dimensions_a_whole_page_at_a_time(world: World) -> None:
    of(world)
    asked = {path: parameters for path, parameters in world.api.asked if path.endswith("/windows")}
    assert {path.split("/")[3]: parameters["group_by"] for path, parameters in asked.items()} == {
        "orders": "currency,order_type",
        "customers": "user_id",
        "customers_distinct": "currency",
        "order_value": "currency",
    }
    assert {parameters["limit"] for parameters in asked.values()} == {"10000"}


@pytest.mark.parametrize("metric", ["orders", "customers", "customers_distinct", "order_value"])
def test_a_group_that_is_not_told_is_the_one_difference(world: World, metric: str) -> None:
    place = first_of(world.api.rows[metric])
    del world.api.rows[metric][place]
    [missing, *others] = of(world).differences
    assert (missing.kind, missing.metric, missing.counted) == (Kind.MISSING, metric, "")
    assert all(value in missing.group for value in place[1])
    # Of `orders` the counts are wanting as well: more events seem to have been dropped as duplicates.
    assert [each.kind for each in others] == ([Kind.DUPLICATES] if metric == "orders" else [])


@pytest.mark.parametrize(
    ("metric", "measure"),
    [
        ("orders", "revenue"),
        ("orders", "smallest"),
        ("orders", "largest"),
        ("orders", "mean"),
        ("customers", "spend"),
    ],
)
def test_a_cent_more_is_the_one_difference(world: World, metric: str, measure: str) -> None:
    values = world.api.rows[metric][first_of(world.api.rows[metric])]
    was, values[measure] = values[measure], values[measure] + CENT
    [different] = of(world).differences
    assert (different.kind, different.metric, different.measure) == (Kind.VALUE, metric, measure)
    assert (Decimal(different.expected), Decimal(different.counted)) == (was, was + CENT)


@pytest.mark.parametrize(("metric", "measure"), [("customers", "orders"), ("order_value", "count")])
def test_one_event_more_is_the_one_difference(world: World, metric: str, measure: str) -> None:
    world.api.rows[metric][first_of(world.api.rows[metric])][measure] += 1
    [different] = of(world).differences
    assert (different.kind, different.metric, different.measure) == (Kind.VALUE, metric, measure)


def test_one_event_more_in_orders_is_one_duplicate_fewer_too(world: World) -> None:
    world.api.rows["orders"][first_of(world.api.rows["orders"])]["count"] += 1
    assert [each.kind for each in of(world).differences] == [Kind.VALUE, Kind.DUPLICATES]


def test_windows_that_are_swapped_differ_in_both(world: World) -> None:
    rows = world.api.rows["customers"]
    hot = sorted(place for place in rows if place[1][0].endswith("-hot"))
    first, second = hot[-2], hot[-1]
    rows[first], rows[second] = rows[second], rows[first]
    windows = {each.window for each in of(world).differences}
    assert len(windows) == 2
    assert {each.kind for each in of(world).differences} == {Kind.VALUE}


def test_a_group_that_nobody_sent_is_the_one_difference(world: World) -> None:
    window_ms, _ = first_of(world.api.rows["customers"])
    world.api.rows["customers"][window_ms, ("r1-nobody",)] = {"orders": 1, "spend": CENT}
    [extra] = of(world).differences
    assert (extra.kind, extra.group, extra.expected) == (Kind.EXTRA, "user_id=r1-nobody", "")
    assert extra.counted == "orders 1, spend 0.01"


def test_what_is_counted_days_away_is_found(world: World) -> None:
    """As an event that is too late would be, were it counted."""
    window_ms, group = first_of(world.api.rows["orders"])
    days_away = window_ms - 3 * 86_400_000
    world.api.rows["orders"][days_away, group] = dict(world.api.rows["orders"][window_ms, group])
    assert of(world).differences[0].kind is Kind.EXTRA


def test_on_a_stage_of_its_own_every_group_has_to_be_the_runs() -> None:
    world = make_world()
    window_ms, _ = first_of(world.api.rows["customers"])
    world.api.rows["customers"][window_ms, ("somebody",)] = {"orders": 1, "spend": CENT}
    assert [each.kind for each in of(world).differences] == [Kind.EXTRA]


def test_others_groups_on_a_shared_stage_are_nobodys_business() -> None:
    world = make_world(kind=StageKind.RUNNING)
    window_ms, _ = first_of(world.api.rows["customers"])
    world.api.rows["customers"][window_ms, ("somebody",)] = {"orders": 1, "spend": CENT}
    world.api.rows["orders"][window_ms, ("EUR", "gift")] = {
        "count": 1,
        **dict.fromkeys(("revenue", "smallest", "largest", "mean"), CENT),
    }
    verdict = of(world, letters=letters_of(world))
    assert verdict.outcome is Outcome.EXACT
    assert all("where" in asked for path, asked in world.api.asked if path.startswith("/v1/metrics/orders/"))


def test_a_row_on_two_pages_is_told(world: World) -> None:
    class Overlapping(FakeApi):
        def get(self, path, parameters):
            answer = FakeApi.get(self, path, parameters)
            if "customers/" in path and parameters.get("cursor") == "7" and "step" not in parameters:
                answer["data"] = [*answer["data"], answer["data"][-1]]
            return answer

    api = world.api
    world.api = Overlapping(api.rows, api.together, api.letters)
    assert [each.kind for each in of(world).differences] == [Kind.TWICE]


def test_a_page_that_is_skipped_is_missing(world: World) -> None:
    class Skipping(FakeApi):
        def get(self, path, parameters):
            answer = FakeApi.get(self, path, parameters)
            if "customers/" in path and parameters.get("cursor") == "7" and "step" not in parameters:
                answer["data"] = []
            return answer

    api = world.api
    world.api = Skipping(api.rows, api.together, api.letters)
    assert [each.kind for each in of(world).differences] == [Kind.MISSING] * 7


def test_an_answer_too_large_is_asked_for_in_parts(world: World) -> None:
    api = world.api
    world.api = FakeApi(api.rows, api.together, api.letters, rows_max=60)
    assert of(world).outcome is Outcome.EXACT


def test_what_one_answer_cannot_hold_at_all_is_an_error(world: World) -> None:
    api = world.api
    world.api = FakeApi(api.rows, api.together, api.letters, rows_max=3)
    with pytest.raises(ApiError, match="before paging"):
        of(world)


def test_a_difference_in_all_windows_together_is_told_as_that(world: World) -> None:
    rows = world.api.together["orders"]
    rows[first_of(rows)]["revenue"] -= CENT
    [different] = of(world).differences
    assert (different.kind, different.window, different.measure) == (Kind.VALUE, "all windows", "revenue")


def test_a_dead_letter_more_or_fewer_is_told_by_its_reason(world: World) -> None:
    world.api.letters["invalid"] += 1
    world.api.letters["too late"] -= 1
    letters = [each for each in of(world).differences if each.kind is Kind.DEAD_LETTERS]
    assert [(each.measure, int(each.counted) - int(each.expected)) for each in letters] == [
        ("invalid", 1),
        ("too late", -1),
    ]


def test_a_reason_that_is_missing_or_unheard_of_is_told(world: World) -> None:
    count = world.api.letters.pop("unknown type")
    world.api.letters["undeliverable"] = count
    letters = [(each.measure, each.expected, each.counted) for each in of(world).differences]
    assert letters == [("undeliverable", "0", str(count)), ("unknown type", str(count), "0")]


def test_a_duplicate_counted_or_a_dead_letter_lost_is_no_duplicate(world: World) -> None:
    world.api.letters["invalid"] -= 2
    [lost, duplicates] = of(world).differences
    assert (lost.kind, duplicates.kind) == (Kind.DEAD_LETTERS, Kind.DUPLICATES)
    assert int(duplicates.counted) == int(duplicates.expected) + 2


def test_functions_that_report_too_few_duplicates_are_told() -> None:
    world = make_world()
    world.recording.duplicates_reported -= 1
    [different] = of(world).differences
    assert (different.kind, different.metric) == (Kind.DUPLICATES, "as the functions report them")
    world.recording.duplicates_reported += 100  # a batch that came again reported its own again
    assert of(world).outcome is Outcome.EXACT


def test_cloudwatch_that_is_behind_with_the_duplicates_is_no_difference() -> None:
    world = make_world(kind=StageKind.AWS)
    verdict = of(world, letters=[])
    wanted = world.recording.duplicates_reported
    world.recording.duplicates_reported -= 1
    behind = of(world, letters=[])
    assert behind.differences == verdict.differences
    assert set(behind.notes) - set(verdict.notes) == {
        f"CloudWatch, minutes behind, told of {wanted - 1:,} of at least {wanted:,} duplicates"
    }


def test_a_metric_that_the_stage_lost_is_unproved(world: World) -> None:
    class Forgetful(FakeApi):
        def get(self, path, parameters):
            answer = FakeApi.get(self, path, parameters)
            if path == "/v1/metrics":
                answer["metrics"] = [each for each in answer["metrics"] if each["name"] != "customers"]
            return answer

    api = world.api
    world.api = Forgetful(api.rows, api.together, api.letters)
    verdict = of(world)
    assert (verdict.outcome, verdict.unproved) == (Outcome.UNPROVED, ["the stage has no metric customers"])


def test_a_proof_that_compares_nothing_is_none() -> None:
    world = make_world(probes=0)
    for ledger in world.recording.ledgers:
        ledger.accepted.clear()
    empty = make_world_of_nothing(world)
    verdict = of(empty)
    assert (verdict.outcome, verdict.unproved) == (Outcome.UNPROVED, ["nothing was compared"])


def make_world_of_nothing(world: World) -> World:
    recording = world.recording
    recording.duplicates_reported = 0
    expected = expect(recording.run, recording.ledgers)
    none = {name: {} for name in world.api.rows}
    return World(recording, expected, FakeApi(none, none, {}))


# ---- estimates


def test_a_distinct_count_within_its_bound_is_right_and_one_far_off_is_told(world: World) -> None:
    rows = world.api.rows["customers_distinct"]
    place = max(rows, key=lambda each: rows[each]["customers"])
    truth = rows[place]["customers"]
    rows[place]["customers"] = truth + 1  # of some thirty customers: 3 %, which is outside 1.63 % and within thrice
    verdict = of(world)
    assert verdict.outcome is Outcome.EXACT
    assert [each.outside for each in verdict.estimates if each.metric == "customers_distinct"] == [1]
    rows[place]["customers"] = truth + 4
    [far] = of(world).differences
    assert (far.kind, far.metric, far.measure) == (Kind.BOUND, "customers_distinct", "customers")


def test_a_quantile_of_a_wrong_rank_is_told(world: World) -> None:
    rows = world.api.rows["order_value"]
    place = max(rows, key=lambda each: rows[each]["count"])
    rows[place]["p50"] = rows[place]["p95"]
    [wrong] = of(world).differences
    assert (wrong.kind, wrong.measure) == (Kind.BOUND, "p50")
    assert "at rank 0.5" in wrong.expected


def test_quantiles_that_are_off_too_often_are_told_although_each_may_be() -> None:
    """Each by two bounds, which one of a million may be; that all are is no chance."""
    arrivals = Arrivals(rate=60, seconds=600)
    world = make_world(Profile("quantiles", arrivals, Events(customers=5, currencies=8), Analysts(probes=0)), probes=0)
    for (window_ms, group), values in world.api.rows["order_value"].items():
        amounts: Ranked = world.expected.metrics["order_value"][window_ms, group]["amounts"]
        values["p50"] = Decimal(amounts.cents[round(len(amounts) * (0.5 + 0.021))]).scaleb(-2)
    verdict = of(world)
    [often] = verdict.differences
    assert (often.kind, often.measure, often.window) == (Kind.BOUND, "p50", "")


# ---- a group limit


def overflow(world: World, together: int = 5) -> tuple[int, list]:
    """Count some of a window's customers beyond the limit, as the stage does."""
    rows = world.api.rows["customers"]
    window_ms = max(rows)[0]
    beyond = sorted(place for place in rows if place[0] == window_ms)[:together]
    merged = [rows.pop(place) for place in beyond]
    rows[window_ms, (None,)] = {
        "orders": sum(each["orders"] for each in merged),
        "spend": sum(each["spend"] for each in merged),
    }
    return window_ms, beyond


def test_beyond_a_group_limit_totals_are_compared_and_that_is_told(world: World) -> None:
    overflow(world)
    verdict = of(world)
    assert verdict.outcome is Outcome.EXACT
    assert any("more groups than the metric tells apart" in note for note in verdict.notes)
    assert [each.overflowed for each in verdict.compared if each.metric == "customers"] == [1]


def test_beyond_a_group_limit_a_cent_is_told_too(world: World) -> None:
    window_ms, _ = overflow(world)
    world.api.rows["customers"][window_ms, (None,)]["spend"] -= CENT
    assert [(each.kind, each.measure) for each in of(world).differences] == [(Kind.TOTAL, "spend")]


def test_beyond_a_group_limit_no_group_may_have_more_than_was_sent_of_it(world: World) -> None:
    window_ms, _ = overflow(world)
    named = next(
        place for place in sorted(world.api.rows["customers"], key=str) if place[0] == window_ms and place[1] != (None,)
    )
    world.api.rows["customers"][named]["orders"] += 1
    world.api.rows["customers"][window_ms, (None,)]["orders"] -= 1
    [more] = of(world).differences
    assert (more.kind, more.measure) == (Kind.VALUE, "orders")
    assert more.expected.startswith("at most")


def test_beyond_a_group_limit_a_shared_stage_proves_too_little() -> None:
    world = make_world(kind=StageKind.RUNNING)
    overflow(world)
    verdict = of(world, letters=letters_of(world))
    assert verdict.outcome is Outcome.UNPROVED
    assert "group limit" in verdict.unproved[0]


# ---- dead letters of a stage that others use


def letters_of(world: World) -> list[Letter]:
    names = Names.of(world.recording.run)
    data = f'{{"source":"{names.source}"}}'.encode()
    return [
        Letter(reason, "why", "s", "shardId-0", str(number), None, "key", "2026-11-24T12:00:00Z", data)
        for reason, count in world.expected.dead_letters.items()
        for number in range(count)
    ]


def test_stored_dead_letters_are_counted_by_the_runs_marks() -> None:
    world = make_world(kind=StageKind.AWS)
    other = Letter(
        "invalid",
        "why",
        "s",
        "shardId-0",
        "1",
        None,
        "r10-00001",
        "2026-11-24T12:00:00Z",
        b'{"source":"/loadtest/r10"}',
    )
    by_key = replace(letters_of(world)[0], data=b"\xff", partition_key="r1-00001")
    letters = letters_of(world)[1:]
    assert of(world, letters=[*letters, other, by_key]).outcome is Outcome.EXACT
    [fewer, _] = of(world, letters=[*letters, other]).differences
    assert fewer.kind is Kind.DEAD_LETTERS


def test_over_the_api_alone_a_shared_stages_dead_letters_are_unproved() -> None:
    world = make_world(kind=StageKind.AWS)
    world.api.letters["invalid"] += 7
    verdict = of(world)
    assert (verdict.outcome, verdict.differences) == (Outcome.UNPROVED, [])
    world.api.letters["invalid"] = 1
    assert of(world).outcome is Outcome.DIFFERENT


def test_dead_letters_that_the_api_could_not_all_read_are_unproved(world: World) -> None:
    world.api.are_letters_complete = False
    assert of(world).outcome is Outcome.UNPROVED


# ---- what nobody knows


def unsure_world(counted: bool) -> World:
    """The last ten events of each worker are of unknown fate; the stage has counted them, or not."""
    sure = make_world()
    recording = sure.recording
    ledgers = []
    for ledger in recording.ledgers:
        [(first, last)] = ledger.accepted
        cut = 10 if last > 10 else 0
        ledgers.append(Ledger(ledger.worker, [(first, last - cut)], [(last - cut + 1, last)] if cut else []))
    recording.ledgers = ledgers
    expected = expect(recording.run, ledgers)
    if counted:
        return World(recording, expected, sure.api)
    return World(recording, expected, stage_of(expected))


@pytest.mark.parametrize("counted", [True, False])
def test_events_of_unknown_fate_make_bounds_and_prove_too_little(counted: bool) -> None:
    verdict = of(unsure_world(counted))
    assert (verdict.outcome, verdict.differences) == (Outcome.UNPROVED, [])
    assert verdict.unproved[0].startswith("of 20 events nobody knows")
    assert verdict.counted.duplicates is None  # accepted events less counted ones would be too few, or below nothing


@pytest.mark.parametrize("by", [Decimal(-20_000), Decimal(20_000)])
def test_what_lies_outside_the_bounds_is_different(by: Decimal) -> None:
    world = unsure_world(counted=True)
    place = max(world.api.rows["orders"])
    world.api.rows["orders"][place]["revenue"] += by
    assert Outcome.DIFFERENT is of(world).outcome


def test_records_put_again_may_be_dead_letters_twice_and_never_counts(world: World) -> None:
    recording = replace(world.recording, ledgers=[*world.recording.ledgers, Ledger(0, [], [], resent=1)])
    world.recording = recording
    assert of(world).outcome is Outcome.EXACT
    world.api.letters["invalid"] += 1
    assert of(world).outcome is Outcome.UNPROVED
    world.api.rows["customers"][first_of(world.api.rows["customers"])]["spend"] += CENT
    assert of(world).outcome is Outcome.DIFFERENT


def test_what_a_lost_worker_put_again_may_be_dead_letters_twice() -> None:
    world = unsure_world(counted=True)
    world.api.letters["invalid"] += 100
    assert of(world).outcome is Outcome.DIFFERENT
    world.recording = replace(
        world.recording, faults=[FaultDone("lost-worker", 0, "ProducerUser 1 was lost", happened=True)]
    )
    verdict = of(world)
    assert verdict.outcome is Outcome.UNPROVED
    assert "dead letters, invalid: " in "".join(verdict.unproved)


def test_a_fault_that_did_not_happen_is_unproved(world: World) -> None:
    world.recording = replace(
        world.recording, faults=[FaultDone("kill-worker", 0, "no worker was at work", happened=False)]
    )
    verdict = of(world)
    assert (verdict.outcome, verdict.unproved) == (
        Outcome.UNPROVED,
        ["the fault kill-worker did not happen: no worker was at work"],
    )


def test_answers_that_are_not_complete_are_unproved(world: World) -> None:
    world.api.complete_until_ms = world.recording.stopped_ms - 1
    assert "complete until" in of(world).unproved[0]
    world.api.complete_until_ms += 1
    assert of(world).outcome is Outcome.EXACT
    world.recording = replace(world.recording, complete_until_ms=None)
    assert of(world).unproved == ["the answers were not complete in time"]


# ---- in general


@st.composite
def small_worlds(draw) -> World:
    share = st.sampled_from([0, 0.05, 0.2])
    names = ("duplicates", "conflicts", "late", "too_late", "future", "poison", "hot")
    shares = Shares(**{name: draw(share) / 2 for name in names})
    events = Events(customers=draw(st.integers(1, 20)), currencies=draw(st.integers(1, 8)), shares=shares)
    arrivals = Arrivals(rate=draw(st.sampled_from([1, 7, 40])), seconds=draw(st.integers(1, 20)))
    profile = Profile("drawn", arrivals, events, seed=draw(st.integers(0, 99)))
    world = make_world(profile, probes=draw(st.integers(0, 2)), run_id=draw(st.sampled_from(["a", "b7", "zz"])))
    world.api.page_rows = draw(st.integers(1, 20))
    return world


@given(small_worlds(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_any_run_is_exact_until_one_number_of_it_is_changed(world: World, chance: random.Random) -> None:
    verdict = of(world)
    compared = sum(each.values for each in verdict.compared)
    assert verdict.outcome is (Outcome.EXACT if compared else Outcome.UNPROVED)
    if not compared:
        return
    metric, measure = chance.choice([("orders", "revenue"), ("customers", "orders"), ("order_value", "count")])
    place = chance.choice(sorted(world.api.rows[metric]))
    world.api.rows[metric][place][measure] += chance.choice([-1, 1])
    different = of(world).differences
    assert [(each.kind, each.metric, each.measure) for each in different] == [(Kind.VALUE, metric, measure)]
