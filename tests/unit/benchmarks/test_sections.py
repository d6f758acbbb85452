"""Sections that are quick: run in their quick form, and of their figures what cannot be otherwise."""

import pytest
from rich.progress import Progress

from benchmarks import suite
from benchmarks.growth_queries import ASKED, WRITERS
from benchmarks.page import Part

CHEAP = ("growth_queries", "growth_groups", "rollup_units", "write_units")
DAY_MINUTES = 1_440


def figures_of(name, **settings):
    section = suite.sections()[name]
    with Progress(disable=True) as progress:
        options = suite.options_of(section, settings, is_quick=True)
        figures = suite.run(section, options, progress).figures
    assert isinstance(section.describe(figures), Part)
    return figures


@pytest.fixture(scope="module")
def measured():
    return {name: figures_of(name) for name in CHEAP}


def test_a_larger_batch_writes_less_for_a_million_events(measured):
    small, large = measured["write_units"]
    assert small["events_per_batch"] < large["events_per_batch"]
    assert all(large["metrics"][name] < units for name, units in small["metrics"].items())
    assert small["metrics"]["all"] > small["metrics"]["both exact"] > small["metrics"]["orders"]


def test_rollups_write_less_than_ingest(measured):
    assert 0 < measured["rollup_units"]["rollup_writes"] < measured["rollup_units"]["ingest_writes"] / 10


def test_groups_overflow_beyond_a_thousand_unless_they_are_dealt_to_buckets(measured):
    few, many = measured["growth_groups"]
    assert [each["unasked"]["overflowed"] for each in (few, many)] == [0, many["groups"] - 1_000]
    assert [each["dealt"]["overflowed"] for each in (few, many)] == [0, 0]


def test_what_a_query_reads_is_what_is_stored_of_its_range_and_rollups_stand_for_what_is_settled(measured):
    rows = {row["range"]: row for row in measured["growth_queries"]}
    assert rows["1 hour"]["items_read"] == 60 * WRITERS
    assert rows["1 day"]["items_read"] == DAY_MINUTES * WRITERS
    assert rows["1 year"]["items_read"] < rows["1 day"]["items_read"] + 366 + 48
    assert list(rows) == [asked.name for asked in ASKED]
