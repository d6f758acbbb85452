"""Answers against a naive recomputation from the raw events, which shares no code with them."""

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.aggregates.windows import format_instant
from tests.unit.query.shop import DAY_MS, HOUR_MS, MINUTE_MS, NOW_MS, START_MS, Sale, Sold, Stage, sold

RANGE = {"start": format_instant(START_MS), "end": format_instant(START_MS + 2 * HOUR_MS), "limit": 10_000}
DIMENSIONS = ("shop", "clerk")

values = st.sampled_from(["a", "b", "", "é,:\\", "ab"])
prices = st.decimals(-100, 10_000, places=2) | st.decimals(-1, 1, places=6)
# Some sales lie outside of the range that is asked about.
times = st.integers(START_MS - HOUR_MS, START_MS + 3 * HOUR_MS) | st.integers(START_MS, START_MS + 5 * MINUTE_MS)
sales = st.lists(
    st.builds(Sold, times, st.builds(Sale, values, values, prices), st.sampled_from(["shard-0", "shard-1"])),
    max_size=40,
)
group_bys = st.sampled_from([(), ("shop",), ("clerk",), ("shop", "clerk"), ("clerk", "shop")])
wheres = st.dictionaries(st.sampled_from(DIMENSIONS), st.sets(values, min_size=1))
steps = st.sampled_from(["1m", "2m", "7m", "15m", "50m", "1h", "90m", "3h", "1d", "all"])


def escaped(value):
    return value.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:")


def asked(group_by=(), where=None, **others):
    parameters = dict(RANGE, **others)
    if group_by:
        parameters["group_by"] = ",".join(group_by)
    if where:
        parameters["where"] = [f"{name}:{','.join(map(escaped, allowed))}" for name, allowed in where.items()]
    return parameters


def naive_window(time_ms, step):
    start_ms, minutes = START_MS, {"m": 1, "h": 60, "d": 1440}
    if step == "all":
        return start_ms
    size_ms = int(step[:-1]) * minutes[step[-1]] * MINUTE_MS
    origin_ms = start_ms if DAY_MS % size_ms else START_MS - START_MS % DAY_MS
    return max(start_ms, origin_ms + (time_ms - origin_ms) // size_ms * size_ms)


def naive_answer(sales, step, group_by=(), where=None):
    """Every row, by counting the events themselves."""
    grouped = defaultdict(list)
    for each in sales:
        in_range = START_MS <= each.time_ms < START_MS + 2 * HOUR_MS
        if in_range and all(getattr(each.sale, name) in allowed for name, allowed in (where or {}).items()):
            group = tuple(getattr(each.sale, name) for name in group_by)
            grouped[naive_window(each.time_ms, step), group].append(Fraction(each.sale.price))
    return [
        {"window_start": format_instant(window), **dict(zip(group_by, group, strict=True))}
        | {"n": len(found), "total": sum(found), "low": min(found), "high": max(found)}
        for (window, group), found in sorted(grouped.items())
    ]


def without_mean(rows):
    return [{name: value for name, value in row.items() if name != "mean"} for row in rows]


@given(sales, steps, group_bys, wheres)
def test_an_answer_equals_counting_the_events_themselves(sales, step, group_by, where):
    rows = Stage(sales).rows(**asked(group_by, where, step=step))
    assert without_mean(rows) == naive_answer(sales, step, group_by, where)
    assert all(abs(Fraction(row["mean"]) - Fraction(row["total"]) / row["n"]) <= Fraction(5, 10**7) for row in rows)


@given(sales, group_bys, wheres)
def test_one_row_for_the_range_is_all_steps_together(sales, group_by, where):
    stage = Stage(sales)
    together = defaultdict(lambda: [0, Decimal(0)])
    for row in stage.rows(**asked(group_by, where, step="7m")):
        sums = together[tuple(row[name] for name in group_by)]
        sums[0] += row["n"]
        sums[1] += row["total"]
    whole = stage.rows(**asked(group_by, where, step="all"))
    assert {tuple(row[name] for name in group_by): [row["n"], row["total"]] for row in whole} == together
    assert all(row["window_start"] == RANGE["start"] for row in whole)


@settings(deadline=None)  # an example may ask for forty pages
@given(sales, steps, st.data())
def test_pages_of_any_size_are_the_whole_answer_cut(sales, step, data):
    group_by = data.draw(group_bys)
    columns = ["window_start", *group_by, "n", "total", "mean"]
    order_by = data.draw(st.lists(st.sampled_from(columns), unique=True).map(tuple))
    signs = data.draw(st.tuples(*[st.sampled_from(["", "-"])] * len(order_by)))
    request = asked(group_by, step=step)
    if order_by:
        request["order_by"] = ",".join(map("".join, zip(signs, order_by, strict=True)))
    stage = Stage(sales)
    whole = stage.ask(**request)
    assert whole["next"] is None

    paged, cursor = [], None
    while True:
        limit = data.draw(st.integers(1, 5))
        page = stage.ask(**request | {"limit": limit} | ({"cursor": cursor} if cursor else {}))
        assert page["rows"] == len(page["data"]) <= limit
        paged += page["data"]
        cursor = page["next"]
        if not cursor:
            break
    assert paged == whole["data"]


@given(sales, group_bys)
def test_descending_is_ascending_backwards(sales, group_by):
    columns = ["n", "window_start", *group_by]
    stage = Stage(sales)
    up = stage.rows(**asked(group_by, order_by=",".join(columns)))
    down = stage.rows(**asked(group_by, order_by=",".join(f"-{column}" for column in columns)))
    assert down == up[::-1]


def test_ordering_by_a_measure_and_a_limit_is_a_top_n():
    stage = Stage([sold(0, "a", price="5"), sold(1, "b", price="7"), sold(2, "c", price="6"), sold(70, "c", price="2")])
    top = stage.rows(step="all", group_by="shop", measures="total", order_by="-total", limit=2)
    assert [(row["shop"], row["total"]) for row in top] == [("c", 8), ("b", 7)]


def test_ties_are_broken_by_window_and_dimensions():
    stage = Stage([sold(60, "b"), sold(60, "a"), sold(0, "b")])
    rows = stage.rows(group_by="shop", measures="n", order_by="-n")
    assert [(row["window_start"][14:16], row["shop"]) for row in rows] == [("00", "b"), ("01", "a"), ("01", "b")]


def test_a_step_that_divides_a_day_is_aligned_to_midnight_and_clipped_to_the_range():
    #        20:00           20:15           20:30
    #          | a     b       |       c       |
    #               [ 20:05             20:25 )
    stage = Stage([sold(60), sold(6 * 60), sold(20 * 60)])
    rows = stage.rows(start="2026-11-23T20:05:00Z", end="2026-11-23T20:25:00Z", step="15m", measures="n")
    assert rows == [
        {"window_start": "2026-11-23T20:05:00Z", "n": 1},
        {"window_start": "2026-11-23T20:15:00Z", "n": 1},
    ]


def test_a_step_that_divides_no_day_is_aligned_to_the_start():
    stage = Stage([sold(0), sold(7 * 60)])
    rows = stage.rows(**RANGE, step="7m", measures="n")
    assert [row["window_start"] for row in rows] == ["2026-11-23T20:00:00Z", "2026-11-23T20:07:00Z"]


def test_the_groups_beyond_the_group_limit_are_one_row_of_nulls_that_comes_first():
    stage = Stage([sold(0, "a"), sold(1, "b"), sold(2, "c")])  # `small` tells one group apart
    assert [(row["shop"], row["n"]) for row in stage.rows("small", group_by="shop")] == [(None, 2), ("a", 1)]
    assert [row["n"] for row in stage.rows("small")] == [3]
    down = stage.ask("small", group_by="shop", order_by="-shop", limit=1)
    assert [row["shop"] for row in down["data"]] == ["a"]
    assert stage.rows("small", group_by="shop", order_by="-shop", cursor=down["next"])[0]["shop"] is None


def test_the_groups_beyond_the_group_limit_meet_no_condition():
    stage = Stage([sold(0, "a"), sold(1, "b")])
    assert stage.rows("small", where="shop:b") == []
    assert [row["n"] for row in stage.rows("small", where="shop:a,b")] == [1]


def test_a_metric_without_dimensions_has_totals():
    assert [row["n"] for row in Stage([sold(0), sold(1)]).rows("totals")] == [2]


def test_an_hour_up_to_the_end_of_the_minute_under_way_is_asked_for_by_default():
    answer = Stage().ask()
    assert (answer["start"], answer["end"], answer["step"]) == ("2026-11-23T20:00:00Z", "2026-11-23T21:00:00Z", "1m")
    daily = Stage().ask("daily")
    assert (daily["start"], daily["end"], daily["step"]) == ("2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z", "1d")


def test_later_pages_keep_to_the_first_pages_idea_of_now():
    stage = Stage([sold(0), sold(60), sold(120)])
    first = stage.ask(limit=1)
    stage.now_ms += 10 * MINUTE_MS
    second = stage.ask(limit=1, cursor=first["next"])
    assert (second["start"], second["end"]) == (first["start"], first["end"])
    assert second["data"][0]["window_start"] == "2026-11-23T20:01:00Z"


def test_many_years_of_minutes_are_one_row_if_that_is_asked():
    answer = Stage([sold(0)]).ask(start="1990-01-01", end="2027-01-01", step="all")
    assert [row["n"] for row in answer["data"]] == [1]


def test_an_answer_says_how_complete_it_is_and_what_it_cost():
    answer = Stage([sold(0), sold(60), sold(60, writer="shard-1")]).ask(measures="n,total", group_by="shop")
    assert answer["complete_until"] == format_instant(NOW_MS - 1500)
    assert answer["meta"] == [
        {"name": "window_start", "type": "timestamp"},
        {"name": "shop", "type": "string"},
        {"name": "n", "type": "integer"},
        {"name": "total", "type": "decimal"},
    ]
    assert answer["statistics"] == {"elapsed_ms": 0, "items_read": 3, "read_units": 1.5}
    assert list(answer) == [
        *("metric", "start", "end", "step", "complete_until", "meta", "data", "rows", "next", "statistics")
    ]
