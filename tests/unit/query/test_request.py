import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.aggregates.windows import parse_instant
from chalicelib.query.cursor import encode_cursor
from chalicelib.query.errors import ParameterError
from chalicelib.query.parameters import WINDOWS_PARAMETERS
from chalicelib.query.request import Order, parse_request
from tests.unit.query.shop import NOW_MS, SALES, Stage, read_json, sold

NAMES = [parameter.name for parameter in WINDOWS_PARAMETERS]


def parse(metric=SALES, **parameters):
    given = {name: value if isinstance(value, list) else [value] for name, value in parameters.items()}
    return parse_request(metric, given, NOW_MS)


def fault(**parameters):
    with pytest.raises(ParameterError) as caught:
        parse(**parameters)
    return caught.value.parameter, str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "parameter", "hint"),
    [
        ({"from": "2026-11-23"}, "from", "start, end, step"),
        ({"limit": ["1", "2"]}, "limit", "2 times"),
        ({"start": "yesterday"}, "start", "RFC 3339"),
        ({"start": ""}, "start", "RFC 3339"),
        ({"start": "2026-11-23T21:00:00"}, "start", "offset"),
        ({"end": "2026-11-23T21:00:00 01:00"}, "end", "%2B"),
        ({"start": "2026-11-23T20:00:30Z"}, "start", "2026-11-23T20:00:00Z and 2026-11-23T20:01:00Z"),
        ({"end": "2026-11-23T20:00:59.999Z"}, "end", "2026-11-23T20:00:00Z and 2026-11-23T20:01:00Z"),
        ({"start": "2026-11-23T22:00:00Z"}, "start", "empty"),
        ({"start": "2026-11-23", "end": "2026-11-23"}, "start", "empty"),
        ({"end": "0001-01-01T00:00:00+14:00"}, "end", "between"),
        ({"end": "9999-12-31T23:59:59-14:00"}, "end", "between"),
        ({"end": "0000-01-01"}, "end", "RFC 3339"),
        ({"align": "inward"}, "align", "exact, outward"),
        ({"align": ""}, "align", "exact, outward"),
        ({"end": "9999-12-30T00:00:30Z", "step": "1d", "align": "outward"}, "end", "between"),
        ({"step": "90s"}, "step", "multiple of 1m"),
        ({"step": "25h"}, "step", "up to 1d"),
        ({"step": "0m"}, "step", "above 0"),
        ({"step": "5 minutes"}, "step", "`all`"),
        ({"group_by": "shop,country"}, "group_by", "'country'; there are: shop, clerk"),
        ({"group_by": "shop,shop"}, "group_by", "twice"),
        ({"group_by": ""}, "group_by", "shop, clerk"),
        ({"measures": "revenue"}, "measures", "n, total, low, high, mean"),
        ({"order_by": "shop"}, "order_by", "window_start, n"),
        ({"order_by": "-total", "measures": "n"}, "order_by", "window_start, n"),
        ({"order_by": "n,-n"}, "order_by", "twice"),
        ({"order_by": "--n"}, "order_by", "'-n'"),
        ({"limit": "0"}, "limit", "1 to 10000"),
        ({"limit": "10001"}, "limit", "1 to 10000"),
        ({"limit": "-1"}, "limit", "1 to 10000"),
        ({"limit": "٣"}, "limit", "1 to 10000"),
        ({"limit": "1e3"}, "limit", "1 to 10000"),
        ({"where": "country:NL"}, "where", "shop, clerk"),
        ({"where": "shop"}, "where", "dimension:value"),
        ({"where": "shop:a,clerk:b"}, "where", r"\:"),
        ({"where": "shop:a\\b"}, "where", r"\\"),
        ({"where": "shop:a\\"}, "where", r"\\"),
        ({"where": ["shop:a", "shop:b"]}, "where", "twice"),
        ({"where": "shop:\ud800"}, "where", "Unicode"),
        ({"cursor": "now"}, "cursor", "next"),
        ({"cursor": ""}, "cursor", "next"),
    ],
)
def test_what_cannot_be_honoured_is_named_with_what_would_do(parameters, parameter, hint):
    named, detail = fault(**parameters)
    assert named == parameter
    assert hint in detail


def test_values_in_conditions_may_hold_any_character():
    request = parse(where=[r"shop:a\,b,c\:d,e\\f,", "clerk:"])
    assert request.where == {"shop": {"a,b", "c:d", "e\\f", ""}, "clerk": {""}}


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_any_values_survive_their_escapes(values):
    escaped = [value.replace("\\", "\\\\").replace(",", "\\,").replace(":", "\\:") for value in values]
    assert parse(where=f"shop:{','.join(escaped)}").where == {"shop": frozenset(values)}


def test_an_order_always_ends_in_what_tells_rows_apart():
    request = parse(group_by="clerk,shop", order_by="-n,shop")
    assert request.order_by == (Order("n", is_descending=True), Order("shop"), Order("window_start"), Order("clerk"))


def test_an_offset_is_honoured():
    assert parse(end="2026-11-23T22:00:00+01:00") == parse(end="2026-11-23T21:00:00Z")


@pytest.mark.parametrize(
    ("step", "start", "end"),
    [
        ("1m", "2026-11-23T20:03:00Z", "2026-11-23T20:58:00Z"),
        ("5m", "2026-11-23T20:00:00Z", "2026-11-23T21:00:00Z"),
        ("1d", "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
        ("7m", "2026-11-23T20:03:00Z", "2026-11-23T20:58:00Z"),  # no day has a whole number of these
        ("all", "2026-11-23T20:03:00Z", "2026-11-23T20:58:00Z"),
    ],
)
def test_a_range_is_widened_to_whole_windows_where_that_is_asked(step, start, end):
    asked = {"start": "2026-11-23T20:03:07.123Z", "end": "2026-11-23T20:57:00.001Z", "step": step}
    with pytest.raises(ParameterError, match="within a window"):
        parse(**asked)
    request = parse(**asked, align="outward")
    assert (request.start_ms, request.end_ms) == (parse_instant(start), parse_instant(end))
    assert parse(**asked | {"start": start, "end": end}, align="outward") == parse(step=step, start=start, end=end)


def test_a_widened_range_holds_what_the_range_without_a_start_held():
    exact, widened = parse(end="2026-11-23T20:31:00Z"), parse(end="2026-11-23T20:31:00Z", step="1d", align="outward")
    assert widened.start_ms <= exact.start_ms < exact.end_ms <= widened.end_ms
    assert widened.start_ms == parse_instant("2026-11-23")


def test_pages_of_a_widened_range_go_on():
    stage = Stage([sold(second, shop) for second, shop in ((0, "a"), (0, "b"), (0, "c"))])
    asked = {"start": "2026-11-23T19:59:59Z", "group_by": "shop", "align": "outward", "limit": 1}
    first = stage.ask(**asked)
    assert [row["shop"] for row in stage.rows(**asked, cursor=first["next"])] == ["b"]


@pytest.mark.parametrize(
    "other",
    [
        {"group_by": "shop"},
        {"where": "shop:a"},
        {"measures": "n"},
        {"step": "2m"},
        {"order_by": "n"},
        {"end": "2026-11-23T22:00:00Z"},
        {"metric": "totals"},
    ],
)
def test_a_cursor_of_another_request_is_refused(other):
    stage = Stage([sold(0), sold(60)])
    cursor = stage.ask(limit=1)["next"]
    assert stage.problem(**other, cursor=cursor)["parameter"] == "cursor"
    assert stage.ask(limit=7, cursor=cursor)["rows"] == 1


@pytest.mark.parametrize("values", [(), ("NaN", 0), ("sNaN", 0), ("Infinity", 0), ("1", "0"), ("1", None), (1.5, 0)])
def test_a_forged_cursor_is_refused(values):
    asked = parse(order_by="total")
    forged = encode_cursor(asked.digest, asked.start_ms, asked.end_ms, values)
    assert fault(order_by="total", cursor=forged)[0] == "cursor"


@pytest.mark.parametrize("start_ms", [-(10**18), 10**18, NOW_MS])
def test_a_forged_range_is_refused(start_ms):
    assert fault(cursor=encode_cursor("", start_ms, start_ms, ()))[0] in {"start", "end"}


def test_no_parameter_is_declared_twice_and_the_declarations_can_be_written_as_json():
    assert len(set(NAMES)) == len(NAMES)
    msgspec.json.encode(WINDOWS_PARAMETERS)


weird = st.sampled_from(
    [
        *("", " ", "NaN", "-NaN", "Infinity", "1e999", "0", "-0", "٣", "\x00", "\ud800", "\udfff\ud800", "🏪" * 999),
        *("9" * 5000, "0001-01-01", "9999-12-31", "0000-01-01", "0001-01-01T00:00:00+23:59", "-", ",", ":", "\\"),
        *("9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59.999999999Z", "2026-W48-1", "20261123", "1d", "all", "1m"),
        *("36500d", "999999999d", "shop", "shop:", "shop:a", "shop:\\", "-total", "window_start", "json", "csv", "xml"),
        *("AA", "gqFhAaFiAg", "kA", "lKEAAAA", "____", "lKEwAACQ", "null", "2026-11-23", "2026-11-24T00:00:00Z"),
    ]
)
texts = weird | st.text() | st.text(st.characters(), max_size=3) | st.dates().map(str) | st.datetimes().map(str)
instants = st.datetimes().map(lambda time: time.replace(second=0, microsecond=0).isoformat() + "Z")
milliseconds = st.integers(-(2**63), 2**63) | st.sampled_from([NOW_MS - NOW_MS % 60_000, 0])
positions = st.lists(st.none() | st.integers(-(2**63), 2**63) | st.text(), max_size=4).map(tuple)
cursors = st.builds(encode_cursor, st.text(), milliseconds, milliseconds, positions)
parameters = st.dictionaries(
    st.sampled_from(NAMES) | texts, st.lists(texts | instants | cursors, max_size=2), max_size=4
)


@given(parameters)
@example({"start": ["0001-01-03"], "end": ["9999-12-30"]})
@example({"start": ["0001-01-03"], "end": ["9999-12-30"], "step": ["all"]})
@example({"\ud800": ["1"]})
def test_whatever_is_asked_is_answered_or_refused_and_never_fails(parameters):
    answer = Stage([sold(0)]).answer_to(parameters)
    assert answer.status in {200, 400, 406}
    answer.body.encode()
    if answer.status != 200:
        problem = read_json(answer.body)
        assert problem["detail"]
        assert problem["parameter"] in {*NAMES, *map(_printable, parameters)}


@given(positions, st.sampled_from(["total", "-total", "shop,-clerk", "-window_start,n,-shop"]))
def test_a_cursor_with_any_position_is_honoured_or_refused(position, order_by):
    given = {"group_by": ["shop,clerk"], "order_by": [order_by]}
    asked = parse(**given)
    given["cursor"] = [encode_cursor(asked.digest, asked.start_ms, asked.end_ms, position)]
    assert Stage([sold(0)]).answer_to(given).status in {200, 400}


def _printable(name):
    return name.encode(errors="replace").decode()
