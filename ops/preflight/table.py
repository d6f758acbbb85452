"""How verdicts are shown: a table of what holds and what does not, what is amiss told whole, and a line of counts.

Text is folded and never cut off: what is piped has 80 columns, and the end of a name is what tells it from another.
"""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ops.preflight.checklist import Finding, Verdict

HOLDS, FAILS, WARNS, UNKNOWN = ("✔", "green"), ("✘", "bold red"), ("!", "yellow"), ("?", "dim")


def table(verdicts: Sequence[Verdict], title: str) -> Table:
    """Each verdict a row; of what does not hold, how much there is to tell of it."""
    shown = Table("", title=title, title_justify="left")
    shown.add_column("check", overflow="fold")
    for verdict in verdicts:
        mark, style = _mark(verdict)
        about = Text(verdict.check.title)
        if verdict.unknown is not None:
            about.append(f": {verdict.unknown}", style="dim")
        elif verdict.findings:
            count = len(verdict.findings)
            about.append(f": {count} {'finding' if count == 1 else 'findings'}, told below", style="dim")
        shown.add_row(Text(mark, style=style), about)
    return shown


def amiss(verdicts: Sequence[Verdict]) -> Group:
    """What warns, then what fails, for the end is what is seen: what was found where, what to set, and why."""
    ordered = [verdict for verdict in verdicts if verdict.warns] + [verdict for verdict in verdicts if verdict.fails]
    return Group(*(part for verdict in ordered for part in _told(verdict)))


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many lines hold, warn, fail, and are not known."""
    fails = sum(verdict.fails for verdict in verdicts)
    warns = sum(verdict.warns for verdict in verdicts)
    unknown = sum(verdict.unknown is not None for verdict in verdicts)
    counts = [f"{len(verdicts) - fails - warns - unknown} of {len(verdicts)} lines hold", f"{fails} fail"]
    if warns:
        counts.append(f"{warns} warn")
    if unknown:
        counts.append(f"{unknown} cannot be told here")
    return ", ".join(counts)


def _told(verdict: Verdict) -> Iterator[RenderableType]:
    mark, style = _mark(verdict)
    yield Text.assemble((f"{mark} {verdict.check.title}", style), (f" [{verdict.check.id}]", "dim"), overflow="fold")
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for mend, findings in verdict.by_mend().items():
        for finding in findings:
            grid.add_row("found", _found(finding))
        grid.add_row("set", Text(mend))
    grid.add_row("why", Text(verdict.check.why))
    yield Padding(grid, (0, 0, 1, 2))


def _found(finding: Finding) -> Text:
    return Text.assemble(f"{finding.where}: ", (finding.found, "bold"), f" → {finding.wanted}")


def _mark(verdict: Verdict) -> tuple[str, str]:
    if verdict.unknown is not None:
        return UNKNOWN
    if verdict.holds:
        return HOLDS
    return WARNS if verdict.is_warning else FAILS
