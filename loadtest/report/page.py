"""A report as one page of HTML that needs nothing else: no script, no font, no host. All that it shows is escaped."""

from pathlib import Path

import jinja2
from markupsafe import Markup

from chalicelib import dashboard
from loadtest.proof.verdict import Outcome
from loadtest.report import figures, overlays, texts
from loadtest.report.comparison import figures as compared_figures
from loadtest.report.comparison import warnings
from loadtest.report.figures import Drawn
from loadtest.report.report import Report

DIFFERENCES_MAX = 500  # on the page; all are in report.json
ICON_PATH = Path(dashboard.__file__).parent / "static" / "icon.svg"
VERDICTS = {
    Outcome.EXACT: "Every count is right",
    Outcome.DIFFERENT: "Some answers are wrong",
    Outcome.UNPROVED: "Too little is proved",
}


def render(report: Report) -> str:
    """The page of a report."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            verdict=report.verdict,
            headline=VERDICTS[report.verdict.outcome],
            query_rows=[(each.name, each.ms) for each in report.queries],
            differences=report.verdict.differences[:DIFFERENCES_MAX],
            figures={
                "rates": figures.rates(report),
                "freshness": figures.freshness(report),
                "lag": figures.lag(report),
                "queries": figures.queries(report),
                "cost": figures.cost(report),
                "tables": figures.tables(report),
            },
        )
    )


def render_comparison(first: Report, second: Report) -> str:
    """The page of two reports beside each other, their curves over each other."""
    return (
        _environment()
        .get_template("comparison.html")
        .render(
            sides=[("A", first), ("B", second)],
            headlines=VERDICTS,
            warnings=warnings(first, second),
            rows=compared_figures(first, second),
            drawings=[
                ("Accepted", "events a second", overlays.rates(first, second), "full"),
                (
                    "Freshness",
                    "from an event's acceptance until the API tells of it",
                    overlays.freshness(first, second),
                    "",
                ),
                ("Lag", "of the farthest shard", overlays.lag(first, second), ""),
                ("Queries", "p99", overlays.queries(first, second), ""),
                ("Cost", "of a million events accepted", overlays.cost(first, second), ""),
            ],
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("loadtest.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": texts.number,
        "ms": texts.milliseconds,
        "dollars": texts.dollars,
        "size": texts.size,
        "shard": figures.short_shard,
    }
    environment.globals |= {
        "icon": _icon(),
        "drawn": _drawn,
        "of_spread": texts.percentile_of,
        "verdict_line": texts.verdict_line,
        "comparisons_line": texts.comparisons_line,
        "short_table": figures.short_table,
    }
    return environment


def _icon() -> Markup:
    return Markup(ICON_PATH.read_text().replace("<svg ", '<svg class="icon" aria-hidden="true" ', 1))  # noqa: S704  ours


def _drawn(figure: Drawn) -> Markup:
    """A chart in both widths, of which the style shows one."""
    return Markup(f'<div class="wide">{figure.wide}</div><div class="narrow">{figure.narrow}</div>')  # noqa: S704  ours
