"""`python -m benchmarks.render`: docs/performance.md, its charts and README's table, of benchmarks/results alone.

Nothing is measured here, and nothing comes from anywhere else: what is committed is what these files say, and a test
holds it to that. A section without a result has no part.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks import result
from benchmarks.page import Part, Table
from benchmarks.result import PROJECT, Result
from benchmarks.suite import sections

PAGE, CHARTS, README = Path("docs/performance.md"), Path("docs/performance"), Path("README.md")
MARKERS = "<!-- benchmarks: made by python -m benchmarks.render -->", "<!-- benchmarks: end -->"


class Measured(NamedTuple):
    """A section's result, and what it says."""

    result: Result
    part: Part


def measured(folder: Path = result.RESULTS) -> list[Measured]:
    """The sections of which there is a result, in their order."""
    there = [(section, result.read(name, folder)) for name, section in sections().items()]
    return [Measured(found, section.describe(found.figures)) for section, found in there if found]


def files(parts: list[Measured], readme: str) -> dict[Path, str]:
    """What is made, by path in the project. Shapes: readme, README as it stands."""
    charts = {CHARTS / f"{chart.name}.svg": chart.draw() for each in parts for chart in each.part.charts}
    return {PAGE: page(parts), README: with_table(readme, readme_table(parts)), **charts}


def page(parts: list[Measured]) -> str:
    """The page."""
    return "\n\n".join([HEAD, *_bars(parts), *(_part(each) for each in parts)]) + "\n"


def _bars(parts: list[Measured]) -> Iterator[str]:
    bars = [bar for each in parts for bar in each.part.bars]
    yield "## What has to be reached"
    rows = [[bar.what, bar.bar, bar.measured, "yes" if bar.is_reached else "**no**"] for bar in bars]
    yield Table("", ["", "has to be", "measured", "reached"], rows).markdown()
    yield "## What is not reached, and why"
    missed = [bar for bar in bars if not bar.is_reached]
    lines = [f"- **{bar.what}**: {bar.measured}, where {bar.bar} is asked. {bar.why}".rstrip() for bar in missed]
    yield "\n".join(lines) or "Nothing of it: all that is asked was reached, on these machines and days."


def _part(each: Measured) -> str:
    part = each.part
    tables = [f"**{_capital(table.title)}**\n\n{table.markdown()}" for table in part.tables]
    charts = [f"![{chart.alt}]({CHARTS.name}/{chart.name}.svg)" for chart in part.charts]
    return "\n\n".join([f"## {part.title}", part.text.strip(), *tables, *charts, _source(each.result)])


def _source(of: Result) -> str:
    """How, when and where a section was measured."""
    machine = of.machine
    versions = ", ".join(f"{name} {version}" for name, version in of.versions.items())
    return (
        f"<sub>`{of.command}` · {of.date[:10]} · revision {of.revision} · {machine.cpu}, {machine.cores} cores, "
        f"{machine.memory_gb:.0f} GB, {machine.kernel}, {machine.python} · {versions}</sub>"
    )


def readme_table(parts: list[Measured]) -> str:
    """README's table: the headlines, each with the command that measures it."""
    rows = [
        [headline.what, headline.measured, f"`{each.result.command}`"]
        for each in parts
        for headline in each.part.headlines
    ]
    return Table("", ["", "", "measured by"], rows).markdown()


def with_table(readme: str, table: str) -> str:
    """README with this table between its markers.

    Raises: ValueError when it has no markers.
    """
    begin, end = MARKERS
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(readme)) != 1:
        raise ValueError(f"{README} has no place for the table: {begin} … {end}")
    return pattern.sub(lambda _: f"{begin}\n\n{table}\n\n{end}", readme)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def write(project: Path, made: Mapping[Path, str]) -> None:
    """Write what is made; a chart that is not made any more goes."""
    for path in (project / CHARTS).glob("*.svg"):
        if path.relative_to(project) not in made:
            path.unlink()
    for name, text in made.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")


def main() -> int:
    """Make them."""
    made = files(measured(), (PROJECT / README).read_text(encoding="utf-8"))
    write(PROJECT, made)
    sys.stdout.write("".join(f"{path}\n" for path in made))
    return 0


HEAD = """\
# Performance

What Highwater costs and how fast it is, each figure with the command that measures it, the machine and the day. The
page is made by `python -m benchmarks.render` of [benchmarks/results](../benchmarks/results) alone; `make bench`
measures all of it again, and makes the page anew. Machines differ and drift: what is compared was measured in turns in
one run, and of times the ratios count. Units, requests and bytes are counted, and are the same everywhere. Dollars are
counted units times [a table of prices](../ops/cost/prices.toml) that is an input; [cost.md](cost.md) prices a whole
stage."""


if __name__ == "__main__":
    sys.exit(main())
