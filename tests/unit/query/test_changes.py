"""Answers about changes: counts at zero and below, and means that are not there."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from chalicelib.aggregates.measures import Count, Mean, Sum
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.partial import decode_groups, encode_groups
from chalicelib.aggregates.windows import format_instant
from chalicelib.change import Change
from chalicelib.query.answer import page_of
from chalicelib.query.formats import FORMATS, Answer, Statistics
from chalicelib.query.request import parse_request
from tests.unit.query.shop import HOUR_MS, NOW_MS, START_MS, read_json


class Row(Struct, frozen=True):
    status: str
    amount: Decimal


class RowChanged(Change[Row], frozen=True):
    pass


METRIC = Metric(
    name="rows",
    event_type="row",
    by=("status",),
    measures={"n": Count(), "total": Sum("amount"), "mean": Mean("amount")},
)
Catalog({"row": RowChanged}, [METRIC])

# Of a window and a group: how many rows more, and how much.
states = st.tuples(st.integers(-3, 3), st.decimals(-9, 9, places=1))
statuses = st.sampled_from(["open", "paid", "sent", None])
groups = st.dictionaries(st.tuples(st.integers(0, 3).map(lambda n: START_MS + n * 60_000), st.tuples(statuses)), states)


def ask(groups, **parameters):
    given = {"start": format_instant(START_MS), "end": format_instant(START_MS + HOUR_MS), "group_by": "status"}
    given |= {name: str(value) for name, value in parameters.items()}
    request = parse_request(METRIC, {name: [value] for name, value in given.items()}, NOW_MS)
    return request, page_of(request, groups)


def written(groups, **parameters):
    request, page = ask(groups, **parameters)
    answer = Answer(request, page, None, Statistics(0, 0, 0.0))
    return [each.write(answer) for each in FORMATS]


NET = {
    (START_MS, ("open",)): (0, Decimal("2.5")),
    (START_MS, ("paid",)): (-2, Decimal("-5.00")),
    (START_MS, ("sent",)): (2, Decimal(0)),
}


def test_what_is_below_zero_is_told_and_a_mean_of_nothing_is_null():
    json_text, csv_text, ndjson_text = written(NET, measures="n,total,mean")
    rows = [
        {"status": "open", "n": 0, "total": Decimal("2.5"), "mean": None},
        {"status": "paid", "n": -2, "total": Decimal("-5.00"), "mean": Decimal("2.500000")},
        {"status": "sent", "n": 2, "total": 0, "mean": 0},
    ]
    rows = [{"window_start": format_instant(START_MS), **row} for row in rows]
    assert read_json(json_text)["data"] == rows
    assert list(map(read_json, ndjson_text.splitlines())) == rows
    assert csv_text.splitlines()[1:3] == [
        "2026-11-23T20:00:00Z,open,0,2.5,",
        "2026-11-23T20:00:00Z,paid,-2,-5.00,2.500000",
    ]


@pytest.mark.parametrize(("order_by", "means"), [("mean", [None, 0, 2.5]), ("-mean", [2.5, 0, None])])
def test_a_mean_of_nothing_is_ordered_ahead_of_every_mean(order_by, means):
    _, page = ask(NET, measures="mean", order_by=order_by)
    assert [row[-1] for row in page.rows] == means


@given(groups, st.permutations(["mean", "n", "status", "total"]), st.sets(st.sampled_from(["mean", "n", "status"])))
def test_pages_neither_overlap_nor_skip_whatever_is_null(groups, columns, descending):
    order_by = ",".join(f"-{name}" if name in descending else name for name in columns)
    _, whole = ask(groups, order_by=order_by)
    rows, cursor = [], {}
    for _ in range(len(groups) + 1):
        _, page = ask(groups, order_by=order_by, limit=1, **cursor)
        rows += page.rows
        if page.next is None:
            break
        cursor = {"cursor": page.next}
    assert rows == whole.rows


@given(groups)
def test_groups_below_zero_survive_their_encoding(groups):
    stored = {(status or "",): (n, amount) for (_, (status,)), (n, amount) in groups.items()}
    assert decode_groups(METRIC, encode_groups(stored)) == stored
