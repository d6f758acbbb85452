"""A stage that answers what it has to, page by page, until a test makes it tell something else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from math import ceil
from typing import Any

from msgspec.structs import replace

from chalicelib import definitions
from chalicelib.aggregates.windows import format_instant, parse_instant
from chalicelib.query.describe import describe_metric
from chalicelib.query.formats import write_json
from loadtest.expectation import Expected, Ranked, expect
from loadtest.profile import Analysts, Arrivals, Events, Profile, Shares
from loadtest.proof.api import JSON, ApiError
from loadtest.recording import Ledger, Recording, Run, Stage, StageKind
from loadtest.traffic import PROBERS_FROM
from loadtest.traffic.columns import Planner

STARTED_MS = 1_795_521_630_000  # half a minute before a window's end
DAY_MS = 86_400_000
METRICS = {metric.name: metric for metric in definitions.METRICS}
Rows = dict[tuple[int, tuple[str | None, ...]], dict[str, Any]]


def quantile(amounts: Ranked, rank: float) -> Decimal:
    """The least amount at or below which this share of them lies."""
    return Decimal(amounts.cents[max(0, ceil(rank * len(amounts)) - 1)]).scaleb(-2)


def told(metric: str, truth: Mapping[str, Any]) -> dict[str, Any]:
    """What a stage that makes no mistake answers of a group."""
    if metric != "order_value":
        return dict(truth)
    amounts = truth["amounts"]
    return {"count": truth["count"], **{f"p{p}": quantile(amounts, p / 100) for p in (50, 95, 99)}}


@dataclass
class FakeApi:
    """Answers from rows that a test may change. Shapes: page_rows, at most so many rows a page."""

    rows: dict[str, Rows]
    together: dict[str, Rows]
    letters: dict[str, int]
    page_rows: int = 7
    rows_max: int = 10**9
    complete_until_ms: int = STARTED_MS + DAY_MS
    are_letters_complete: bool = True
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def get(self, path: str, parameters: Mapping[str, str]) -> Any:
        self.asked.append((path, dict(parameters)))
        if path == "/v1/metrics":
            described = [describe_metric(metric, DAY_MS) for metric in METRICS.values()]
            return JSON.decode(write_json({"metrics": described}))
        if path == "/v1/dead-letters":
            counts = [{"day": "2026-11-24", "reason": reason, "count": n} for reason, n in self.letters.items()]
            return {"counts": counts, "complete": self.are_letters_complete}
        return self._windows(path.split("/")[3], parameters)

    def _windows(self, name: str, parameters: Mapping[str, str]) -> Any:
        start_ms, end_ms = (parse_instant(parameters[end]) for end in ("start", "end"))
        is_together = parameters.get("step") == "all"
        rows = self.together[name] if is_together else self.rows[name]
        wanted = parameters.get("where", ":").partition(":")[2].split(",")
        found = [
            {
                "window_start": format_instant(start_ms if is_together else window_ms),
                **dict(zip(METRICS[name].by, group, strict=True)),
                **values,
            }
            for (window_ms, group), values in rows.items()
            if (is_together or start_ms <= window_ms < end_ms) and (wanted == [""] or group[0] in wanted)
        ]
        if len(found) > self.rows_max:
            raise ApiError("over so many rows before paging", 400, "group_by")
        first = int(parameters.get("cursor", 0))
        page = found[first : first + self.page_rows]
        following = first + len(page)
        return {
            "complete_until": format_instant(self.complete_until_ms),
            "data": page,
            "next": str(following) if following < len(found) else None,
        }


@dataclass
class World:
    """A run, what it has to come to, and a stage that tells just that."""

    recording: Recording
    expected: Expected
    api: FakeApi


def copy_of(world: World) -> World:
    """The same, of which a test may change the answers."""
    api = world.api
    copies = (
        {name: {place: dict(values) for place, values in rows.items()} for name, rows in of_all.items()}
        for of_all in (api.rows, api.together)
    )
    return World(replace(world.recording), world.expected, FakeApi(*copies, dict(api.letters)))


def make_world(
    profile: Profile | None = None,
    *,
    kind: StageKind = StageKind.OWN,
    probes: int = 3,
    run_id: str = "r1",
    **changes: Any,
) -> World:
    profile = profile or PROFILE
    run = Run(run_id, profile, STARTED_MS, workers=2)
    ledgers = [Ledger(worker, [(0, Planner(run, worker).schedule.total - 1)], []) for worker in range(run.workers)]
    if probes:
        ledgers.append(Ledger(PROBERS_FROM, [(0, probes - 1)], []))
    expected = expect(run, ledgers)
    recording = Recording(
        run=run,
        stage=Stage("t", kind, "http://127.0.0.1:1", 4, DAY_MS),
        stopped_ms=STARTED_MS + int(profile.arrivals.seconds * 1000),
        complete_until_ms=STARTED_MS + 60_000,
        ledgers=ledgers,
        seconds=[],
        duplicates_reported=expected.duplicates,
        **changes,
    )
    return World(recording, expected, stage_of(expected))


def stage_of(expected: Expected) -> FakeApi:
    """A stage that tells just that."""
    rows = {
        name: {place: told(name, truth) for place, truth in places.items()} for name, places in expected.metrics.items()
    }
    together = {
        name: {(0, group): told(name, truth) for group, truth in groups.items()}
        for name, groups in expected.totals.items()
    }
    return FakeApi(rows, together, dict(expected.dead_letters))


SHARES = Shares(duplicates=0.05, conflicts=0.03, late=0.1, too_late=0.03, future=0.03, poison=0.05, hot=0.1)
PROFILE = Profile("a test's", Arrivals(rate=60, seconds=40), Events(customers=30, shares=SHARES), Analysts(probes=0.1))
