"""A report on the terminal: some tables, and at the end one line with the verdict."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from loadtest.proof.verdict import Objective, Outcome
from loadtest.report import texts
from loadtest.report.figures import short_shard, short_table
from loadtest.report.report import Report, Spread

DIFFERENCES_MAX = 20  # report.json has all
SHARDS_MAX = 8
COLOURS = {Outcome.EXACT: "green", Outcome.DIFFERENT: "red", Outcome.UNPROVED: "yellow"}


def show(report: Report, console: Console) -> None:
    """Print the report; its last line is the verdict."""
    console.print(_rates(report))
    console.print(_waits(report))
    if report.cost is not None:
        console.print(_cost(report))
    for number, fault in enumerate(report.faults, 1):
        done = "happened" if fault.happened else "[yellow]not done[/]"
        after = (fault.at_ms - report.started_ms) / 1000
        console.print(
            f"{number}. {done} after {after:.1f} s: {escape(fault.kind)}: {escape(fault.what)}", soft_wrap=True
        )
    _show_verdict(report, console)


def _show_verdict(report: Report, console: Console) -> None:
    verdict = report.verdict
    for difference in verdict.differences[:DIFFERENCES_MAX]:
        console.print(f"[red]different[/] {escape(str(difference))}", soft_wrap=True)
    more = len(verdict.differences) - DIFFERENCES_MAX
    if more > 0:
        console.print(f"[red]different[/] … and {more:,} more: all are in report.json")
    for why in verdict.unproved:
        console.print(f"[yellow]unproved[/] {escape(why)}", soft_wrap=True)
    for note in verdict.notes:
        console.print(f"[dim]note[/] {escape(note)}", soft_wrap=True)
    for objective in verdict.objectives:
        console.print(objective_line(objective), soft_wrap=True)
    console.print(f"{texts.comparisons_line(report)}.", soft_wrap=True)
    word = {Outcome.DIFFERENT: "NOT EXACT"}.get(verdict.outcome, verdict.outcome.upper())
    missed = "" if verdict.objectives_held else " [yellow](an objective was missed)[/]"
    console.print(
        f"[bold {COLOURS[verdict.outcome]}]{word}[/]{missed}  {escape(texts.verdict_line(report))}", soft_wrap=True
    )


def objective_line(objective: Objective) -> str:
    """An objective, what came of it, and whether it held."""
    if objective.name.endswith("_ms"):
        wanted = f"at most {texts.milliseconds(objective.wanted)}"
        got = "not measured" if objective.got is None else texts.milliseconds(objective.got)
    else:
        wanted = f"at least {objective.wanted:.1%}"
        got = "not measured" if objective.got is None else f"{objective.got:.2%}"
    held = "[green]held[/]" if objective.held else "[yellow]missed[/]"
    return f"{held} {objective.name}: {wanted} wanted, {got}"


def _rates(report: Report) -> Table:
    rates = report.rates
    table = Table("events", title=f"Load of {rates.seconds:,} s")
    for column in ("in all", "mean a second", "best second"):
        table.add_column(column, justify="right")
    table.add_row(
        "offered", f"{rates.offered:,}", texts.number(rates.offered_mean), texts.number(float(rates.offered_peak))
    )
    table.add_row(
        "accepted", f"{rates.accepted:,}", texts.number(rates.accepted_mean), texts.number(float(rates.accepted_peak))
    )
    table.caption = (
        f"{rates.records:,} records, {texts.size(rates.bytes)}, {rates.requests:,} requests; {rates.throttled:,} "
        f"records refused and sent again; at most {rates.waiting_max:,} events waiting"
    )
    return table


def _waits(report: Report) -> Table:
    table = Table("", title="Freshness, queries, lag")
    for column in ("measured", "p50", "p95", "p99", "max", "never"):
        table.add_column(column, justify="right")

    def add(name: str, spread: Spread) -> None:
        told = (texts.percentile_of(spread, value) for value in (spread.p50, spread.p95, spread.p99, spread.max))
        table.add_row(escape(name), f"{spread.count:,}", *told, f"{spread.never:,}")

    add("freshness by probes", report.freshness_ms)
    for latency in report.queries:
        add(latency.name, latency.ms)
    farthest = sorted(report.lags, key=lambda each: -(each.ms.max or 0))[:SHARDS_MAX]
    for lag in sorted(farthest, key=lambda each: each.shard_id):
        add(f"{short_shard(lag.shard_id)} behind", lag.ms)
    return table


def _cost(report: Report) -> Table:
    table = Table("for a million events", title="What it takes")
    table.add_column("", justify="right")
    table.add_column("dollars", justify="right")
    if report.cost is None:
        return table
    for each in report.cost.units:
        table.add_row(each.unit, texts.number(each.per_million), texts.dollars(each.usd_per_million))
    for of_table in report.cost.tables:
        name = short_table(of_table.table, report.stage.name)
        table.add_row(f"  {escape(name)}: write units", texts.number(of_table.write_units_per_million), "")
    table.add_section()
    table.add_row("all", "", texts.dollars(report.cost.usd_per_million))
    table.caption = f"counted by {escape(report.cost.source)}; prices: {report.cost.prices}"
    return table
