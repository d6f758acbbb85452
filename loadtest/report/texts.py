"""Numbers as reports write them: on the page, on the terminal, in comparisons. Pure."""

from decimal import Decimal

from loadtest.proof.verdict import Totals
from loadtest.report.report import Report, Spread

SECOND_MS = 1_000
DIGITS_OF_DOLLARS = 4
NOTHING = "–"  # noqa: RUF001  an en dash: no number


def number(value: float | None) -> str:
    """A count, with commas; of less than a hundred, with what it has behind the dot."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:,.3g}"  # noqa: PLR2004


def milliseconds(value: float | None) -> str:
    """Milliseconds, from a second on as seconds."""
    if value is None:
        return NOTHING
    return f"{value:,.0f} ms" if value < SECOND_MS else f"{value / SECOND_MS:,.2f} s"


def percentile_of(spread: Spread, value: float | None) -> str:
    """A percentile of a spread of milliseconds, which may be that of what never came."""
    return "never" if value is None and spread.count else milliseconds(value)


def dollars(value: float | None) -> str:
    """US dollars to so many digits that a million events still are some."""
    return NOTHING if value is None else f"${value:,.{DIGITS_OF_DOLLARS}f}"


def size(value: float) -> str:
    """Bytes."""
    for power, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= power:
            return f"{value / power:,.1f} {unit}"
    return f"{value:,.0f} B"


def verdict_line(report: Report) -> str:
    """What was expected and what was counted, in one line."""
    verdict = report.verdict
    return f"expected {_totals(verdict.expected)}; counted {_totals(verdict.counted)}"


def _totals(totals: Totals) -> str:
    revenue = totals.sums.get("orders.revenue")
    parts = (
        f"{totals.events:,} events",
        f"revenue {Decimal(revenue):,}" if revenue else "",
        f"{sum(totals.dead_letters.values()):,} dead letters",
        "" if totals.duplicates is None else f"{totals.duplicates:,} duplicates",
    )
    return ", ".join(filter(None, parts))


def comparisons_line(report: Report) -> str:
    """How much was compared."""
    compared = report.verdict.compared
    values, groups = sum(each.values for each in compared), sum(each.groups for each in compared)
    windows = max((each.windows for each in compared), default=0)
    return f"{values:,} values of {groups:,} groups in {windows:,} windows compared"
