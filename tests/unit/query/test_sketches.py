"""Answers that sketches give, as they are asked for; how near they are, tests/unit/aggregates/test_sketches.py says."""

import subprocess
import sys
from decimal import Decimal

import pytest

from chalicelib.access.grant import EVERYTHING
from chalicelib.aggregates.measures import Count, Distinct, Quantile
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.query import answer as answers
from tests.unit.query.shop import Sale, Stage, read_json, sold

MEASURES = {
    "n": Count(),
    "clerks": Distinct("clerk"),
    "median": Quantile("price", 0.5),
    "p99": Quantile("price", 0.99),
}
VISITS = Metric(name="nearly", event_type="sale", by=("shop",), measures=MEASURES, group_limit=9, buckets=2, spread=2)
CATALOG = Catalog({"sale": Sale}, [VISITS])
SALES = [
    sold(second, shop, f"clerk-{second % clerks}", str(second), writer=f"shard-{second % 3}")
    for shop, clerks in (("a", 7), ("b", 30), ("c", 3))
    for second in range(1, 201)  # so few numbers that all are kept
]


def stage(sales=SALES):
    return Stage(sales, catalog=CATALOG)


def ask(**parameters):
    return stage().ask("nearly", start="2026-11-23T20:00:00Z", **parameters)


def test_different_values_and_quantiles_are_merged_over_writers_groups_and_minutes():
    assert ask(step="all", group_by="shop")["data"] == [
        {"window_start": "2026-11-23T20:00:00Z", "shop": shop, "n": 200, "clerks": clerks, "median": 100, "p99": 198}
        for shop, clerks in (("a", 7), ("b", 30), ("c", 3))
    ]
    (total,) = ask(step="all")["data"]
    assert (total["n"], total["clerks"]) == (600, 30)
    assert abs(total["median"] - 100) <= 6  # three per cent of 200: of 600 numbers not all are kept
    assert [row["n"] for row in ask()["data"]] == [177, 180, 180, 63]


def bound(kind, bound, confidence):
    return {"kind": kind, "bound": Decimal(bound), "confidence": Decimal(confidence)}


def test_meta_tells_how_far_off_a_column_may_be_and_exact_columns_tell_nothing():
    assert ask(group_by="shop")["meta"] == [
        {"name": "window_start", "type": "timestamp"},
        {"name": "shop", "type": "string"},
        {"name": "n", "type": "integer"},
        {"name": "clerks", "type": "integer", "error": bound("relative", "0.0163", "0.95")},
        {"name": "median", "type": "decimal", "error": bound("rank", "0.0105", "0.99")},
        {"name": "p99", "type": "decimal", "error": bound("rank", "0.0105", "0.99")},
    ]


def test_the_description_of_a_metric_tells_it_too():
    described = read_json(stage().query.describe_metric(EVERYTHING, "nearly").body)
    kinds = ["count", "distinct", "quantile", "quantile"]
    assert described["measures"] == [
        {**each, "kind": kind} for each, kind in zip(ask()["meta"][1:], kinds, strict=True)
    ]


@pytest.mark.parametrize("order_by", ["clerks", "-clerks", "median,-clerks", "-p99"])
def test_rows_are_ordered_and_paged_by_what_sketches_answer(order_by):
    whole = ask(group_by="shop", order_by=order_by)["data"]
    column = order_by.removeprefix("-").partition(",")[0]
    values = [row[column] for row in whole]
    assert values == sorted(values, reverse=order_by.startswith("-"))
    rows, cursor = [], {}
    while cursor is not None:
        page = ask(group_by="shop", order_by=order_by, limit=4, **cursor)
        rows += page["data"]
        cursor = {"cursor": page["next"]} if page["next"] else None
    assert rows == whole


def test_csv_and_ndjson_have_the_same_numbers():
    asked = {"start": "2026-11-23T20:00:00Z", "step": "all", "where": "shop:b"}
    csv = stage().answer("nearly", **asked, format="csv").body
    assert csv == "window_start,n,clerks,median,p99\r\n2026-11-23T20:00:00Z,200,30,100.0,198.0\r\n"
    ndjson = stage().answer("nearly", **asked, format="ndjson").body
    assert read_json(ndjson)["clerks"] == 30


def test_quantiles_are_written_as_short_as_they_read_back():
    prices = ["0.1", "0.30000000000000001", "12345678901234567.89", "-0.000001"]
    stage_of_prices = stage([sold(0, shop, price=price) for shop, price in zip("abcd", prices, strict=True)])
    rows = stage_of_prices.rows("nearly", step="all", group_by="shop", measures="median")
    assert [row["median"] for row in rows] == [Decimal(repr(float(price))) for price in prices]


def test_an_answer_holds_fewer_groups_where_each_may_be_large(monkeypatch):
    monkeypatch.setattr(answers, "STATES_BYTES_MAX", 50_000)
    assert "over 3 rows" in stage().problem("nearly", group_by="shop", measures="clerks")["detail"]
    assert len(ask(group_by="shop", measures="n")["data"]) == 12


COUNTS_EXACTLY = """
import sys
import app
from chalicelib.access.grant import EVERYTHING
from chalicelib.wiring.stage import CATALOG
from tests.builders import json_line, lambda_event, order
from tests.unit.consumers.ingest_world import World, plenty
from tests.unit.query.shop import Stage

World().container()(lambda_event([json_line(order(1))]), plenty)
stage = Stage(catalog=CATALOG)
stage.query.list_metrics(EVERYTHING)
for metric in ("orders", "customers", "order_value"):
    assert stage.answer(metric).status == 200
print(*{"numpy", "datasketches"} & sys.modules.keys())
"""


def test_whoever_asks_for_exact_measures_does_not_wait_for_the_library_of_sketches():
    ran = subprocess.run([sys.executable, "-c", COUNTS_EXACTLY], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, ""), ran.stderr
