"""The charts of two reports, over each other: A and B in the same colours everywhere. Pure.

Units: x is seconds since each load's start.
"""

from collections.abc import Callable, Sequence

from loadtest.report import figures, texts
from loadtest.report.charts import Axis, Bars, Series, Style, bars
from loadtest.report.figures import FULL, Drawn, both, columns, over_time, since, thin
from loadtest.report.report import Report

SLOTS = (0, 1)  # the colours of A and B
NAMES = ("A", "B")
POINTS_MAX = 300


def rates(first: Report, second: Report) -> Drawn | None:
    """Accepted events, each second."""
    if not (first.seconds and second.seconds):
        return None
    series = []
    for name, slot, report in zip(NAMES, SLOTS, (first, second), strict=True):
        x, joined = figures.join_seconds(report.seconds)
        series.append(Series(f"{name} accepted", x, joined["accepted"], slot=slot))
    ours, theirs = (texts.number(each.rates.accepted_mean) for each in (first, second))
    told = f"A {ours}, B {theirs} a second on average."
    return over_time("Accepted events over time", told, series, (first, second), y="events a second", wide=FULL)


def freshness(first: Report, second: Report) -> Drawn | None:
    """Of each probe, how long after it was accepted the API told of it."""
    series = []
    for name, slot, report in zip(NAMES, SLOTS, (first, second), strict=True):
        seen = [
            (since(report, each.accepted_ms), (each.visible_ms - each.accepted_ms) / 1000)
            for each in report.probes
            if each.visible_ms is not None
        ]
        if seen:
            series.append(Series(f"{name} visible after", *columns(thin(seen)), Style.DOTS, slot=slot))
    if not series:
        return None
    told = f"A: {figures.spoken(first.freshness_ms)} B: {figures.spoken(second.freshness_ms)}"
    return over_time("Freshness over time", told, series, (first, second))


def lag(first: Report, second: Report) -> Drawn | None:
    """How far behind the farthest shard was."""
    series = []
    for name, slot, report in zip(NAMES, SLOTS, (first, second), strict=True):
        farthest: dict[float, float] = {}
        for each in report.lag_samples:
            if each.behind_ms is not None:
                at = float(int(since(report, each.at_ms)))
                farthest[at] = max(farthest.get(at, 0.0), each.behind_ms / 1000)
        if farthest:
            series.append(
                Series(f"{name} farthest shard", *columns(thin(sorted(farthest.items()), POINTS_MAX)), slot=slot)
            )
    if not series:
        return None
    told = "Seconds that the farthest shard of each was behind, second by second."
    return over_time("Lag over time", told, series, (first, second))


def queries(first: Report, second: Report) -> Drawn | None:
    """The 99th percentile of each question that both were asked."""
    theirs = {each.name: each.ms.p99 for each in second.queries}
    asked = [each for each in first.queries if each.name in theirs]
    return _bars(
        "Query latencies, p99",
        [each.name for each in asked],
        ([each.ms.p99 for each in asked], [theirs[each.name] for each in asked]),
        Axis("milliseconds", least=0),
        texts.milliseconds,
    )


def cost(first: Report, second: Report) -> Drawn | None:
    """Dollars of a million events, by service."""
    if first.cost is None or second.cost is None:
        return None
    services = list({**first.cost.by_service, **second.cost.by_service})
    return _bars(
        "Cost of a million events",
        services,
        [[each.by_service.get(name) for name in services] for each in (first.cost, second.cost)],
        Axis("US dollars a million events", least=0),
        texts.dollars,
    )


def _bars(
    title: str,
    groups: list[str],
    values: Sequence[Sequence[float | None]],
    axis: Axis,
    number: Callable[[float], str],
) -> Drawn | None:
    if not any(value is not None for each in values for value in each):
        return None
    series = [Bars(name, each, slot) for name, slot, each in zip(NAMES, SLOTS, values, strict=True)]
    told = "; ".join(
        f"{group}: "
        + ", ".join(
            f"{each.label} {'none' if (value := each.values[at]) is None else number(value)}" for each in series
        )
        for at, group in enumerate(groups)
    )
    return both(lambda size: bars(title, told, groups, series, value=axis, number=number, size=size))
