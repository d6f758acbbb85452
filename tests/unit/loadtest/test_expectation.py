"""What must come of a run, held against what the real ingest makes of the same records."""

from collections import Counter
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from loadtest.expectation import KIND_NAMES, Ranked, _mean, expect
from loadtest.producer import Encoding
from loadtest.profile import Analysts, Arrivals, Burst, Events, Profile, Shares
from loadtest.recording import Ledger, Run
from loadtest.traffic import PROBERS_FROM, Traffic
from tests.builders import NOON_MS
from tests.unit.loadtest.counting import CATALOG, Stream, answers, count_all, letters, send, totals

SHARES = Shares(duplicates=0.1, conflicts=0.05, late=0.05, too_late=0.02, future=0.02, poison=0.08, hot=0.05)
EVERYTHING = Profile(
    "every kind in every encoding",
    Arrivals(rate=150, seconds=30, ramp_seconds=4, burst=Burst(500, 11)),
    events=Events(customers=60, currencies=3, encodings=dict.fromkeys(Encoding, 1.0), shares=SHARES),
    analysts=Analysts(probes=2),
    seed=5,  # among whose orders is a large one
)
RUN = Run("q7x", EVERYTHING, NOON_MS - 7_000, workers=2)  # a window ends seven seconds after it began
PLAIN = replace(RUN, profile=replace(EVERYTHING, events=replace(EVERYTHING.events, encodings={Encoding.PLAIN: 1.0})))


def hold(run, stream, ledgers, chance):
    """Assert that the stage tells what is expected, all of it and nothing else. Returns: the expectation.

    Where records came twice, only what counts is certain.
    """
    expected = expect(run, ledgers)
    world, reports = count_all(stream, run, chance)
    told = answers(world)
    for exact in ("orders", "customers"):
        assert told[exact] == expected.metrics[exact]
        assert totals(world, exact) == expected.totals[exact]
    for sketched in ("customers_distinct", "order_value"):
        assert told[sketched].keys() == expected.metrics[sketched].keys()
        assert totals(world, sketched).keys() == expected.totals[sketched].keys()
    for place, measures in expected.metrics["customers_distinct"].items():
        bound = CATALOG.metrics["customers_distinct"].measures["customers"].error.bound
        told_customers = told["customers_distinct"][place]["customers"]
        assert abs(told_customers - measures["customers"]) <= max(1, bound * measures["customers"])
    for place, measures in expected.metrics["order_value"].items():
        assert told["order_value"][place]["count"] == measures["count"]
        for name, rank in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99)):
            below, at_or_below = measures["amounts"].ranks(told["order_value"][place][name])
            assert below - 0.02 <= rank <= at_or_below + 0.02
    dead, duplicates = letters(world), sum(report.duplicates for report in reports)
    if any(ledger.resent for ledger in ledgers):
        assert dead > Counter(expected.dead_letters)
        assert duplicates > expected.duplicates
    else:
        assert (dead, duplicates) == (expected.dead_letters, expected.duplicates)
    assert sum(report.events for report in reports) == expected.counted
    assert sum(report.effects for report in reports) == expected.large
    return expected


@pytest.mark.parametrize("delay_ms", [0, 45 * 60_000], ids=["at once", "behind a backlog of 45 minutes"])
def test_the_real_ingest_counts_what_is_expected_of_every_kind_in_every_encoding(delay_ms):
    chance, stream = Random(1), Stream(4)
    expected = hold(RUN, stream, send(RUN, stream, chance, delay_ms=delay_ms), chance)
    assert expected.kinds.keys() == {*KIND_NAMES.values(), "probe"}
    assert min(expected.kinds.values()) >= 10
    assert expected.dead_letters["conflicting duplicate"] == expected.kinds["conflict"]
    assert expected.duplicates == expected.kinds["duplicate"]
    assert expected.large > 0


@pytest.mark.parametrize("seed", range(4))
def test_what_was_not_accepted_is_not_expected_and_its_repeats_count_in_its_place(seed):
    chance, stream = Random(seed), Stream(3)
    run = replace(RUN, profile=replace(RUN.profile, seed=seed))
    ledgers = send(run, stream, chance, times=lambda record: chance.randint(0, 1))
    expected = hold(run, stream, ledgers, chance)
    assert expected.duplicates < expected.kinds["duplicate"] + expected.kinds["conflict"]
    assert 0 < expected.dead_letters["conflicting duplicate"] < expected.kinds["conflict"]


def test_plain_records_are_expected_right_across_a_split_of_every_shard():
    chance, stream = Random(1), Stream(2)
    ledgers = send(PLAIN, stream, chance, split_at_ms=PLAIN.started_ms + 15_000)
    assert len(stream.shards) == 6
    hold(PLAIN, stream, ledgers, chance)


def test_late_and_too_late_follow_the_lateness_of_the_stage():
    chance, stream = Random(1), Stream(2)
    run = replace(RUN, lateness_ms=2 * 3_600_000)
    expected = hold(run, stream, send(run, stream, chance, delay_ms=15 * 60_000), chance)
    assert expected.kinds["late"] > 0
    assert expected.dead_letters["too late"] == expected.kinds["too late"]


def test_what_came_twice_is_counted_once():
    chance, stream = Random(1), Stream(2)
    hold(RUN, stream, send(RUN, stream, chance, times=lambda record: chance.choice((0, 1, 1, 2))), chance)


def test_ledgers_in_parts_and_in_any_order_are_expected_as_a_whole():
    whole = [Ledger(worker, [(0, 1_999)], []) for worker in range(2)]
    parts = [Ledger(1, [(900, 1_999)], []), Ledger(0, [(0, 1_999)], []), Ledger(1, [(0, 1_000)], [])]
    expected, in_parts = expect(RUN, whole), expect(RUN, parts)
    assert in_parts.metrics["orders"] == expected.metrics["orders"]
    assert in_parts.kinds == expected.kinds


def test_what_is_unsure_is_not_expected():
    assert expect(RUN, [Ledger(0, [], [(0, 1_999)])]).counted == 0


def test_progress_is_told_up_to_the_end():
    told = []
    totals = [Traffic(RUN, worker).total for worker in range(2)]
    ledgers = [Ledger(worker, [(0, total - 1)], []) for worker, total in enumerate(totals)]
    expect(RUN, [*ledgers, Ledger(PROBERS_FROM, [(0, 3), (7, 7)], [])], lambda *progress: told.append(progress))
    assert told == sorted(told)
    assert told[-1] == (sum(totals) + 5, sum(totals) + 5)


@pytest.mark.parametrize(
    ("ledger", "told"),
    [
        (Ledger(2, [(0, 0)], []), "the run has workers from 0 to 1, none that is 2"),
        (Ledger(0, [(0, 9_999_999)], []), r"worker 0 has \d+ events, none with number 9999999"),
    ],
    ids=["a worker", "an event"],
)
def test_a_ledger_of_what_the_run_does_not_have_is_refused(ledger, told):
    with pytest.raises(ValueError, match=told):
        expect(RUN, [ledger])


@given(st.integers(1, 10**12), st.integers(1, 10**6))
def test_a_mean_is_rounded_once_half_to_even(cents, orders):
    assert _mean(cents, orders) == Decimal(round(Fraction(cents * 10_000, orders))).scaleb(-6)


def test_a_value_stands_between_the_shares_below_it_and_at_it():
    amounts = Ranked([300, 100, 200, 200])
    assert amounts.ranks(Decimal(2)) == (0.25, 0.75)
    assert amounts.ranks(Decimal("2.5")) == (0.75, 0.75)
    assert amounts.ranks(Decimal("0.005")) == (0, 0)
    assert len(amounts) == 4
