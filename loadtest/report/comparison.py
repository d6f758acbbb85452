"""Two reports side by side: each figure, how it changed, and which is better. Pure."""

from collections.abc import Callable, Iterator
from enum import StrEnum

from msgspec import Struct

from loadtest.report import texts
from loadtest.report.report import Report, Spread

ALIKE = 0.02  # a change no larger than this tells nothing: two runs of one thing differ as much
MILLION = 1_000_000


class Better(StrEnum):
    """Which of two figures is better."""

    FIRST = "A"
    SECOND = "B"
    ALIKE = "alike"
    UNKNOWN = ""


class Figure(Struct, frozen=True):
    """One figure of both. Shapes: change, of the first's value, None where there is none to speak of."""

    name: str
    first: str
    second: str
    change: float | None
    better: Better


def figures(first: Report, second: Report) -> list[Figure]:
    """Every figure of both reports, in the order of a report."""
    return list(_figures(first, second))


def warnings(first: Report, second: Report) -> list[str]:
    """Why the two may not be compared as they stand."""
    told = []
    if first.profile != second.profile:
        told.append(f"the profiles differ: {_named(first)} and {_named(second)}")
    for what, of in _CIRCUMSTANCES:
        ours, theirs = of(first), of(second)
        if ours != theirs:
            told.append(f"{what} differ: {ours or texts.NOTHING} and {theirs or texts.NOTHING}")
    return told


_CIRCUMSTANCES: tuple[tuple[str, Callable[[Report], str]], ...] = (
    ("the machines", lambda report: report.machine),
    ("the kinds of stage", lambda report: str(report.stage.kind)),
    ("the numbers of shards", lambda report: str(report.stage.shards)),
    ("the numbers of workers", lambda report: str(report.workers)),
    ("the versions", lambda report: ", ".join(f"{name} {version}" for name, version in report.versions.items())),
)


def _named(report: Report) -> str:
    return report.profile_name or report.profile.description


def _figures(a: Report, b: Report) -> Iterator[Figure]:
    number, share = texts.number, "{:.2%}".format
    yield _more("accepted events a second", a.rates.accepted_mean, b.rates.accepted_mean, number)
    yield _more("accepted, best second", a.rates.accepted_peak, b.rates.accepted_peak, number)
    yield _more("accepted of offered", _of(a.rates.accepted, a), _of(b.rates.accepted, b), share)
    yield _less("records refused, of a million events", _per_million(a), _per_million(b), number)
    yield _less("events waiting at most", a.rates.waiting_max, b.rates.waiting_max, number)
    yield from _spreads("freshness", a.freshness_ms, b.freshness_ms)
    asked = {each.name: each.ms for each in b.queries}
    for query in a.queries:
        if query.name in asked:
            yield from _spreads(query.name, query.ms, asked[query.name])
    yield _less("lag p99, the farthest shard", _lag(a, "p99"), _lag(b, "p99"), texts.milliseconds)
    yield _less("lag at most", _lag(a, "max"), _lag(b, "max"), texts.milliseconds)
    if a.cost is not None and b.cost is not None:
        yield _less("dollars, of a million events", a.cost.usd_per_million, b.cost.usd_per_million, texts.dollars)
        of_second = {each.unit: each.per_million for each in b.cost.units}
        for unit in a.cost.units:
            if unit.unit in of_second:
                yield _less(f"{unit.unit}, of a million events", unit.per_million, of_second[unit.unit], number)
        ours, theirs = (sum(each.per_million for each in cost.requests) for cost in (a.cost, b.cost))
        yield _less("requests, of a million events", ours, theirs, number)
    yield _less("differences", len(a.verdict.differences), len(b.verdict.differences), number)


def _spreads(name: str, a: Spread, b: Spread) -> Iterator[Figure]:
    for which, ours, theirs in (("p50", a.p50, b.p50), ("p95", a.p95, b.p95), ("p99", a.p99, b.p99)):
        told = texts.percentile_of(a, ours), texts.percentile_of(b, theirs)
        lasting = [float("inf") if value is None and of.count else value for value, of in ((ours, a), (theirs, b))]
        yield _figure(f"{name}, {which}", told, *lasting, is_more_better=False)


def _more(name: str, a: float | None, b: float | None, write: Callable[[float], str]) -> Figure:
    return _figure(name, _told(a, b, write), a, b, is_more_better=True)


def _less(name: str, a: float | None, b: float | None, write: Callable[[float], str]) -> Figure:
    return _figure(name, _told(a, b, write), a, b, is_more_better=False)


def _told(a: float | None, b: float | None, write: Callable[[float], str]) -> tuple[str, str]:
    first, second = (texts.NOTHING if value is None else write(value) for value in (a, b))
    return first, second


def _figure(name: str, told: tuple[str, str], a: float | None, b: float | None, *, is_more_better: bool) -> Figure:
    if a is None or b is None:
        return Figure(name, *told, None, Better.UNKNOWN)
    change = (b - a) / a if a and max(a, b) != float("inf") else None
    if a == b or (change is not None and abs(change) <= ALIKE):
        return Figure(name, *told, change, Better.ALIKE)
    return Figure(name, *told, change, Better.SECOND if (b > a) is is_more_better else Better.FIRST)


def _of(accepted: int, report: Report) -> float | None:
    return accepted / report.rates.offered if report.rates.offered else None


def _per_million(report: Report) -> float | None:
    return report.rates.throttled / report.rates.accepted * MILLION if report.rates.accepted else None


def _lag(report: Report, which: str) -> float | None:
    values = [getattr(each.ms, which) for each in report.lags]
    return max((value for value in values if value is not None), default=None)
