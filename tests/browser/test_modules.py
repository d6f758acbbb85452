"""The dashboard's pure modules, called in the browser that runs them."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Route

from chalicelib.dashboard import pages

ORIGIN = "http://modules.test"
Call = Callable[..., Any]
HOUR = 3_600_000
DAY = 24 * HOUR
NOON = 20_000 * DAY + 12 * HOUR  # of some day


@pytest.fixture(scope="module")
def call(browser: Browser) -> Iterator[Call]:
    """Call a function of a module: `call("time.duration", 5_000)`."""

    def serve(route: Route) -> None:
        name = urlsplit(route.request.url).path.removeprefix("/")
        answer = pages.answer_asset(pages.version(), name)
        route.fulfill(status=200, headers=dict(answer.headers) if name else {}, body=answer.body if name else "")

    page = browser.new_page()
    page.route(f"{ORIGIN}/**", serve)
    page.goto(f"{ORIGIN}/")

    def call(function: str, *arguments: Any) -> Any:
        module, name = function.split(".")
        script = "async ([module, name, given]) => (await import(`/${module}.js`))[name](...given)"
        return page.evaluate(script, [module, name, list(arguments)])

    yield call
    page.close()


# ---- numbers


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("0", "0"),
        ("-12.50", "-12.50"),
        ("1.5E+3", "1500"),
        ("-1.25e1", "-12.5"),
        ("1E-7", "0.0000001"),
        ("0E-6", "0.000000"),
        ("12345678901234567890.10", "12345678901234567890.10"),
    ],
)
def test_a_number_is_shown_by_its_own_digits(call: Call, written: str, shown: str) -> None:
    assert call("format.plain", written) == shown
    assert call("format.parseExact", f'{{"a": [{written}, null]}}') == {"a": [shown, None]}


def test_text_in_an_answer_stays_text(call: Call) -> None:
    texts = ["1.50", 'a "2.50" \\ 3', "", "é1"]
    assert call("format.parseExact", '["1.50", "a \\"2.50\\" \\\\ 3", "", "é1"]') == texts


@pytest.mark.parametrize(
    ("one", "other", "order"),
    [
        ("1.5", "1.50", 0),
        ("12345678901234567890.1", "12345678901234567890.2", -1),
        ("-0.5", "-0.05", -1),
        ("10", "9.9", 1),
    ],
)
def test_numbers_are_compared_to_the_last_digit(call: Call, one: str, other: str, order: int) -> None:
    assert call("format.compareNumbers", one, other) == order
    assert call("format.compareNumbers", other, one) == -order


@pytest.mark.parametrize(
    ("number", "grouped"), [("1234567.12345", "1,234,567.12345"), ("-1234", "-1,234"), ("999", "999"), ("-100", "-100")]
)
def test_digits_are_in_groups_of_three(call: Call, number: str, grouped: str) -> None:
    assert call("format.grouped", number) == grouped


def test_an_approximate_measure_tells_its_error(call: Call) -> None:
    relative = {"kind": "relative", "bound": 0.0163, "confidence": 0.95}
    assert call("format.errorText", relative) == "±1.6 % (95 %)"
    assert call("format.errorText", {**relative, "kind": "rank"}) == "±1.6 % of rank (95 %)"
    assert call("format.errorText", None) == ""


def test_rows_are_sorted_with_null_at_the_end(call: Call) -> None:
    rows = [{"m": "9.5", "d": "b"}, {"m": None, "d": "a"}, {"m": "10", "d": None}]
    assert [row["m"] for row in call("table.sortRows", rows, "m", ["m"])] == ["9.5", "10", None]
    assert [row["m"] for row in call("table.sortRows", rows, "-m", ["m"])] == ["10", "9.5", None]
    assert [row["d"] for row in call("table.sortRows", rows, "-d", ["m"])] == ["b", "a", None]


# ---- time


@pytest.mark.parametrize(
    ("range_ms", "window", "step"),
    [
        (HOUR, "1m", "1m"),
        (6 * HOUR, "1m", "5m"),
        (DAY, "1m", "5m"),
        (7 * DAY, "1m", "1h"),
        (30 * DAY, "1m", "6h"),
        (900 * DAY, "1m", "1d"),
        (HOUR // 4, "10s", "10s"),
        (DAY, "2h", "2h"),
        (30 * DAY, "8h", "8h"),
    ],
)
def test_the_automatic_step_makes_no_more_windows_than_a_chart_shows(
    call: Call, range_ms: int, window: str, step: str
) -> None:
    assert call("time.automaticStep", range_ms, window) == step


def test_a_range_that_ends_now_ends_with_the_window_under_way(call: Call) -> None:
    view = {"range": "1h", "step": "auto", "start": None, "end": None}
    now = NOON + 90_000
    assert call("time.rangeOf", view, "1m", now) == {
        "startMs": NOON + 120_000 - HOUR,
        "endMs": NOON + 120_000,
        "step": "1m",
        "stepMs": 60_000,
    }
    coarse = call("time.rangeOf", {**view, "range": "15m", "step": "1h"}, "1m", now)
    assert (coarse["startMs"], coarse["endMs"]) == (NOON, NOON + HOUR), "one window, and now is in it"


def test_windows_are_the_apis(call: Call) -> None:
    """Aligned to midnight where the step divides a day, clipped to the range; else counted from the range's start."""
    quarter = HOUR // 4
    aligned = {"startMs": NOON + 60_000, "endMs": NOON + 2 * quarter, "stepMs": quarter}
    assert call("time.windowStarts", aligned) == [NOON + 60_000, NOON + quarter]
    odd = {"startMs": NOON + 60_000, "endMs": NOON + 60_000 + HOUR, "stepMs": 7 * 60_000}
    assert call("time.windowStarts", odd)[:2] == [NOON + 60_000, NOON + 8 * 60_000]


def test_a_zoom_takes_whole_windows(call: Call) -> None:
    assert call("time.outward", NOON + 61_000.5, NOON + 119_000, "1m") == {
        "startMs": NOON + 60_000,
        "endMs": NOON + 120_000,
    }
    assert call("time.outward", NOON, NOON, "5m") == {"startMs": NOON, "endMs": NOON + 300_000}


@pytest.mark.parametrize(
    ("ms", "words"),
    [
        (0, "0 s"),
        (119_000, "119 s"),
        (125_000, "2 min"),
        (HOUR * 2 + 60_000, "2 h 1 min"),
        (3 * HOUR, "3 h"),
        (3 * DAY, "3 d"),
    ],
)
def test_a_length_of_time_is_a_word_or_two(call: Call, ms: int, words: str) -> None:
    assert call("time.duration", ms) == words


# ---- the view in the URL


VIEW = {
    "metric": "orders",
    "range": "6h",
    "start": None,
    "end": None,
    "step": "5m",
    "groupBy": ["currency"],
    "where": {"order_type": ["a,b", "c:d\\e", "", "line\nbreak"], "currency": ["EUR"]},
    "measure": "revenue",
    "sort": "-revenue",
    "refresh": 5,
}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"groupBy": []},
        {"start": "2026-11-25T10:00:00Z", "end": "2026-11-25T11:00:00Z", "range": "1h"},
        {"metric": None, "groupBy": None, "measure": None, "where": {}, "sort": "-window_start", "refresh": 15},
    ],
)
def test_a_view_is_read_back_from_its_url(call: Call, changed: dict[str, Any]) -> None:
    view = VIEW | changed
    assert call("state.readView", call("state.writeView", view)) == view


def test_what_a_url_should_not_say_is_what_is_usual(call: Call) -> None:
    view = call("state.readView", "?range=2y&refresh=1&start=2026-11-25&step=")
    assert (view["range"], view["refresh"], view["start"], view["step"]) == ("1h", 15, None, "auto")


# ---- what the answers mean


def series(
    call: Call, measure: dict[str, str], rows: list[dict[str, Any]], complete_ms: int | None
) -> list[str | None]:
    gathered = {
        "rows": rows,
        "charted": [{}],
        "view": {"groupBy": []},
        "measure": measure,
        "range": {"startMs": NOON, "endMs": NOON + 4 * 60_000, "stepMs": 60_000},
        "completeMs": complete_ms,
        "metric": {"retention": "1d"},
        "nowMs": NOON + DAY + 60_000,
    }
    texts: list[str | None] = call("picture.seriesOf", gathered)["series"][0]["texts"]
    return texts


def test_a_window_without_events_is_zero_where_that_is_known(call: Call) -> None:
    # minute    0          1       2            3
    #           expired    kept    has a row    not complete
    rows = [{"window_start": "2024-10-04T12:02:00Z", "m": "7"}]
    complete_ms = NOON + 3 * 60_000
    assert series(call, {"name": "m", "type": "integer", "kind": "count"}, rows, complete_ms) == [None, "0", "7", None]
    assert series(call, {"name": "m", "type": "decimal", "kind": "sum"}, rows, complete_ms) == [None, "0", "7", None]
    assert series(call, {"name": "m", "type": "decimal", "kind": "mean"}, rows, complete_ms) == [None, None, "7", None]
    assert series(call, {"name": "m", "type": "integer", "kind": "count"}, rows, None) == [None, None, "7", None]


def test_the_largest_groups_get_a_series_and_those_beyond_the_limit_are_named(call: Call) -> None:
    groups = [{"d": None}, *({"d": str(number)} for number in range(9))]
    assert [row["d"] for row in call("picture.charted", groups, True, ["d"])] == list("01234567")
    assert call("picture.charted", groups[:8], True, ["d"]) == groups[:8]
    assert call("picture.charted", groups[:8], False, ["d"]) == groups[1:8]
    assert call("picture.labelOf", groups[0], ["d"]) == "other groups"
    assert call("picture.narrowed", {"e": ["x"], "d": ["y"]}, groups[1:3], ["d"]) == {"e": ["x"], "d": ["0", "1"]}


def test_a_shell_is_given_the_address_as_one_word(call: Call) -> None:
    command = call("export.curlOf", "v1/metrics/it's/windows?where=a:b", True)
    assert command == (
        'curl -sS --fail-with-body -H "Authorization: Bearer $HIGHWATER_TOKEN" '
        f"'{ORIGIN}/v1/metrics/it'\\''s/windows?where=a:b'"
    )
