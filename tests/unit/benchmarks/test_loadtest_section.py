"""What the load test's report says of what must be reached."""

from types import SimpleNamespace

import pytest

from benchmarks import loadtest
from benchmarks.suite import options_of
from loadtest.profile import Arrivals, Profile
from loadtest.recording import Second

SPREAD = {"count": 9, "never": 0, "p50": 400.0, "p95": 900.0, "p99": 1_500.0, "max": 1_900.0}
REPORT = {
    "profile_name": "steady",
    "command": "make loadtest PROFILE=steady",
    "machine": "a machine",
    "rates": {"offered_mean": 20_100.0, "accepted_mean": 18_050.0, "accepted_peak": 21_000, "accepted": 1_200_000},
    "sustained": 20_050.4,
    "freshness_ms": SPREAD,
    "queries": [{"name": "windows", "ms": SPREAD}],
    "verdict": {"outcome": "exact"},
}


def bar(**changed):
    (only,) = loadtest.describe(REPORT | changed).bars
    return only


def test_a_load_that_is_held_fresh_and_exact_is_what_is_asked_for():
    assert bar().is_reached
    assert bar().measured == "20,050 events/s, p99 1.50 s, exact"


@pytest.mark.parametrize(
    "changed",
    [
        {"sustained": 19_999.4},
        {"freshness_ms": SPREAD | {"p99": 2_001.0}},
        {"freshness_ms": SPREAD | {"p99": None}},
        {"verdict": {"outcome": "different"}},
        {"verdict": {"outcome": "unproved"}},
    ],
)
def test_too_few_too_stale_or_not_exact_is_not(changed):
    assert not bar(**changed).is_reached


def test_without_a_report_it_says_how_to_make_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="make loadtest PROFILE=steady"):
        loadtest.measure(options_of(loadtest, {}, is_quick=False), None)


def test_the_ramp_is_no_part_of_what_is_sustained(tmp_path, monkeypatch):
    profile = Profile("a load", Arrivals(rate=10, seconds=4, ramp_seconds=2))
    made = SimpleNamespace(profile=profile, seconds=[Second(at, accepted=at * 10) for at in range(6)])
    monkeypatch.setattr(loadtest.report, "read", lambda _path: made)
    monkeypatch.setattr(loadtest.msgspec, "to_builtins", lambda _report: {})
    assert loadtest.measure(options_of(loadtest, {"report": str(tmp_path)}, is_quick=False), None) == {"sustained": 25}
