"""Charts as SVG text: from the same numbers always the same bytes, legible on light ground and on dark.

Matplotlib draws; what it has drawn is made small and given the dashboard's colours, as custom properties with a value
for light and for dark. So a chart is at home in a page, and alone in an `img`. Text is text, in the reader's own font.
Only this file knows matplotlib.
"""

import io
import re
from collections.abc import Callable, Sequence
from enum import Enum, StrEnum
from hashlib import blake2b
from math import isfinite
from typing import Any
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from msgspec import Struct

# The dashboard's (`chalicelib/dashboard/static/style.css`), for light and for dark: told apart by the colour-blind too.
INK = ("#17202b", "#e3e9f0")
COLOURS = (
    ("#115ddb", "#56c7ff"),
    ("#dc600b", "#ff8d29"),
    ("#1f9586", "#15c67b"),
    ("#8c2c83", "#d27dbc"),
    ("#915b00", "#ecc948"),
    ("#3295d1", "#9fe1ff"),
    ("#5c41af", "#a28fff"),
    ("#6e697c", "#b0bac0"),
)
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", sans-serif'
STYLE = (
    f".chart{{color:{INK[0]};font-family:{FONT};{''.join(f'--c{n}:{c[0]};' for n, c in enumerate(COLOURS, 1))}}}"
    "@media (prefers-color-scheme:dark){"
    f".chart{{color:{INK[1]};{''.join(f'--c{n}:{c[1]};' for n, c in enumerate(COLOURS, 1))}}}}}"
)
PAINT = {INK[0]: "currentColor", **{light: f"var(--c{n})" for n, (light, _) in enumerate(COLOURS, 1)}}
SVG, XLINK_HREF = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
ID = "\N{SECTION SIGN}"
FONT_PX = 12
GRID_ALPHA, MUTED_ALPHA = 0.13, 0.72
DASHES_FROM = 4  # from the fifth line on they are dashed, as the dashboard's are
DECIMALS = 2  # of a pixel
CHARACTER_PX = 6.6  # of the font, about; as many columns of the legend as there is room for
LEGEND_MARK_PX = 40
SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "highwater",
    "font.size": FONT_PX,
    "font.family": "DejaVu Sans",  # matplotlib brings it, so that the layout is the same on all machines
    "path.simplify": True,
    "path.simplify_threshold": 0.3,
    "text.parse_math": False,
}


class Style(StrEnum):
    """How a series is drawn."""

    LINE = "line"
    DASHED = "dashed"
    DOTS = "dots"
    POINTED = "pointed"  # a line with a dot at each value
    AREA = "area"


class Scale(StrEnum):
    """How an axis is divided."""

    LINEAR = "linear"
    LOG = "log"


class Size(Enum):
    """Of a chart, in pixels: for a column of text, for a phone."""

    WIDE = (720, 280)
    NARROW = (360, 260)


class Axis(Struct, frozen=True):
    """An axis; its label names the unit. Shapes: least and greatest are its ends, None where the values tell."""

    label: str = ""
    scale: Scale = Scale.LINEAR
    least: float | None = None
    greatest: float | None = None


class Series(Struct, frozen=True):
    """Values over x: of the same length, None where there is none.

    Shapes: slot, the number of its colour from 0; its place if it is None. spread, for each x the ends of a bar around
            the value.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float | None]
    style: Style = Style.LINE
    slot: int | None = None
    spread: Sequence[tuple[float, float]] | None = None


class Mark(Struct, frozen=True):
    """Something that happened at x."""

    x: float
    text: str


class Bars(Struct, frozen=True):
    """One bar for each group, None where there is none; spread as in a Series."""

    label: str
    values: Sequence[float | None]
    slot: int | None = None
    spread: Sequence[tuple[float, float]] | None = None


def short_number(value: float) -> str:
    """A number as ticks have it: 0.05, 12, 1.5k, 20k, 3M, 2G."""
    for power, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= power:
            return f"{value / power:.4g}{letter}"
    return f"{value:.4g}" if isfinite(value) and abs(value) >= 1e-4 else f"{value:.0e}" if value else "0"  # noqa: PLR2004


def lines(
    title: str,
    description: str,
    series: Sequence[Series],
    *,
    x: Axis,
    y: Axis,
    marks: Sequence[Mark] = (),
    size: Size | tuple[int, int] = Size.WIDE,
) -> str:
    """Draw lines or dots over x.

    Shapes: title and description are for those who do not see the chart; it does not show them.
    Returns: an `svg` element, with nothing before it.
    """
    with mpl.rc_context(SETTINGS):
        figure, axes, width = _figure(size)
        for place, each in enumerate(series):
            _draw_series(axes, each, place)
        _set_axes(axes, x, y)
        for mark in marks:
            axes.axvline(mark.x, color=INK[0], linewidth=1, linestyle=(0, (2, 3)), alpha=MUTED_ALPHA)
            text = axes.annotate(
                mark.text,
                (mark.x, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -1),
                textcoords="offset points",
                verticalalignment="top",
                color=INK[0],
                fontsize=FONT_PX - 1,
                annotation_clip=True,
            )
            text.set_in_layout(False)  # one beyond the axis' end would leave the axes no room
        _legend(figure, axes, [each.label for each in series], width)
        return _svg(figure, title, description)


def bars(
    title: str,
    description: str,
    groups: Sequence[str],
    series: Sequence[Bars],
    *,
    value: Axis,
    number: Callable[[float], str] = short_number,
    size: Size | tuple[int, int] = Size.WIDE,
) -> str:
    """Draw horizontal bars, side by side in each group, from the top down; each with its value beside it.

    Shapes: number writes a value. The height is that which the bars need; of `size` only the width counts.
    Returns: as `lines`.
    """
    width = (size.value if isinstance(size, Size) else size)[0]
    height = 64 + len(groups) * (12 + 18 * len(series)) + (22 if len(series) > 1 else 0)
    with mpl.rc_context(SETTINGS):
        figure, axes, _ = _figure((width, height))
        thickness = 0.8 / len(series)
        for place, each in enumerate(series):
            offset = (place - (len(series) - 1) / 2) * thickness
            shown = [(at + offset, height) for at, height in enumerate(each.values) if height is not None]
            if not shown:
                continue
            colour = COLOURS[_slot(each.slot, place)][0]
            ys, values = zip(*shown, strict=True)
            axes.barh(ys, values, height=thickness * 0.86, color=colour, label=each.label, linewidth=0)
            ends = list(values)
            if each.spread is not None:
                spread = [pair for pair, there in zip(each.spread, each.values, strict=True) if there is not None]
                lows, ends = (list(of_all) for of_all in zip(*spread, strict=True))
                axes.hlines(ys, lows, ends, color=INK[0], linewidth=1)
            for y, value_there, end in zip(ys, values, ends, strict=True):
                axes.annotate(
                    number(value_there),
                    (max(value_there, end), y),
                    xytext=(5, 0),
                    textcoords="offset points",
                    verticalalignment="center_baseline",
                    color=INK[0],
                    fontsize=FONT_PX - 1,
                )
        axes.set_yticks(range(len(groups)), groups)
        axes.invert_yaxis()
        axes.margins(x=0.14)  # room for the values
        _set_axis(axes, "x", value)
        axes.grid(visible=True, axis="x", color=INK[0], alpha=GRID_ALPHA, linewidth=1)
        if len(series) > 1:
            _legend(figure, axes, [each.label for each in series], width)
        return _svg(figure, title, description)


def _figure(size: Size | tuple[int, int]) -> tuple[Figure, Axes, int]:
    width, height = size.value if isinstance(size, Size) else size
    figure = Figure(figsize=(width / 72, height / 72), dpi=72, layout="constrained")  # a point is a pixel
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(INK[0])
    axes.spines["bottom"].set_alpha(2 * GRID_ALPHA)
    axes.tick_params(bottom=False, left=False, labelsize=FONT_PX - 1, labelcolor=INK[0], pad=5)
    return figure, axes, width


def _draw_series(axes: Axes, series: Series, place: int) -> None:
    slot = _slot(series.slot, place)
    colour = COLOURS[slot][0]
    values = [float("nan") if each is None else each for each in series.y]
    is_of_dots = series.style is Style.DOTS
    is_dashed = series.style is Style.DASHED or (slot >= DASHES_FROM and series.style is Style.LINE)
    if series.style is Style.AREA:
        axes.fill_between(series.x, values, color=colour, alpha=0.25, linewidth=0)
    axes.plot(
        series.x,
        values,
        color=colour,
        label=series.label,
        linewidth=0 if is_of_dots else 1.6,
        linestyle=(0, (4, 2)) if is_dashed else "solid",
        marker="o" if is_of_dots or series.style is Style.POINTED else "",
        markersize=3 if is_of_dots else 4,
        markeredgewidth=0,
        solid_joinstyle="round",
    )
    if series.spread is not None:
        low, high = zip(*series.spread, strict=True)
        axes.fill_between(series.x, low, high, color=colour, alpha=0.18, linewidth=0)


def _set_axes(axes: Axes, x: Axis, y: Axis) -> None:
    axes.grid(visible=True, axis="y", color=INK[0], alpha=GRID_ALPHA, linewidth=1)
    axes.margins(x=0.01)  # first: an end that is set stops the margins
    _set_axis(axes, "x", x)
    _set_axis(axes, "y", y)


def _set_axis(axes: Axes, name: str, axis: Axis) -> None:
    drawn = axes.xaxis if name == "x" else axes.yaxis
    if axis.label:
        drawn.set_label_text(axis.label, color=INK[0], alpha=MUTED_ALPHA, fontsize=FONT_PX - 1)
    if axis.scale is Scale.LOG:
        (axes.set_xscale if name == "x" else axes.set_yscale)("log")
        drawn.set_major_locator(LogLocator(numticks=9))
        drawn.set_minor_locator(NullLocator())
    else:
        drawn.set_major_locator(MaxNLocator(5 if name == "y" else 6, steps=[1, 2, 2.5, 5, 10]))
    drawn.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    limit = axes.set_xlim if name == "x" else axes.set_ylim
    if axis.least is not None:
        limit(axis.least)
    if axis.greatest is not None:
        limit(None, axis.greatest)


def _slot(slot: int | None, place: int) -> int:
    return (place if slot is None else slot) % len(COLOURS)


def _legend(figure: Figure, axes: Axes, labels: Sequence[str], width: int) -> None:
    handles, _ = axes.get_legend_handles_labels()
    if not handles:
        return
    widest = max(map(len, labels)) * CHARACTER_PX + LEGEND_MARK_PX
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=min(len(handles), max(1, int(width / widest))),
        frameon=False,
        markerscale=1.7,
        labelcolor=INK[0],
        fontsize=FONT_PX - 1,
        handlelength=1.6,
        borderpad=0.2,
    )


def _svg(figure: Figure, title: str, description: str) -> str:
    drawn = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(drawn, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _refine(drawn.getvalue(), title, description)


def _refine(svg: str, title: str, description: str) -> str:
    """Make what matplotlib wrote small, with our colours, names for those who do not see, and ids of its own."""
    root = ET.fromstring(svg)  # noqa: S314  matplotlib's, not a stranger's
    view = root.get("viewBox", "")
    _, _, width, height = view.split()
    for element in list(root.iter()):
        element.tag = element.tag.removeprefix(SVG)
        if href := element.attrib.pop(XLINK_HREF, None):
            element.set("href", href)
        element.attrib = {name: _rounded(value) for name, value in element.attrib.items()}
        if style := element.attrib.pop("style", None):
            element.set("style", _style(style))
        if element.attrib.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
    for child in [child for child in root if child.tag == "metadata" or child.find("style") is not None]:
        root.remove(child)
    body = _give_own_ids(_without_bare_groups(root))
    name = "h" + blake2b(f"{title}\n{description}\n{body}".encode(), digest_size=4).hexdigest()
    return (
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="{view}" width="{width}" height="{height}" '
        f'role="img" aria-labelledby="t{name} d{name}"><title id="t{name}">{escape(title)}</title>'
        f'<desc id="d{name}">{escape(description)}</desc><style>{STYLE}</style>{body.replace(ID, name)}</svg>\n'
    )


def _style(text: str) -> str:
    """A style without what goes without saying, its colours ours."""
    rules = dict(rule.strip().split(": ", 1) for rule in text.split(";") if rule.strip())
    rules.pop("font-family", None)
    return ";".join(f"{name}:{PAINT.get(value, value)}" for name, value in rules.items())


def _rounded(text: str) -> str:
    return re.sub(r"-?\d+\.\d+", lambda number: f"{float(number[0]):.{DECIMALS}f}".rstrip("0").rstrip("."), text)


def _without_bare_groups(root: Element) -> str:
    """The content of an element as text; what is grouped for nothing, and an id that nothing refers to, is left out."""
    written = ET.tostring(root, encoding="unicode")
    referred = set(re.findall(r"#([\w-]+)[)\"]", written))
    return "".join(_write(child, referred) for child in root)


def _write(element: Element, referred: set[str]) -> str:
    if element.get("id") not in referred:
        element.attrib.pop("id", None)
    inner = "".join(_write(child, referred) for child in element)
    text = escape(
        " ".join((element.text or "").split()) if element.tag in ("path", "g", "defs") else element.text or ""
    )
    if element.tag == "g" and not element.attrib:
        return inner
    attributes = "".join(f" {name}={quoteattr(' '.join(value.split()))}" for name, value in element.attrib.items())
    return f"<{element.tag}{attributes}>{text}{inner}</{element.tag}>"


def _give_own_ids(body: str) -> str:
    """Number the ids, behind a mark that stands for what no other chart of a page has."""
    numbers = {old: f"{ID}{place}" for place, old in enumerate(dict.fromkeys(re.findall(r' id="([^"]+)"', body)))}
    body = re.sub(r' id="([^"]+)"', lambda found: f' id="{numbers[found[1]]}"', body)
    return re.sub(r"#([\w-]+)(?=[)\"])", lambda found: f"#{numbers.get(found[1], found[1])}", body)
