"""How verdicts are shown: a table of what holds and what does not, and one line that sums it up."""

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ops.preflight.checklist import Verdict

HOLDS, FAILS, WARNS, UNKNOWN = ("✔", "green"), ("✘", "bold red"), ("!", "yellow"), ("?", "dim")


def table(verdicts: Sequence[Verdict], title: str) -> Table:
    """Each verdict a row; of what does not hold, why it matters, and each finding: where, found → wanted."""
    shown = Table("", "check", "found", title=title, title_justify="left")
    for verdict in verdicts:
        mark, style = _mark(verdict)
        about = Text(verdict.check.title)
        if verdict.findings:
            about.append(f"\n{verdict.check.why} [{verdict.check.id}]", style="dim")
        found = [f"{each.where}: {each.found} → {each.wanted}" for each in verdict.findings]
        shown.add_row(Text(mark, style=style), about, Text("\n".join(found) or verdict.unknown or ""))
    return shown


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many lines hold, warn, fail, and are not known."""
    fails = sum(verdict.fails for verdict in verdicts)
    warns = sum(verdict.is_warning and not verdict.holds for verdict in verdicts)
    unknown = sum(verdict.unknown is not None for verdict in verdicts)
    counts = [f"{len(verdicts) - fails - warns - unknown} of {len(verdicts)} lines hold", f"{fails} fail"]
    if warns:
        counts.append(f"{warns} warn")
    if unknown:
        counts.append(f"{unknown} cannot be told here")
    return ", ".join(counts)


def _mark(verdict: Verdict) -> tuple[str, str]:
    if verdict.unknown is not None:
        return UNKNOWN
    if verdict.holds:
        return HOLDS
    return WARNS if verdict.is_warning else FAILS
