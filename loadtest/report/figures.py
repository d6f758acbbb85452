"""The charts of a report, each in two widths: for a screen, and for a phone. Pure.

Units: x is seconds since the load's start.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from statistics import fmean

from msgspec import Struct

from loadtest.recording import Second
from loadtest.report import texts
from loadtest.report.charts import Axis, Bars, Mark, Series, Size, Style, bars, lines, short_number
from loadtest.report.report import Report, Spread

POINTS_MAX = 600  # of a line; more are drawn together
DOTS_MAX = 1_500
SHARDS_MAX = 8  # as many lines as can be told apart
HALF, FULL = (560, 250), (1160, 300)  # of the page's columns, in pixels


class Drawn(Struct, frozen=True):
    """A chart as SVG text, for a wide page and for a narrow one."""

    wide: str
    narrow: str


def rates(report: Report) -> Drawn | None:
    """Offered and accepted events and refused records, each second."""
    seconds = report.seconds
    if not seconds:
        return None
    x, joined = join_seconds(seconds)
    series = [
        Series("offered", x, joined["offered"], Style.AREA, slot=7),
        Series("accepted", x, joined["accepted"], slot=0),
    ]
    if report.rates.throttled:
        series.append(Series("records refused", x, joined["throttled"], slot=1))
    told = (
        f"Events offered and accepted each second. Accepted: {report.rates.accepted_mean:,.0f} a second on average, "
        f"{report.rates.accepted_peak:,} at most."
    )
    return over_time("Rates over time", told, series, (report,), y="a second", marks=_marks(report), wide=FULL)


def freshness(report: Report) -> Drawn | None:
    """Of each probe, how long after it was accepted the API told of it."""
    seen = [(each.accepted_ms, each.visible_ms) for each in report.probes if each.visible_ms is not None]
    if not report.probes:
        return None
    points = thin([(since(report, at), (visible - at) / 1000) for at, visible in seen])
    series = [Series("visible after", *columns(points), Style.DOTS, slot=0)]
    never = [since(report, each.accepted_ms) for each in report.probes if each.visible_ms is None]
    if never:
        top = max((seconds for _, seconds in points), default=1.0)
        series.append(Series("never visible", never, [top * 1.1] * len(never), Style.DOTS, slot=1))
    told = f"Seconds from an event's acceptance until the API tells of it. {spoken(report.freshness_ms)}"
    return over_time("Freshness over time", told, series, (report,), marks=_marks(report))


def lag(report: Report) -> Drawn | None:
    """How far behind each shard was; of many shards, those that were the farthest."""
    samples: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for each in report.lag_samples:
        if each.behind_ms is not None:
            samples[each.shard_id].append((since(report, each.at_ms), each.behind_ms / 1000))
    if not samples:
        return None
    worst = sorted(report.lags, key=lambda each: -(each.ms.max or 0))[:SHARDS_MAX]
    shown = sorted(each.shard_id for each in worst)
    series = [Series(short_shard(shard), *columns(thin(samples[shard], POINTS_MAX))) for shard in shown]
    told = f"Seconds since the arrival of the last record that was committed, of {len(shown)} shards."
    return over_time("Lag of each shard over time", told, series, (report,), marks=_marks(report))


def queries(report: Report) -> Drawn | None:
    """How long questions took, by their names."""
    if not report.queries:
        return None
    names = [each.name for each in report.queries]
    series = [
        Bars("p50", [each.ms.p50 for each in report.queries], slot=0),
        Bars("p95", [each.ms.p95 for each in report.queries], slot=2),
        Bars("p99", [each.ms.p99 for each in report.queries], slot=3),
    ]
    if not any(value is not None for each in series for value in each.values):
        return None
    spoken_ones = " ".join(f"{each.name}: {spoken(each.ms)}" for each in report.queries)
    axis = Axis("milliseconds", least=0)
    return both(
        lambda size: bars(
            "Query latencies", spoken_ones, names, series, value=axis, number=texts.milliseconds, size=size
        )
    )


def cost(report: Report) -> Drawn | None:
    """Dollars of a million events, by service."""
    if report.cost is None or not any(report.cost.by_service.values()):
        return None
    services = {name: value for name, value in report.cost.by_service.items() if value}
    spoken_ones = ", ".join(f"{name} {value:.4f}" for name, value in services.items())
    axis = Axis("US dollars a million events", least=0)
    series = [Bars("US dollars", list(services.values()))]
    return both(
        lambda size: bars(
            "Cost of a million events",
            spoken_ones,
            list(services),
            series,
            value=axis,
            number=texts.dollars,
            size=size,
        )
    )


def tables(report: Report) -> Drawn | None:
    """Units of a million events, by table."""
    if report.cost is None or not report.cost.tables:
        return None
    names = [short_table(each.table, report.stage.name) for each in report.cost.tables]
    series = [
        Bars("write units", [each.write_units_per_million for each in report.cost.tables], slot=0),
        Bars("read units", [each.read_units_per_million for each in report.cost.tables], slot=2),
    ]
    axis = Axis("units a million events", least=0)
    spoken_ones = ", ".join(
        f"{name} {each.write_units_per_million:,.0f} written, {each.read_units_per_million:,.0f} read"
        for name, each in zip(names, report.cost.tables, strict=True)
    )
    return both(
        lambda size: bars("Units by table", spoken_ones, names, series, value=axis, number=texts.number, size=size)
    )


def join_seconds(seconds: Sequence[Second], points_max: int = POINTS_MAX) -> tuple[list[float], dict[str, list[float]]]:
    """Means of so many seconds each that a line has no more than so many points. Returns: x, and by field y."""
    width = -(-(seconds[-1].at + 1) // points_max)
    joined = [(at, list(each)) for at, each in groupby(seconds, lambda second: second.at // width)]
    fields = ("offered", "accepted", "throttled")
    values = {name: [fmean(getattr(second, name) for second in each) for _, each in joined] for name in fields}
    return [float(at * width) for at, _ in joined], values


def thin(points: Sequence[tuple[float, float]], points_max: int = DOTS_MAX) -> list[tuple[float, float]]:
    """Of many points the highest of each so many neighbours: what stands out is never left out."""
    width = -(-len(points) // points_max) or 1
    ordered = sorted(points)
    return [max(ordered[at : at + width], key=lambda point: point[1]) for at in range(0, len(ordered), width)]


def short_shard(shard_id: str) -> str:
    """A shard's number without its zeros."""
    name, dash, number = shard_id.rpartition("-")
    return f"shard {int(number)}" if dash and name == "shardId" and number.isdigit() else shard_id


def short_table(table: str, stage: str) -> str:
    """A table's name without what all tables of the stage begin with."""
    return table.removeprefix(f"highwater-{stage}-")


def spoken(spread: Spread) -> str:
    """Milliseconds as a sentence, for those who hear it."""
    if not spread.count:
        return "None was measured."
    told = ", ".join(
        f"{name} {'never' if value is None else short_number(round(value)) + ' ms'}"
        for name, value in (("p50", spread.p50), ("p95", spread.p95), ("p99", spread.p99), ("max", spread.max))
    )
    return f"{told}."


def time_axis(*reports: Report) -> Axis:
    """Seconds since the start, until the load's end: the same in all charts, so that what stands below is one time."""
    end = max(1.0, *(since(report, report.stopped_ms) for report in reports))
    return Axis("seconds since the start", least=0, greatest=end)


def over_time(
    title: str,
    told: str,
    series: Sequence[Series],
    reports: Sequence[Report],
    *,
    y: str = "seconds",
    marks: Sequence[Mark] = (),
    wide: tuple[int, int] = HALF,
) -> Drawn:
    """Draw lines over the time of a load, or of several over each other. Shapes: told, what they say in words."""
    x, values = time_axis(*reports), Axis(y, least=0)
    return both(lambda size: lines(title, told, series, x=x, y=values, marks=marks, size=size), wide)


def both(draw: Callable[[tuple[int, int]], str], wide: tuple[int, int] = HALF) -> Drawn:
    """Draw a chart in both widths."""
    return Drawn(draw(wide), draw(Size.NARROW.value))


def _marks(report: Report) -> list[Mark]:
    return [Mark(since(report, fault.at_ms), str(number)) for number, fault in enumerate(report.faults, 1)]


def since(report: Report, at_ms: int) -> float:
    """An instant as seconds since the load's start."""
    return (at_ms - report.started_ms) / 1000


def columns(points: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Points as their x and their y."""
    listed = list(points)
    return [x for x, _ in listed], [y for _, y in listed]
