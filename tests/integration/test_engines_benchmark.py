"""The benchmark of engines, whole and quick: against an emulated DynamoDB, and what has an environment of its own."""

import msgspec
import pytest

from benchmarks import engines
from benchmarks.__main__ import main
from benchmarks.engines import QUICK, Measured
from benchmarks.engines.apart import ENVIRONMENTS, INSTALLED
from benchmarks.result import read


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    assert main(["engines", "--quick", "--results", str(folder), "--trace"]) == 0
    return read("engines", folder)


@pytest.fixture(scope="module")
def measured(result):
    return {each.name: each for each in msgspec.convert(result.figures["engines"], list[Measured])}


def test_all_engines_that_count_the_same_events_come_to_the_same_totals(measured):
    whole = {each.totals for each in measured.values() if each.events == QUICK.events}
    assert len(whole) == 1
    assert sum(each.events == QUICK.events for each in measured.values()) >= 11


def test_each_pass_is_kept_beside_its_yardstick(measured):
    for each in measured.values():
        (one,) = each.rounds
        assert one.in_y == one.us / one.y_us == each.in_y


def test_what_stores_has_its_requests_counted(measured):
    idempotency, ours = measured[engines.IDEMPOTENCY], measured[engines.STORED]
    assert idempotency.a_million == {"requests": 2_000_000, "write_units": 2_000_000}
    assert 0 < ours.a_million["write_units"] < idempotency.a_million["write_units"] / 50
    assert 0 < ours.a_million["requests"] < idempotency.a_million["requests"] / 100


def test_an_engine_is_measured_or_it_is_told_why_not(result, measured):
    for name, title in (("bytewax", "Bytewax, fold_final"), ("flink", engines.FLINK + ", batch")):
        if (ENVIRONMENTS / name / INSTALLED).exists():
            assert title in measured
        else:
            assert result.figures["unavailable"][name] == "its environment has not been made"


def test_the_page_is_made_of_the_result(result):
    part = engines.describe(result.figures)
    assert len(part.tables[0].rows) == len(result.figures["engines"])
    assert len(part.headlines) == 2
