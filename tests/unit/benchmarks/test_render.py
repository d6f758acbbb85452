"""docs/performance.md and README's table are what the committed results say, and nothing else."""

import re
from xml.etree import ElementTree as ET

import pytest

from benchmarks import render, result
from benchmarks.page import Bar, Chart, Headline, Part, Table

PROJECT = result.PROJECT
RESULT = result.Result(
    section="made_up",
    command="python -m benchmarks made_up",
    date="2026-11-26T14:00:00Z",
    revision="abc",
    is_quick=False,
    settings=None,
    machine=result.Machine("A CPU", 2, 8.0, "Linux 6", "CPython 3.11"),
    versions={"orjson": "3"},
    figures={},
)
PART = Part(
    "Made up",
    "What it means.",
    [Table("figures", ["", "n"], [["a|b", "1"]])],
    [Chart("made_up", "One bar", lambda: "<svg/>\n")],
    [Bar("speed", "≥ 2", "1", is_reached=False, why="It is slow."), Bar("size", "≤ 2", "1", is_reached=True)],
    [Headline("made up", "1")],
)
README = f"before\n{render.MARKERS[0]}\nold\n{render.MARKERS[1]}\nafter\n"


@pytest.fixture(scope="module")
def made():
    return render.files(render.measured(), (PROJECT / render.README).read_text())


def test_what_is_committed_is_what_the_results_render_to(made):
    """After a change: python -m benchmarks.render."""
    for path, text in made.items():
        assert (PROJECT / path).read_text() == text, path


def test_no_chart_is_left_of_what_is_not_made_any_more(made):
    there = {path.relative_to(PROJECT) for path in (PROJECT / render.CHARTS).glob("*")}
    assert there == {path for path in made if path.parent == render.CHARTS}


def test_the_links_of_the_page_lead_somewhere(made):
    links = re.findall(r"\]\(([^)#]+)\)", made[render.PAGE])
    assert links
    for link in links:
        assert (PROJECT / render.PAGE.parent / link).exists(), link


def test_every_chart_is_an_svg_that_is_legible_on_light_and_on_dark(made):
    for path, text in made.items():
        if path.suffix == ".svg":
            ET.fromstring(text)  # noqa: S314  ours
            assert "prefers-color-scheme:dark" in text


def test_no_result_that_is_committed_is_of_a_quick_run_or_of_no_section():
    for path in result.RESULTS.glob("*.json"):
        read = result.read(path.stem)
        assert not read.is_quick
        assert read.section == path.stem
        assert path.stem in render.sections()


def test_a_part_tells_its_figures_their_command_machine_and_day():
    page = render.page([render.Measured(RESULT, PART)])
    assert "## Made up\n\nWhat it means.\n\n**Figures**\n\n|  | n |\n| --- | ---: |\n| a\\|b | 1 |" in page
    assert "![One bar](performance/made_up.svg)" in page
    assert "`python -m benchmarks made_up` · 2026-11-26 · revision abc · A CPU, 2 cores, 8 GB" in page


def test_what_is_not_reached_is_told_with_its_reason():
    page = render.page([render.Measured(RESULT, PART)])
    assert "| speed | ≥ 2 | 1 | **no** |" in page
    assert "| size | ≤ 2 | 1 | yes |" in page
    assert "- **speed**: 1, where ≥ 2 is asked. It is slow." in page
    assert "**size**:" not in page


def test_readmes_table_is_between_its_markers_and_the_rest_is_left_as_it_is():
    made = render.files([render.Measured(RESULT, PART)], README)[render.README]
    begin, end = render.MARKERS
    assert made.startswith(f"before\n{begin}\n\n|  |  | measured by |")
    assert "| made up | 1 | `python -m benchmarks made_up` |" in made
    assert made.endswith(f"|\n\n{end}\nafter\n")
    assert render.with_table(made, "x").count(begin) == 1


def test_a_readme_without_a_place_for_the_table_is_refused():
    with pytest.raises(ValueError, match="has no place for the table"):
        render.with_table("nothing", "x")
