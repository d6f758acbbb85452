from decimal import Decimal
from functools import reduce
from itertools import pairwise
from math import ceil

import datasketches
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from chalicelib.aggregates import sketches
from chalicelib.aggregates.measures import Count, Distinct, Quantile
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.partial import absorb, decode_partial, encode_groups, encode_partial, fold, merge_groups
from chalicelib.errors import CorruptSketchError

LG_K, K = 13, 64


class Visit(Struct):
    page: str
    visitor: str
    bytes: int


MEASURES = {
    "n": Count(),
    "visitors": Distinct("visitor", lg_k=LG_K),
    "least": Quantile("bytes", 0, k=K),
    "median": Quantile("bytes", 0.5, k=K),
    "most": Quantile("bytes", 1, k=K),
}
VISITS = Metric(name="visits", event_type="visit", by=("page",), measures=MEASURES, group_limit=18)
Catalog({"visit": Visit}, [VISITS])

visits = st.lists(st.builds(Visit, st.sampled_from("ab"), st.text("abc", max_size=2), st.integers(0, 999)), max_size=60)


def groups_of(rows):
    columns = {name: [getattr(row, name) for row in rows] for name in Visit.__struct_fields__}
    return next(iter(fold(VISITS, "writer", [0] * len(rows), columns).values()), {})


def numbers_in(state):
    return datasketches.kll_doubles_sketch.deserialize(state[sketches.CHECKSUM_BYTES :]).n


@given(visits, st.lists(st.integers(0, 60)), st.randoms())
def test_any_cut_of_a_batch_and_any_order_of_merges_holds_the_same_events(rows, cuts, chance):
    bounds = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    deltas = [groups_of(rows[start:end]) for start, end in pairwise(bounds)]
    absorbed = reduce(lambda base, delta: absorb(VISITS, base, delta)[0], deltas, {})
    chance.shuffle(deltas)
    merged = merge_groups(VISITS, [delta.items() for delta in deltas])
    rolled_up = merge_groups(VISITS, [merge_groups(VISITS, [delta.items()]).items() for delta in deltas])
    whole = groups_of(rows)
    for groups in (absorbed, merged, rolled_up):
        assert groups.keys() == whole.keys()
        for group, states in groups.items():
            mine = [row for row in rows if row.page == group[0]]
            got = VISITS.finish(states)
            assert got["n"] == numbers_in(states[2]) == len(mine)
            # so few are told apart exactly, and so few numbers are all kept
            assert got["visitors"] == len({row.visitor for row in mine}) == VISITS.finish(whole[group])["visitors"]
            assert got["least"] == min(row.bytes for row in mine)
            assert got["most"] == max(row.bytes for row in mine)
            assert got["median"] == sorted(row.bytes for row in mine)[ceil(len(mine) / 2) - 1]


@given(visits)
def test_absorbing_leaves_its_base_untouched(rows):
    base = groups_of(rows)
    before = encode_groups(base)
    absorb(VISITS, base, groups_of(rows[:7]))
    assert encode_groups(base) == before


@given(visits)
def test_a_partial_of_sketches_survives_its_encoding(rows):
    groups = groups_of(rows)
    assert decode_partial(VISITS, encode_partial(VISITS, groups)) == groups


def test_partials_of_sketches_are_stored_in_half_the_room():
    rows = [Visit("a", f"visitor-{number}", number * number % 99_991) for number in range(20_000)]
    groups = groups_of(rows)
    assert len(encode_partial(VISITS, groups)) < len(encode_groups(groups)) / 2


@pytest.mark.parametrize("lg_k", [13, 14])
@pytest.mark.parametrize("different", [5, 1_000, 2_000, 60_000])
def test_an_estimate_depends_on_the_values_and_not_on_how_they_came(lg_k, different):
    values = [f"value-{number}" for number in range(different)]
    shares = [sketches.distinct_of(values[start::7], lg_k) for start in range(7)]
    whole = sketches.estimate_distinct(sketches.distinct_of(values, lg_k))
    one_by_one = reduce(lambda a, b: sketches.merge_distinct([a, b], lg_k), shares)
    assert (
        whole
        == sketches.estimate_distinct(one_by_one)
        == sketches.estimate_distinct(sketches.merge_distinct(reversed(shares), lg_k))
    )
    assert abs(whole - different) <= sketches.distinct_error(lg_k) * different


@pytest.mark.parametrize(
    "values",
    [["", "a"], ["", "\x00", "\x00\x00"], ["ä", "a\u0308"], ["1", "01"], [0, -1, 2**63, 2**64, -(10**30)], [255, -255]],
)
def test_values_that_differ_are_told_apart(values):
    assert sketches.estimate_distinct(sketches.distinct_of(values * 2, 14)) == len(values)


@given(st.lists(st.decimals(-(10**18), 10**18, allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_a_quantile_is_the_double_next_to_a_value_shortest_written(values):
    state = sketches.quantiles_of(values, 256)
    expected = sorted(map(float, values))[ceil(len(values) / 2) - 1]
    assert sketches.quantile(state, 0.5) == Decimal(repr(expected))


@pytest.mark.parametrize(("rank", "expected"), [(0, 1), (0.25, 1), (0.26, 2), (0.5, 2), (0.75, 3), (0.99, 4), (1, 4)])
def test_a_quantile_is_the_least_value_that_so_many_are_at_or_below(rank, expected):
    assert sketches.quantile(sketches.quantiles_of([4, 2, 3, 1], 256), rank) == expected


def test_there_is_no_quantile_of_nothing():
    assert sketches.quantile(sketches.quantiles_of([], 256), 0.5) is None


@pytest.mark.parametrize(
    ("state", "read"),
    [
        (sketches.distinct_of(["a", "b"], 14), sketches.estimate_distinct),
        (sketches.distinct_of(range(9_999), 14), lambda state: sketches.merge_distinct([state], 14)),
        (sketches.quantiles_of(range(9_999), 256), lambda state: sketches.quantile(state, 0.5)),
        (sketches.quantiles_of([1], 256), lambda state: sketches.merge_quantiles([state], 256)),
    ],
    ids=["few values", "many values", "many numbers", "a number"],  # a sketch of numbers is never twice the same
)
@given(st.data())
def test_what_is_not_as_it_was_written_is_never_read(state, read, data):
    place = data.draw(st.integers(0, len(state) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != state[place]))
    for corrupt in (state[:place], state[:place] + bytes([other]) + state[place + 1 :], state + b"\x00"):
        with pytest.raises(CorruptSketchError, match="not as it was written"):
            read(corrupt)


@pytest.mark.parametrize("lg_k", [13, 14, 17])
def test_the_room_of_an_estimate_is_what_the_library_says(lg_k):
    likely = datasketches.hll_sketch.get_max_updatable_serialization_bytes(lg_k, datasketches.HLL_8)
    assert sketches.distinct_bytes_max(lg_k) == likely + sketches.CHECKSUM_BYTES + sketches.MSGPACK_BYTES
    for different in (1, 9, 700, 1_536, 1_537, 3_000, 200_000):
        state = sketches.distinct_of(range(different), lg_k)
        assert len(encode_groups({(): (state,)})) < sketches.distinct_bytes_max(lg_k) + 8


@pytest.mark.parametrize("k", [8, 256, 1_000])
def test_the_room_of_quantiles_is_bounded_up_to_more_numbers_than_there_are(k):
    state = sketches.quantiles_of(range(100_000), k)
    largest = len(state)
    while numbers_in(state) < 2**61:
        state = sketches.merge_quantiles([state, state], k)
        largest = max(largest, len(state))
    assert sketches.quantiles_bytes_max(k) / 2 < largest < sketches.quantiles_bytes_max(k)


@pytest.mark.parametrize("lg_k", [13, 14, 18, 21])
def test_the_error_of_an_estimate_is_what_the_library_says(lg_k):
    for upper_bound in (True, False):
        said = abs(datasketches.hll_sketch.get_rel_err(upper_bound, True, lg_k, 2))
        assert sketches.distinct_error(lg_k) == pytest.approx(said, rel=1e-4)


@pytest.mark.parametrize("k", [8, 200, 256, 4_096])
def test_the_error_of_a_rank_is_what_the_library_says(k):
    said = datasketches.kll_doubles_sketch.get_normalized_rank_error(k, False)
    assert sketches.rank_error(k) == pytest.approx(said, rel=1e-9)


# A million skewed events: a day's orders of two shards in batches of 10 000, asked for as a whole.
#
#   shard 0  | b | b | b | …    each batch folded, absorbed into the partials of its minutes, stored and read back
#   shard 1  | b | b | b | …    hours made of minutes; the answer, of some hours and of the minutes after them

EVENTS, BATCH, MINUTES = 1_000_000, 10_000, 20
DAY = Metric(
    name="day",
    event_type="visit",
    measures={
        "visitors": Distinct("visitor"),
        **{f"p{rank * 100:.0f}": Quantile("bytes", rank) for rank in (0.5, 0.95, 0.99)},
    },
    group_limit=1,
)


def test_a_million_skewed_events_are_answered_within_the_bounds():
    chance = np.random.default_rng(20261124)
    visitors = chance.zipf(1.2, EVENTS) % 400_000  # a few come all the time, and most but once
    sizes = np.round(chance.lognormal(3, 1.5, EVENTS) * 100).astype(int)
    names = [f"visitor-{number}" for number in range(400_000)]
    partials = {}
    for number, start in enumerate(range(0, EVENTS, BATCH)):
        columns = {
            "visitor": [names[visitor] for visitor in visitors[start : start + BATCH].tolist()],
            "bytes": sizes[start : start + BATCH].tolist(),
        }
        minutes = [number % MINUTES, (number + 1) % MINUTES]
        for key, delta in fold(DAY, f"shard-{number % 2}", minutes * (BATCH // 2), columns).items():
            base = decode_partial(DAY, partials[key]) if key in partials else {}
            partials[key] = encode_partial(DAY, absorb(DAY, base, delta)[0])

    def merged(minutes):
        shares = [decode_partial(DAY, stored) for key, stored in partials.items() if key.window_start_ms in minutes]
        return merge_groups(DAY, [share.items() for share in shares])

    hours = [merged(range(8)), merged(range(8, 16))]
    answer = merge_groups(DAY, [*(hour.items() for hour in hours), merged(range(16, MINUTES)).items()])
    got = DAY.finish(answer[()])

    different = len(np.unique(visitors))
    assert different > 50_000
    assert abs(got["visitors"] - different) <= 0.02 * different  # no chance in it: the same names, the same estimate
    assert numbers_in(answer[()][1]) == EVENTS
    ordered = np.sort(sizes)
    for rank in (0.5, 0.95, 0.99):
        value = float(got[f"p{rank * 100:.0f}"])
        below, at = (np.searchsorted(ordered, value, side) / EVENTS for side in ("left", "right"))
        # Of such a sketch the rank's standard deviation is 0.2 %: beyond seven of them nothing is met by chance.
        assert below - 0.015 <= rank <= at + 0.015
