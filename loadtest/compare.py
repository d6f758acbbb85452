"""Puts two load tests beside each other: `python -m loadtest.compare A B [--html FILE]`; each a folder or a report."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest import report
from loadtest.report import Report, texts
from loadtest.report.comparison import Better, Figure, figures, warnings
from loadtest.report.page import render_comparison
from ops.arguments import REFUSED, Parser

DONE = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns: 0 done, 2 refused."""
    parser = Parser(prog="python -m loadtest.compare", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("first", type=Path, metavar="A", help="a run's folder, or its report.json")
    parser.add_argument("second", type=Path, metavar="B", help="another's")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with both curves, too")
    options = parser.parse_args(argv)
    reports = []
    for path in (options.first, options.second):
        try:
            reports.append(report.read(path))
        except (OSError, msgspec.MsgspecError) as error:
            return _refuse(f"{path} is no report: {_reason(error)}")
    first, second = reports
    if options.html:
        try:
            options.html.write_text(render_comparison(first, second), encoding="utf-8")
        except OSError as error:
            return _refuse(f"{options.html}: {_reason(error)}")
    show(first, second, Console(highlight=False))
    return DONE


def show(first: Report, second: Report, console: Console) -> None:
    """Print both, figure by figure."""
    table = Table("", title="A and B")
    for name in ("A", "B", "change", "better"):
        table.add_column(name, justify="right")
    for figure in figures(first, second):
        table.add_row(escape(figure.name), figure.first, figure.second, change_text(figure), _better(figure))
    console.print(table)
    for warning in warnings(first, second):
        console.print(f"[yellow]careful[/] {escape(warning)}", soft_wrap=True)
    for name, each in (("A", first), ("B", second)):
        outcome = f"{name}: {each.verdict.outcome.upper()}  {texts.verdict_line(each)}"
        console.print(escape(outcome), soft_wrap=True)


def change_text(figure: Figure) -> str:
    """The change in percent, with its sign."""
    return texts.NOTHING if figure.change is None else f"{figure.change:+.1%}"


def _better(figure: Figure) -> str:
    return figure.better if figure.better in (Better.ALIKE, Better.UNKNOWN) else f"[green]{figure.better}[/]"


def _refuse(why: str) -> int:
    sys.stderr.write(f"loadtest.compare: {why}\n")
    return REFUSED


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())


if __name__ == "__main__":
    sys.exit(main())
