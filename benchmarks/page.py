"""What a section says, as data: words, tables and charts, shown on the terminal and on docs/performance.md alike."""

from collections.abc import Callable, Sequence

import rich.table
from msgspec import Struct


class Table(Struct, frozen=True):
    """Shapes: rows, as many texts each as there are headings; the first column is read from the left."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table on a page."""
        rules = ["---", *["---:"] * (len(self.headings) - 1)]
        lines = [self.headings, rules, *self.rows]
        return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)

    def rich(self) -> rich.table.Table:
        """The table on a terminal."""
        table = rich.table.Table(title=self.title)
        for place, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if place else "left")
        for row in self.rows:
            table.add_row(*row)
        return table


class Chart(Struct, frozen=True):
    """A chart, kept beside the page as `NAME.svg`. Shapes: draw makes the SVG; alt says what it shows."""

    name: str
    alt: str
    draw: Callable[[], str]


class Bar(Struct, frozen=True):
    """What must be reached, and what was. Shapes: why, if it is not reached, what keeps it."""

    what: str
    bar: str
    measured: str
    is_reached: bool
    why: str = ""


class Headline(Struct, frozen=True):
    """A line of README's table."""

    what: str
    measured: str


class Part(Struct, frozen=True):
    """A section's part of the page. Shapes: text, what is measured and what it means, in Markdown."""

    title: str
    text: str
    tables: Sequence[Table] = ()
    charts: Sequence[Chart] = ()
    bars: Sequence[Bar] = ()
    headlines: Sequence[Headline] = ()
