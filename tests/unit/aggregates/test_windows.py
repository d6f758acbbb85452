import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aggregates.windows import (
    DURATION_MS_MAX,
    format_duration,
    format_instant,
    parse_duration,
    parse_instant,
    window_start,
)

#   … [11:59, 12:00) [12:00, 12:01) …      half-open: an event at 12:00:00.000 is in the second
NOON_MS = 1_795_521_600_000
instants = st.integers(parse_instant("0001-01-02"), parse_instant("9999-12-30"))


@pytest.mark.parametrize(
    ("instant_ms", "start"), [(NOON_MS - 1, "11:59"), (NOON_MS, "12:00"), (NOON_MS + 59_999, "12:00")]
)
def test_windows_are_half_open(instant_ms, start):
    assert format_instant(window_start(instant_ms, 60_000)) == f"2026-11-24T{start}:00Z"


def test_windows_before_the_epoch_are_aligned_alike():
    assert format_instant(window_start(parse_instant("1969-12-31T23:59:30Z"), 60_000)) == "1969-12-31T23:59:00Z"


@given(instants)
def test_an_instant_survives_its_text(instant_ms):
    assert parse_instant(format_instant(instant_ms)) == instant_ms


@given(instants, instants)
def test_the_text_of_whole_seconds_orders_as_time_does(left_ms, right_ms):
    left_ms, right_ms = left_ms // 1000 * 1000, right_ms // 1000 * 1000
    assert (format_instant(left_ms) < format_instant(right_ms)) == (left_ms < right_ms)


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-11-23T21:00:00", "2026-13-01", "0000-01-01", "1e9", "2026-11-23T21:00:00.0009Z", "٢٠٢٦-١١-٢٣"],
)
def test_what_is_no_instant_is_refused(text):
    with pytest.raises(ValueError, match="an instant is"):
        parse_instant(text)


def test_offsets_and_dates_are_instants():
    assert parse_instant("2026-11-24T13:00:00+01:00") == parse_instant("2026-11-24") + 12 * 3_600_000 == NOON_MS


@given(st.integers(1, DURATION_MS_MAX // 1000))
def test_a_duration_survives_its_text(seconds):
    assert parse_duration(format_duration(seconds * 1000)) == seconds * 1000


@pytest.mark.parametrize("text", ["", "0m", "5", "m", "1.5h", "-1m", "1w", "36501d", "1m ", "١m", "99999999999s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="a duration is"):
        parse_duration(text)
