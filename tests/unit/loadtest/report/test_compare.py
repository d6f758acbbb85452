"""Two reports beside each other: what changed, by how much, which is better, and when that says little."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from loadtest import compare, report
from loadtest.proof import prove
from loadtest.recording import Probe, Query, Second
from loadtest.report.comparison import Better, figures, warnings
from tests.unit.loadtest.proof.world import STARTED_MS, World, make_world


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def made(world: World, *, took_ms: int = 100, accepted: int = 100, **changes) -> report.Report:
    recording = replace(
        world.recording,
        seconds=[Second(0, offered=100, accepted=accepted)],
        probes=[Probe(STARTED_MS, STARTED_MS + took_ms)],
        queries=[Query("top ten", STARTED_MS, float(took_ms), 200)],
        **changes,
    )
    return report.make(recording, prove(recording, world.expected, world.api))


def better(first: report.Report, second: report.Report) -> dict[str, tuple[Better, float | None]]:
    return {each.name: (each.better, each.change) for each in figures(first, second)}


def test_shorter_waits_and_higher_rates_are_better(world: World) -> None:
    told = better(made(world, took_ms=100, accepted=80), made(world, took_ms=150, accepted=100))
    assert told["accepted events a second"] == (Better.SECOND, pytest.approx(0.25))
    assert told["freshness, p99"] == (Better.FIRST, pytest.approx(0.5))
    assert told["top ten, p50"] == (Better.FIRST, pytest.approx(0.5))


def test_a_change_that_is_noise_is_no_change(world: World) -> None:
    told = better(made(world, took_ms=100), made(world, took_ms=102))
    assert told["freshness, p50"][0] is Better.ALIKE


def test_what_never_came_is_worse_than_anything(world: World) -> None:
    first = made(world)
    second = made(world)
    second = replace(second, freshness_ms=replace(second.freshness_ms, p99=None, never=1))
    assert better(first, second)["freshness, p99"] == (Better.FIRST, None)
    assert better(second, first)["freshness, p99"] == (Better.SECOND, None)


def test_what_was_not_measured_is_not_judged(world: World) -> None:
    assert better(made(world), made(world))["lag at most"] == (Better.UNKNOWN, None)


def test_a_report_and_itself_differ_in_nothing(world: World) -> None:
    one = made(world)
    assert {each.better for each in figures(one, one)} <= {Better.ALIKE, Better.UNKNOWN}
    assert warnings(one, one) == []


def test_other_profiles_and_machines_are_warned_of(world: World) -> None:
    first, second = made(world, machine="a"), made(world, machine="b")
    profile = replace(second.profile, seed=7, description="another")
    told = warnings(first, replace(second, profile=profile))
    assert len(told) == 2
    assert "the machines differ: a and b" in told


def test_the_command_prints_both_verdicts_and_writes_a_page(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, took_ms in (("a", 100), ("b", 200)):
        (tmp_path / name).mkdir()
        report.write(made(world, took_ms=took_ms), tmp_path / name)
    html = tmp_path / "both.html"
    assert compare.main([str(tmp_path / "a"), str(tmp_path / "b" / "report.json"), "--html", str(html)]) == 0
    printed = capsys.readouterr().out
    assert "+100.0%" in printed
    assert "A: EXACT" in printed
    assert "B: EXACT" in printed
    page = html.read_text()
    assert "+100.0 %" in page
    assert page.count('class="chart"') == 2 * 3  # rates, freshness, queries, in two widths
    assert "<script" not in page


@pytest.mark.parametrize("content", [None, b"{}", b"not JSON"])
def test_what_is_no_report_is_refused_in_one_line(
    content: bytes | None, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report.write(made(world), tmp_path)
    bad = tmp_path / "bad"
    bad.mkdir()
    if content is not None:
        (bad / "report.json").write_bytes(content)
    assert compare.main([str(tmp_path), str(bad)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is no report" in said
