"""The figures of a small recording, each reckoned by hand; and a page that needs nothing else and shows all of it."""

import io
import re
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from loadtest import report
from loadtest.profile import Objectives
from loadtest.proof import prove
from loadtest.proof.verdict import Objective
from loadtest.recording import FaultDone, Lag, Probe, Query, Recording, Second, Usage
from loadtest.report.report import Spread, rates_of, spread
from ops.cost.prices import Price
from tests.unit.loadtest.proof.world import STARTED_MS, World, copy_of, make_world

PRICES = {
    "dynamodb.write_units": Price(Decimal("0.625"), 1_000_000),
    "sns.publishes": Price(Decimal("0.50"), 1_000_000),
}
NASTY = "</style><script>alert('&')</script>"


@pytest.fixture(scope="module")
def pristine() -> World:
    world = make_world(probes=0)
    recording = world.recording
    recording.seconds = [
        Second(0, offered=100, accepted=60, throttled=3, records=6, bytes=600, requests=2, waiting=40),
        Second(1, offered=100, accepted=120, records=12, bytes=1200, requests=1, waiting=20),
        Second(2, offered=0, accepted=20, records=2, bytes=200, requests=1),
    ]
    recording.probes = [Probe(STARTED_MS + at, STARTED_MS + at + took) for at, took in ((0, 100), (1, 300), (2, 200))]
    recording.probes.append(Probe(STARTED_MS + 3, None))
    recording.queries = [
        Query("top ten", STARTED_MS, 10.0, 200),
        Query("top ten", STARTED_MS, 30.0, 200),
        Query("top ten", STARTED_MS, 1.0, 503),
        Query("a day", STARTED_MS, 5.5, 304),
    ]
    recording.lags = [
        Lag(STARTED_MS + at, f"shardId-{shard:012d}", behind)
        for at, shard, behind in ((0, 0, 5), (1, 0, 9), (0, 1, None), (1, 1, 7))
    ]
    recording.faults = [FaultDone("replay", STARTED_MS + 1500, NASTY, happened=True)]
    recording.usage = Usage(
        {"dynamodb.write_units": 400.0, "sns.publishes": 2.0, "kinesis.shard_dreams": 1.0},
        {"dynamodb.PutItem": 50, "sns.Publish": 2},
        {
            "highwater-t-aggregates": {"write_units": 300.0, "read_units": 20.0},
            "highwater-t-ids": {"write_units": 100.0},
        },
        "the emulator",
    )
    recording.versions, recording.machine = {"python": "3.11.9"}, f"a machine {NASTY}"
    recording.profile_name, recording.command = "smoke", f"python -m loadtest {NASTY}"
    return world


@pytest.fixture
def world(pristine: World) -> World:
    return copy_of(pristine)


@pytest.fixture
def made(world: World) -> report.Report:
    return report.make(world.recording, prove(world.recording, world.expected, world.api), PRICES)


def test_rates_are_of_the_seconds_in_which_something_came(made: report.Report) -> None:
    rates = made.rates
    assert (rates.offered, rates.accepted, rates.seconds) == (200, 200, 2)
    assert (rates.offered_mean, rates.offered_peak) == (100, 100)
    assert (rates.accepted_mean, rates.accepted_peak) == (pytest.approx(200 / 3), 120)
    assert (rates.throttled, rates.records, rates.requests, rates.bytes, rates.waiting_max) == (3, 20, 4, 2000, 40)


def test_a_probe_that_was_never_visible_is_later_than_any(made: report.Report) -> None:
    assert made.freshness_ms == Spread(4, 1, 200, None, None, None)


def test_a_question_that_failed_is_longer_than_any(made: report.Report) -> None:
    assert {each.name: each.ms for each in made.queries} == {
        "a day": Spread(1, 0, 5.5, 5.5, 5.5, 5.5),
        "top ten": Spread(3, 1, 30.0, None, None, None),
    }


def test_lag_is_told_by_shard_of_what_the_stream_told(made: report.Report) -> None:
    assert [(each.shard_id[-1], each.ms.count, each.ms.p99, each.ms.max) for each in made.lags] == [
        ("0", 2, 9, 9),
        ("1", 1, 7, 7),
    ]


def test_cost_is_of_a_million_events_accepted(made: report.Report) -> None:
    cost = made.cost
    assert cost is not None
    units = {each.unit: (each.per_million, each.usd_per_million) for each in cost.units}
    assert units["dynamodb.write_units"] == (2_000_000, pytest.approx(1.25))  # 400 of 200 events
    assert units["sns.publishes"] == (10_000, pytest.approx(0.005))
    assert units["kinesis.shard_dreams"] == (5_000, None)  # there is no price for it
    assert cost.by_service == {"dynamodb": pytest.approx(1.25), "sns": pytest.approx(0.005)}
    assert cost.usd_per_million == pytest.approx(1.255)
    assert [(each.operation, each.per_million) for each in cost.requests] == [
        ("dynamodb.PutItem", 250_000),
        ("sns.Publish", 10_000),
    ]
    assert [(each.write_units_per_million, each.read_units_per_million) for each in cost.tables] == [
        (1_500_000, 100_000),
        (500_000, 0),
    ]


def test_objectives_are_judged_by_the_same_figures(world: World) -> None:
    wanted = Objectives(rate_share=0.8, freshness_p99_ms=500, query_p99_ms=40)
    run = replace(world.recording.run, profile=replace(world.recording.run.profile, objectives=wanted))
    recording = replace(world.recording, run=run, seconds=[*world.recording.seconds, Second(60, accepted=1000)])
    judged = prove(recording, world.expected, world.api).objectives
    assert judged == [
        Objective("rate_share", 0.8, 1.0, held=True),  # what came a minute later came too late
        Objective("freshness_p99_ms", 500, None, held=False),
        Objective("query_p99_ms", 40, None, held=False),
    ]


def test_of_nothing_there_are_no_figures() -> None:
    assert spread([]) == Spread(0, 0, None, None, None, None)
    assert rates_of([]).accepted_mean == 0


def test_json_comes_back_as_it_was_written(made: report.Report, tmp_path: Path) -> None:
    report.write(made, tmp_path)
    assert report.read(tmp_path) == made
    assert report.read(tmp_path / "report.json") == made


class Page(HTMLParser):
    """What a page asks for, and its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.references += [
            value for name, value in attrs if name in ("src", "href", "srcset", "action", "data") and value
        ]


def test_a_page_needs_nothing_else(made: report.Report) -> None:
    html = report.render(made)
    page = Page()
    page.feed(html)
    assert not {"script", "link", "iframe", "img", "object", "base"} & set(page.tags)
    assert all(reference.startswith("#") for reference in page.references)
    assert not re.search(r"@import|url\((?!#)", html)


def test_nothing_in_a_page_is_taken_for_markup(made: report.Report) -> None:
    html = report.render(made)
    assert NASTY not in html
    assert html.count("&lt;/style&gt;&lt;script&gt;") >= 3  # the machine, the command, the fault


def test_ids_of_a_page_are_apart(made: report.Report) -> None:
    ids = re.findall(r' id="([^"]+)"', report.render(made))
    assert len(ids) == len(set(ids))


def test_each_chart_has_a_table_beside_it(made: report.Report) -> None:
    sections = report.render(made).split("<section ")
    with_charts = [section for section in sections if 'class="chart"' in section]
    assert len(with_charts) == 6
    assert all("<table" in section for section in with_charts)


def test_a_page_of_a_run_that_measured_little_is_whole(world: World) -> None:
    bare: Recording = replace(world.recording, seconds=[], probes=[], queries=[], lags=[], faults=[], usage=None)
    page = report.render(report.make(bare, prove(bare, world.expected, world.api)))
    assert "It was not measured." in page


def test_a_page_cuts_differences_and_json_has_them_all(world: World, tmp_path: Path) -> None:
    window_ms = min(world.api.rows["customers"])[0]
    for number in range(700):
        world.api.rows["customers"][window_ms, (f"r1-x{number}",)] = {"orders": 1, "spend": Decimal(1)}
    made = report.make(world.recording, prove(world.recording, world.expected, world.api))
    report.write(made, tmp_path)
    assert len(report.read(tmp_path).verdict.differences) == 700
    assert (tmp_path / "report.html").read_text().count(">user_id=r1-x") == 500


def printed(made: report.Report) -> list[str]:
    console = Console(width=100, record=True, file=io.StringIO())
    report.show(made, console)
    return console.export_text().rstrip().splitlines()


def test_the_terminals_last_line_is_the_verdict(made: report.Report) -> None:
    *_, last = printed(made)
    assert last.startswith("EXACT  expected ")
    assert f"{made.verdict.counted.events:,} events" in last


def test_the_terminal_cuts_differences(world: World) -> None:
    window_ms = min(world.api.rows["customers"])[0]
    for number in range(70):
        world.api.rows["customers"][window_ms, (f"r1-x{number}",)] = {"orders": 1, "spend": Decimal(1)}
    lines = printed(report.make(world.recording, prove(world.recording, world.expected, world.api)))
    assert sum("different" in line for line in lines) == 21
    assert any("and 50 more" in line for line in lines)
    assert lines[-1].startswith("NOT EXACT")
