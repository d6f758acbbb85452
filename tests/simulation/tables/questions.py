"""Analysts: any question about any range, asked of the real query, and answered naively from base windows."""

import json
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from random import Random
from typing import Any

from chalicelib.access.grant import EVERYTHING
from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.windows import format_duration, format_instant, parse_instant
from chalicelib.query.endpoints import Query
from tests.builders import MINUTE_MS, STREAM
from tests.simulation.tables.aggregates import AggregatesTable
from tests.simulation.tables.events import EventsStream
from tests.simulation.tables.oracle import OVERFLOW, Groups, merged
from tests.simulation.tables.stage import LATENESS_MS, NAMES, Stage

STEPS = ("1m", "2m", "3m", "5m", "10m", "15m", "1h", "2h", "all")  # each divides a day: windows begin at midnight

Rows = dict[tuple[int, tuple[str | None, ...]], tuple[Any, ...]]


class Analysts:
    """Ask a stage."""

    def __init__(self, chance: Random, stage: Stage, aggregates: AggregatesTable, events: EventsStream) -> None:
        self._chance = chance
        self._query = Query(
            stage.catalog,
            stage="test",
            stream=STREAM,
            lateness_ms=LATENESS_MS,
            shares=aggregates,
            progress=aggregates,
            settled=aggregates,
            shards=events,
            letters=None,
            clock_ms=lambda: 0,
        )

    def ask(self, metric: Metric, base_windows: Mapping[int, Groups], first_ms: int, last_ms: int) -> None:
        """Ask about some range within these instants, and hold the answer against what base windows hold."""
        start_ms, end_ms = sorted(self._chance.sample(range(first_ms, last_ms + 2 * MINUTE_MS, MINUTE_MS), 2))
        step = self._chance.choice(STEPS)
        asked = {
            "start": [format_instant(start_ms)],
            "end": [format_instant(end_ms)],
            "step": [step],
            "limit": ["10000"],
            **({"group_by": [",".join(metric.by)]} if metric.by else {}),
        }
        answer = json.loads(
            self._query.windows(EVERYTHING, metric.name, asked, None, lambda: 60_000).body, parse_float=Decimal
        )
        assert answer["next"] is None
        expected = _expected(metric, base_windows, start_ms, end_ms, step)
        assert _rows(metric, answer) == expected, f"{metric.name}: an answer is not what its windows hold"


def _rows(metric: Metric, answer: Mapping[str, Any]) -> Rows:
    measures = [NAMES[accumulator.kind] for accumulator in metric.accumulators]
    return {
        (parse_instant(row["window_start"]), tuple(row[name] for name in metric.by)): tuple(
            row[name] for name in measures
        )
        for row in answer["data"]
    }


def _expected(metric: Metric, base_windows: Mapping[int, Groups], start_ms: int, end_ms: int, step: str) -> Rows:
    step_ms = next((ms for ms in range(MINUTE_MS, 3 * 60 * MINUTE_MS, MINUTE_MS) if format_duration(ms) == step), None)
    asked: dict[int, list[Groups]] = defaultdict(list)
    for window_start_ms, groups in base_windows.items():
        if start_ms <= window_start_ms < end_ms:
            first_ms = start_ms if step_ms is None else max(start_ms, window_start_ms - window_start_ms % step_ms)
            asked[first_ms].append(groups)
    return {
        (window_start_ms, (None,) * len(metric.by) if group == OVERFLOW else group): states
        for window_start_ms, shares in asked.items()
        for group, states in merged(metric, shares).items()
    }
