"""An honest stage's estimates are never called wrong, and those of a stage that is off are."""

import random

import pytest

from chalicelib.aggregates import sketches
from chalicelib.aggregates.measures import Distinct, ErrorBound, Quantile
from loadtest.expectation import Ranked
from loadtest.proof import bounds

RANK = Quantile("amount", 0.5).error
RELATIVE = Distinct("user_id").error


def test_a_value_that_stands_several_times_has_all_their_ranks() -> None:
    amounts = Ranked([100, 200, 200, 200, 300])
    assert bounds.rank_error(0.5, amounts.ranks(2)) == 0
    assert bounds.rank_error(0.9, amounts.ranks(2)) == pytest.approx(0.1)
    assert bounds.rank_error(0.1, amounts.ranks(2)) == pytest.approx(0.1)


def test_a_value_that_nobody_sent_lies_between_ranks() -> None:
    assert bounds.rank_error(0.5, Ranked([100, 300]).ranks(2)) == 0
    assert bounds.rank_error(0.9, Ranked([100, 300]).ranks(2)) == pytest.approx(0.4)


@pytest.mark.parametrize(("estimate", "truth", "error"), [(100, 100, 0), (98, 100, 0.02), (0, 0, 0), (1, 0, 1)])
def test_relative_errors(estimate: int, truth: int, error: float) -> None:
    assert bounds.relative_error(estimate, truth) == pytest.approx(error)


def test_how_many_may_lie_outside_is_more_than_their_share_and_less_than_all() -> None:
    for compared in (10, 100, 1_000, 100_000):
        allowed = bounds.outside_max(compared, RANK)
        assert compared * 0.01 < allowed < compared
    assert bounds.outside_max(100_000, RANK) < 1_200
    assert bounds.outside_max(0, RANK) == 0
    assert bounds.outside_max(100, RELATIVE) is None


def test_as_many_as_are_allowed_are_hardly_ever_outside_by_chance() -> None:
    chance = random.Random(5)
    bound = ErrorBound("rank", 0.1, 0.9)
    allowed = bounds.outside_max(200, bound)
    worst = max(sum(chance.random() < 0.1 for _ in range(200)) for _ in range(2_000))
    assert worst <= allowed < 60


def test_real_sketches_lie_within() -> None:
    chance = random.Random(7)
    off = []
    for _ in range(30):
        cents = [chance.randrange(1_000, 500_000) for _ in range(3_000)]
        parts = [
            sketches.quantiles_of([each / 100 for each in cents[at : at + 300]], 256) for at in range(0, 3_000, 300)
        ]
        state = sketches.merge_quantiles(parts, 256)
        amounts = Ranked(cents)
        off += [bounds.rank_error(rank, amounts.ranks(sketches.quantile(state, rank))) for rank in (0.5, 0.95, 0.99)]
    assert not any(bounds.is_too_far(error, RANK) for error in off)
    assert sum(error > RANK.bound for error in off) <= bounds.outside_max(len(off), RANK)
