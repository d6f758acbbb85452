from collections import Counter
from decimal import Decimal
from fractions import Fraction
from functools import reduce
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from chalicelib.aggregates.measures import Count, Max, Mean, Min, Sum
from chalicelib.aggregates.metric import GROUP_KEY_BYTES_MAX, OVERFLOW, Catalog, Metric
from chalicelib.aggregates.partial import (
    absorb,
    decode_groups,
    encode_groups,
    encode_partial,
    fold,
    merge_groups,
    merge_states,
)


class Sale(Struct):
    shop: str
    clerk: str
    price: Decimal
    pieces: int


MEASURES = {"n": Count(), "total": Sum("price"), "low": Min("price"), "high": Max("pieces"), "mean": Mean("price")}
SALES = Metric(name="sales", event_type="sale", by=("shop", "clerk"), measures=MEASURES)
SMALL = Metric(name="small", event_type="sale", by=("shop",), measures=MEASURES, group_limit=2)
TOTAL = Metric(name="total", event_type="sale", measures=MEASURES)
COUNTED = Metric(name="counted", event_type="sale", measures={"n": Count()})
Catalog({"sale": Sale}, [SALES, SMALL, TOTAL, COUNTED])

prices = st.decimals(0, 10_000, places=2) | st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-10)
sales = st.lists(
    st.builds(Sale, st.sampled_from("abcd"), st.sampled_from("xy"), prices, st.integers(0, 9)), max_size=30
)


def groups_of(metric, rows):
    columns = {name: [getattr(row, name) for row in rows] for name in Sale.__struct_fields__}
    deltas = fold(metric, "writer", [0] * len(rows), columns)
    return next(iter(deltas.values()), {})


def absorb_all(metric, deltas):
    return reduce(lambda base, delta: absorb(metric, base, delta)[0], deltas, {})


@given(sales)
def test_folding_equals_counting_by_hand(rows):
    groups = groups_of(SALES, rows)
    assert {key: states[0] for key, states in groups.items()} == Counter((row.shop, row.clerk) for row in rows)
    for key, states in groups.items():
        mine = [row for row in rows if (row.shop, row.clerk) == key]
        got = SALES.finish(states)
        total = sum(map(Fraction, (row.price for row in mine)))
        assert Fraction(got["total"]) == total
        assert got["low"] == min(row.price for row in mine)
        assert got["high"] == max(row.pieces for row in mine)
        assert abs(Fraction(got["mean"]) - total / len(mine)) <= Fraction("0.0000005")


@given(sales, st.lists(st.integers(0, 30)))
def test_any_cut_of_a_batch_gives_the_same_groups_even_beyond_the_group_limit(rows, cuts):
    bounds = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    parts = [rows[start:end] for start, end in pairwise(bounds)]
    for metric in (SALES, SMALL, TOTAL):
        assert absorb_all(metric, [groups_of(metric, part) for part in parts]) == absorb_all(
            metric, [groups_of(metric, rows)]
        )


@given(st.lists(st.tuples(st.sampled_from([0, 60_000, 120_000]), sales), max_size=4), st.randoms(use_true_random=False))
def test_windows_that_are_mixed_are_folded_as_each_alone(windows, chance):
    rows = [(start_ms, row) for start_ms, some in windows for row in some]
    chance.shuffle(rows)
    for metric in (SALES, SMALL, TOTAL, COUNTED):
        columns = {name: [getattr(row, name) for _, row in rows] for name in Sale.__struct_fields__}
        alone = {start_ms: [row for at_ms, row in rows if at_ms == start_ms] for start_ms, _ in rows}
        deltas = fold(metric, "writer", [start_ms for start_ms, _ in rows], columns)
        assert {key.window_start_ms: list(groups.items()) for key, groups in deltas.items()} == {
            start_ms: list(groups_of(metric, some).items()) for start_ms, some in alone.items()
        }


@given(sales, sales)
def test_absorbing_is_merging_group_by_group(first, second):
    base, delta = groups_of(SALES, first), groups_of(SALES, second)
    before = (dict(base), dict(delta))
    expected = dict(base)
    for group, states in delta.items():
        shares = [expected[group], states] if group in expected else [states]
        expected[group] = merge_states(SALES.accumulators, shares)
    assert absorb(SALES, base, delta) == (expected, 0)
    assert list(absorb(SALES, base, delta)[0]) == list(expected)
    assert (base, delta) == before


@given(sales, sales, sales)
def test_merging_is_associative_and_commutative(first, second, third):
    a, b, c = (groups_of(SALES, rows).items() for rows in (first, second, third))
    left = merge_groups(SALES, [merge_groups(SALES, [a, b]).items(), c])
    assert left == merge_groups(SALES, [a, merge_groups(SALES, [b, c]).items()]) == merge_groups(SALES, [c, b, a])


@given(sales)
def test_totals_stay_exact_beyond_the_group_limit(rows):
    (groups, overflowed) = absorb(SMALL, {}, groups_of(SMALL, rows))
    assert len(groups.keys() - {OVERFLOW}) <= 2
    assert (overflowed > 0) == (OVERFLOW in groups) == (len({row.shop for row in rows}) > 2)
    assert sum(states[0] for states in groups.values()) == len(rows)
    assert sum(Fraction(states[1]) for states in groups.values()) == sum(Fraction(row.price) for row in rows)


def test_groups_whose_names_would_not_fit_the_item_overflow_too():
    rows = [Sale(str(number) * 40_000, "x", Decimal(1), 1) for number in range(9)]
    groups, overflowed = absorb(SALES, {}, groups_of(SALES, rows))
    assert overflowed > 0
    assert sum(states[0] for states in groups.values()) == 9
    assert len(encode_groups(groups)) < GROUP_KEY_BYTES_MAX + 2_000


@given(sales)
def test_groups_survive_their_encoding_exactly(rows):
    groups, _ = absorb(SMALL, {}, groups_of(SMALL, rows))
    assert decode_groups(SMALL, encode_groups(groups)) == groups
    assert encode_partial(SMALL, groups) == encode_groups(groups)  # so it was stored before there were sketches


def test_sums_of_decimals_are_exact_where_floats_are_not():
    rows = [Sale("a", "x", Decimal("0.1"), 1)] * 3 + [Sale("a", "x", Decimal("1e18"), 1)]
    assert str(groups_of(SALES, rows)["a", "x"][1]) == "1000000000000000000.3"


def test_the_largest_partial_fits_an_item():
    widest = Decimal("9" * 19 + "." + "9" * 18 + "0")
    limit = 200
    full = Metric(name="full", event_type="sale", by=("shop",), measures=MEASURES, group_limit=limit)
    rows = [Sale("s" * 700 + str(n), "x", widest, 9) for n in range(limit + 50) for _ in range(2)]
    groups, _ = absorb(full, {}, groups_of(full, rows))
    assert len(groups) == limit + 1
    assert len(encode_groups(groups)) < 390_000
