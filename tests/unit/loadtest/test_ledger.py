"""Ledgers: what was accepted, as ranges, however it came in. Held against sets."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.ledger import OpenLedger, count, merge, to_ranges
from loadtest.recording import Ledger

numbers = st.lists(st.integers(0, 60), max_size=40)
steps = st.lists(st.tuples(st.sampled_from(["send", "accept", "refuse"]), numbers), max_size=12)
ledgers = st.builds(
    lambda worker, accepted, unsure: Ledger(worker, to_ranges(accepted), to_ranges(set(unsure) - set(accepted))),
    st.integers(0, 2),
    numbers,
    numbers,
)


def members(ranges):
    return {number for first, last in ranges for number in range(first, last + 1)}


def rises_apart(ranges):
    return all(first <= last for first, last in ranges) and all(
        last + 1 < first for (_, last), (first, _) in pairwise(ranges)
    )


@given(numbers)
def test_ranges_hold_the_numbers_and_no_others(some):
    ranges = to_ranges(some)
    assert members(ranges) == set(some)
    assert rises_apart(ranges)
    assert count(ranges) == len(set(some))


@given(steps)
def test_a_ledger_tells_what_was_accepted_and_what_of_the_rest_is_unsure(done):
    ledger = OpenLedger(7)
    accepted, sent = set(), set()
    for what, some in done:
        getattr(ledger, what)(some)
        if what == "send":
            sent |= set(some)
        elif what == "refuse":
            sent -= set(some)
        else:
            accepted |= set(some)
    closed = ledger.close()
    assert (closed.worker, members(closed.accepted), members(closed.unsure)) == (7, accepted, sent - accepted)
    assert rises_apart(closed.accepted)
    assert rises_apart(closed.unsure)


def test_a_ledger_grows_with_its_numbers_and_adds_up_what_was_sent_again():
    ledger = OpenLedger(0)
    ledger.accept(range(5))
    ledger.accept([1_000_000])
    ledger.resend(2)
    ledger.resend(3)
    assert ledger.close() == Ledger(0, [(0, 4), (1_000_000, 1_000_000)], [], 5)


@given(st.lists(ledgers, max_size=6))
def test_merged_a_worker_has_one_ledger_and_what_any_accepted_is_accepted(several):
    merged = merge(several)
    assert [ledger.worker for ledger in merged] == sorted({ledger.worker for ledger in several})
    for ledger in merged:
        mine = [each for each in several if each.worker == ledger.worker]
        accepted = set().union(*(members(each.accepted) for each in mine))
        unsure = set().union(*(members(each.unsure) for each in mine))
        assert (members(ledger.accepted), members(ledger.unsure)) == (accepted, unsure - accepted)
        assert rises_apart(ledger.accepted)
        assert rises_apart(ledger.unsure)
    assert merge(merged) == merged


@pytest.mark.parametrize(("several", "resent"), [([1, 2], 3), ([0, 0], 0)])
def test_merging_adds_up_what_was_sent_again(several, resent):
    assert merge([Ledger(0, [], [], each) for each in several])[0].resent == resent
