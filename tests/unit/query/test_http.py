import csv
import io
from decimal import Decimal
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.access.grant import EVERYTHING
from chalicelib.aggregates.windows import format_instant
from chalicelib.errors import DefinitionChangedError, InvariantError, TransientError
from chalicelib.query import answer as answers
from chalicelib.query import endpoints, http
from chalicelib.query.errors import NotAcceptableError
from chalicelib.reading.ports import ShardProgress
from chalicelib.records.shard import Shard
from tests.unit.query.shop import NOW_MS, START_MS, Sale, Sold, Stage, Stream, read_json, sold

any_text = st.text(st.characters(exclude_categories=["Cs"]))


def test_decimals_are_numbers_that_lose_no_digit():
    price = "0.1000000000000000000000000001"
    answer = Stage([sold(0, price="12345678901234567890.10"), sold(0, price=price)]).answer(measures="n,total")
    assert '"n":2,"total":12345678901234567890.2000000000000000000000000001}' in answer.body


@given(st.lists(st.tuples(any_text, st.decimals(-100, 100, places=2)), max_size=9))
def test_csv_read_back_is_the_json_answer(sales):
    stage = Stage([Sold(START_MS, Sale(shop, "x", price)) for shop, price in sales])
    csv_text = stage.answer(group_by="shop", format="csv").body
    rows = list(csv.DictReader(io.StringIO(csv_text, newline="")))
    assert [[row["shop"], Decimal(row["total"])] for row in rows] == [
        [row["shop"], row["total"]] for row in stage.rows(group_by="shop")
    ]


def test_csv_has_a_header_line_and_an_empty_field_for_null():
    text = Stage([sold(0, "a"), sold(1, "b,c")]).answer("small", group_by="shop", measures="n", format="csv").body
    assert text == "window_start,shop,n\r\n2026-11-23T20:00:00Z,,1\r\n2026-11-23T20:00:00Z,a,1\r\n"


def test_ndjson_is_a_row_a_line():
    stage = Stage([sold(0, "line\nbreak"), sold(60, "b")])
    lines = stage.answer(group_by="shop", format="ndjson").body.splitlines()
    assert [read_json(line) for line in lines] == stage.rows(group_by="shop")


@pytest.mark.parametrize("form", ["json", "csv", "ndjson"])
def test_headers_tell_completeness_and_the_next_page_in_every_format(form):
    stage = Stage([sold(0, "é"), sold(0, "b")])
    request = {"group_by": "shop", "where": ["shop:é,b", "clerk:x"], "limit": 1, "format": form}
    headers = stage.answer(**request).headers
    assert headers["Highwater-Complete-Until"] == format_instant(NOW_MS - 1500)
    target = headers["Link"].removeprefix("<?").removesuffix('>; rel="next"')
    assert target.isascii()
    following = stage.answer(**parse_qs(target))
    assert following.status == 200
    assert "é" in following.body
    assert "Link" not in following.headers


def test_completeness_that_is_not_known_is_null_and_no_header():
    answer = Stage(stream=Stream([Shard("shard-0", is_open=True)])).answer()
    assert read_json(answer.body)["complete_until"] is None
    assert "Highwater-Complete-Until" not in answer.headers


@pytest.mark.parametrize(
    ("name", "accept", "chosen"),
    [
        (None, None, "json"),
        (None, "", "json"),
        (None, "*/*", "json"),
        (None, "text/*", "csv"),
        (None, "text/csv", "csv"),
        (None, "Application/X-NDJSON", "ndjson"),
        (None, "text/html, application/xhtml+xml, */*;q=0.8", "json"),
        (None, "application/json;q=0.5, text/csv", "csv"),
        (None, "application/json;q=0, */*", "csv"),
        (None, "text/csv;q=nonsense", "csv"),
        ("csv", "application/json", "csv"),
        ("ndjson", "image/png", "ndjson"),
    ],
)
def test_the_format_goes_before_the_accept_header(name, accept, chosen):
    assert http.negotiate(name, accept).name == chosen


@pytest.mark.parametrize(("name", "accept"), [("xml", None), ("", None), (None, "image/png"), (None, "*/*;q=0")])
def test_a_format_that_is_not_there_is_not_acceptable(name, accept):
    with pytest.raises(NotAcceptableError, match="text/csv"):
        http.negotiate(name, accept)


@given(st.none() | any_text, st.none() | any_text)
def test_any_accept_header_is_answered_or_not_acceptable(name, accept):
    assert Stage().answer(accept=accept, **({"format": name} if name is not None else {})).status in {200, 406}


def test_a_problem_names_the_parameter_at_fault():
    answer = Stage().answer(step="90s")
    assert answer.status == 400
    assert read_json(answer.body) == {
        "type": "urn:highwater:problem:invalid-parameter",
        "title": "A parameter cannot be honoured",
        "status": 400,
        "detail": "step: it is no multiple of 1m, the metric's base window, up to 1d; or `all`",
        "parameter": "step",
    }


def test_an_unknown_metric_is_not_found():
    problem = Stage().problem("revenue\n")
    assert problem["status"] == 404
    assert "there are: sales, small, totals, daily" in problem["detail"]
    assert http.respond(lambda: Stage().query.describe_metric(EVERYTHING, "revenue")).status == 404


def test_reads_that_are_not_done_in_time_are_a_reason_to_come_again():
    stage = Stage()
    stage.shares.error = TransientError("out of time")
    answer = stage.answer()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")


def test_reads_get_the_time_that_is_left():
    stage = Stage()
    for remaining_ms, given_ms in [(60_000, endpoints.READ_MS_MAX), (10_000, 7_000), (3_001, 1)]:
        stage.answer(remaining_ms=remaining_ms)
        assert stage.shares.timeouts_ms[-1] == given_ms


def test_a_redefined_metric_is_a_conflict():
    stage = Stage()
    stage.shares.error = DefinitionChangedError("metric 'sales' is stored under another definition; rename it")
    assert stage.problem()["status"] == 409


def test_what_is_our_fault_is_raised():
    stage = Stage()
    stage.shares.error = InvariantError("not so")
    with pytest.raises(InvariantError):
        stage.answer()


def test_an_answer_of_more_groups_than_memory_is_kept_for_is_refused(monkeypatch):
    monkeypatch.setattr(answers, "GROUPS_MAX", 2)
    stage = Stage([sold(0, "a"), sold(0, "b"), sold(0, "c")])
    assert stage.problem(group_by="shop")["parameter"] == "group_by"
    assert stage.ask()["rows"] == 1


def test_a_page_beyond_what_lambda_can_carry_is_refused(monkeypatch):
    monkeypatch.setattr(endpoints, "BODY_BYTES_MAX", 100)
    assert Stage([sold(0, "a" * 100)]).problem(group_by="shop")["parameter"] == "limit"


def test_metrics_are_listed_with_all_that_can_be_asked_of_them():
    listed = read_json(Stage().query.list_metrics(EVERYTHING).body)["metrics"]
    assert [metric["name"] for metric in listed] == ["sales", "small", "totals", "daily"]
    assert listed[0] == read_json(Stage().query.describe_metric(EVERYTHING, "sales").body)
    assert listed[0] == {
        "name": "sales",
        "event_type": "sale",
        "dimensions": ["shop", "clerk"],
        "measures": [
            {"name": "n", "type": "integer", "kind": "count"},
            {"name": "total", "type": "decimal", "kind": "sum"},
            {"name": "low", "type": "decimal", "kind": "min"},
            {"name": "high", "type": "decimal", "kind": "max"},
            {"name": "mean", "type": "decimal", "kind": "mean"},
        ],
        "window": "1m",
        "lateness": "1d",
        "rollups": ["1h", "1d"],
        "retention": "400d",
        "published": True,
        "buckets": 4,
        "group_limit": 1000,
    }


def test_the_stream_tells_each_shards_checkpoint_and_how_far_behind_it_is():
    shards = [Shard("a", is_open=False), Shard("b", is_open=True, parents=("a",))]
    stage = Stage(stream=Stream(shards, [ShardProgress("a", "00042", NOW_MS - 7_000)]))
    assert read_json(stage.query.stream(lambda: 60_000).body) == {
        "stream": "events",
        "complete_until": format_instant(NOW_MS - 7_000),
        "shards": [
            {
                "shard_id": "a",
                "open": False,
                "checkpoint": "00042",
                "committed_until": format_instant(NOW_MS - 7_000),
                "behind_ms": 7_000,
            },
            {"shard_id": "b", "open": True, "checkpoint": None, "committed_until": None, "behind_ms": None},
        ],
    }


def test_health_reads_nothing():
    stage = Stage(stream=None)
    assert read_json(stage.query.health().body) == {"status": "ok", "stage": "test"}
