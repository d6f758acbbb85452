"""Charts are text that says the same each time, that stands alone, and that nobody's words can break out of."""

import re
from xml.etree import ElementTree as ET

import pytest

from loadtest.report.charts import (
    COLOURS,
    INK,
    Axis,
    Bars,
    Mark,
    Scale,
    Series,
    Size,
    Style,
    bars,
    lines,
    short_number,
)

SVG = "{http://www.w3.org/2000/svg}"
NASTY = """<script>alert("&")</script>$x^2$"""


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314  our own


def drawn(**options):
    series = [
        Series("steady", [0, 1, 2], [1.0, None, 3.0]),
        Series("dots", [0, 1, 2], [1.0, 2.0, 3.0], Style.DOTS),
        Series("area", [0, 1, 2], [3.0, 2.0, 1.0], Style.AREA, spread=[(2, 4), (1, 3), (0, 2)]),
    ]
    return lines("A title", "What it tells", series, x=Axis("seconds"), y=Axis("events", least=0), **options)


def grouped(**options):
    series = [Bars("cold", [1.0, 2.5]), Bars("warm", [0.5, None], spread=[(0.4, 0.7), (0, 0)])]
    return bars("Bars", "What they tell", ["one", "two"], series, value=Axis("ms", least=0), **options)


CHARTS = {
    "lines": drawn,
    "with marks": lambda: drawn(marks=[Mark(1, "1")], size=Size.NARROW),
    "log": lambda: lines(
        "Log", "", [Series("cost", [1, 10, 1000], [0.1, 1, 99])], x=Axis("shards", Scale.LOG), y=Axis("$", Scale.LOG)
    ),
    "bars": grouped,
    "of nothing": lambda: lines("None", "", [Series("none", [], [])], x=Axis(), y=Axis(least=0)),
}


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_the_same_bytes_each_time(name: str) -> None:
    assert CHARTS[name]() == CHARTS[name]()


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_one_well_formed_svg_with_a_title_and_a_description(name: str) -> None:
    root = parsed(CHARTS[name]())
    assert root.tag == f"{SVG}svg"
    title, description = root[0], root[1]
    assert (title.tag, description.tag) == (f"{SVG}title", f"{SVG}desc")
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_asks_for_nothing_elsewhere(name: str) -> None:
    svg = CHARTS[name]().replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "http" not in svg
    assert all(reference.startswith("#") for reference in re.findall(r'(?:href="|url\()([^")]*)', svg))


@pytest.mark.parametrize("name", CHARTS)
def test_whatever_is_referred_to_is_there_once(name: str) -> None:
    svg = CHARTS[name]()
    ids = re.findall(r' id="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', svg)) <= set(ids)


@pytest.mark.parametrize("name", CHARTS)
def test_ink_and_colours_follow_the_ground(name: str) -> None:
    svg = CHARTS[name]()
    body = svg.partition("</style>")[2]
    assert "currentColor" in body
    assert not re.search("#[0-9a-f]{6}[;\"']", body)
    style = svg.partition("<style>")[2].partition("</style>")[0]
    light, dark = style.split("@media (prefers-color-scheme:dark)")
    for ground, place in ((light, 0), (dark, 1)):
        assert all(colour[place] in ground for colour in (INK, *COLOURS))


def test_two_charts_of_a_page_share_no_id() -> None:
    one, other = drawn(), drawn(size=Size.NARROW)
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (one, other)]
    assert not ids[0] & ids[1]


def test_no_text_is_taken_for_markup_or_mathematics() -> None:
    svg = lines(NASTY, NASTY, [Series(NASTY, [0, 1], [0, 1])], x=Axis(NASTY), y=Axis(NASTY), marks=[Mark(0, NASTY)])
    texts = [element.text for element in parsed(svg).iter() if element.tag in (f"{SVG}text", f"{SVG}title")]
    assert texts.count(NASTY) == 5
    assert "<script" not in svg
    assert "script" in bars("t", "", [NASTY], [Bars(NASTY, [1])], value=Axis(NASTY))


def test_a_mark_beyond_the_end_takes_no_room() -> None:
    """It once left the axes none, which matplotlib warns of."""
    steady = [Series("steady", [0, 1], [0, 1])]
    lines("t", "", steady, x=Axis(least=0, greatest=1), y=Axis(), marks=[Mark(1_000_000, "far")])


def test_a_chart_is_small() -> None:
    wave = [Series("wave", list(range(600)), [float(at % 37) for at in range(600)])]
    assert len(lines("Wave", "", wave, x=Axis(), y=Axis())) < 20_000


def test_values_stand_beside_their_bars() -> None:
    texts = [element.text for element in parsed(grouped()).iter(f"{SVG}text")]
    assert {"1", "2.5", "0.5"} <= set(texts)
    assert "0.5 ms" in grouped(number=lambda value: f"{value} ms")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.05, "0.05"), (12, "12"), (1500, "1.5k"), (20_000, "20k"), (3e6, "3M"), (2e9, "2G"), (1e-6, "1e-06")],
)
def test_ticks_are_short(value: float, text: str) -> None:
    assert short_number(value) == text
