"""The events that every engine counts, made once and outside all timing, in each form in which an engine reads them.

A shard that takes 1 000 orders a second: each batch holds 10 000 of them, and comes ten seconds after the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
from rich.progress import Progress

from benchmarks.engines.totals import Groups, Totals, add, totals_of
from benchmarks.ingest_cpu import EVENTS_PER_AGGREGATE, EVENTS_PER_BATCH
from benchmarks.orders import ARRIVED_AT_MS, aggregated, lambda_event, orders

EVENTS_A_SECOND = 1_000
DATE_CHARACTERS = len("2026-11-23")
# Neighbours on a shard of Kinesis differ high up, by a counter, and low down, by a stamp.
FIRST_SEQUENCE_NUMBER = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898
SEQUENCE_NUMBER_STEP = (1 << 80) + (1 << 38) + 977

LambdaEvent = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """Some of the events.

    Shapes: lines, an event each, without the end of the line; aggregates, Lambda's Kinesis event of KPL aggregates.
    """

    lines: Sequence[bytes]
    aggregates: LambdaEvent
    first_sequence_number: int
    arrived_at_ms: int

    @property
    def records(self) -> LambdaEvent:
        """Lambda's Kinesis event of a record for each event, made anew: a million of them are gigabytes."""
        return lambda_event(
            list(self.lines), self.first_sequence_number, SEQUENCE_NUMBER_STEP, arrived_at_ms=self.arrived_at_ms
        )

    def first(self, events: int) -> "Batch":
        """Its first so many events, to a whole aggregate."""
        aggregates = -(-events // EVENTS_PER_AGGREGATE)
        lines = self.lines[: aggregates * EVENTS_PER_AGGREGATE]
        event = {"Records": self.aggregates["Records"][:aggregates]}
        return Batch(lines, event, self.first_sequence_number, self.arrived_at_ms)


@dataclass(frozen=True)
class Lines:
    """A file of the events, so many times over, and what is right of it."""

    path: Path
    totals: Totals
    times: int


@dataclass(frozen=True)
class Workload:
    """All events, by batch."""

    batches: Sequence[Batch]

    @cached_property
    def lines(self) -> list[bytes]:
        """Every event."""
        return [line for batch in self.batches for line in batch.lines]

    @cached_property
    def totals(self) -> Totals:
        """What is right, by the plainest way there is."""
        groups: Groups = {}
        for line in self.lines:
            add(groups, orjson.loads(line))
        return totals_of(groups)

    def first(self, events: int) -> "Workload":
        """The first so many events, or all: whole batches, or of the first batch whole aggregates."""
        per_batch = len(self.batches[0].lines)
        if events < per_batch:
            return Workload([self.batches[0].first(events)])
        return Workload(self.batches[: events // per_batch])

    def write(self, path: Path, times: int = 1) -> "Lines":
        """Make the file of them, a line each; several times over, each time days later."""
        totals: Totals = {}
        text = b"".join([line + b"\n" for line in self.lines])
        dates = sorted({date.fromisoformat(minute[:DATE_CHARACTERS]) for minute, _, _ in self.totals}, reverse=True)
        with path.open("wb") as file:
            for later in (timedelta(days=len(dates) * number) for number in range(times)):
                shifted = text
                for each in dates:  # the last first, for it may become what another is
                    shifted = shifted.replace(
                        b'"time":"%b' % f"{each}".encode(), b'"time":"%b' % f"{each + later}".encode()
                    )
                file.write(shifted)
                totals |= {
                    (_later(minute, later), currency, kind): total
                    for (minute, currency, kind), total in self.totals.items()
                }
        return Lines(path, totals, times)


def _later(minute: str, later: timedelta) -> str:
    return f"{date.fromisoformat(minute[:DATE_CHARACTERS]) + later}{minute[DATE_CHARACTERS:]}"


def make(events: int, progress: Progress) -> Workload:
    """Make so many events."""
    per_batch = min(events, EVENTS_PER_BATCH)
    starts = range(0, events, per_batch)
    return Workload(
        [
            _batch(number, start, min(per_batch, events - start))
            for number, start in enumerate(progress.track(starts, description="making events"), start=1)
        ]
    )


def _batch(number: int, start: int, events: int) -> Batch:
    spread_ms = events * 1_000 // EVENTS_A_SECOND
    arrived_at_ms = ARRIVED_AT_MS + number * spread_ms
    made = orders(events, spread_ms=spread_ms, seed=number, arrived_at_ms=arrived_at_ms)
    first = FIRST_SEQUENCE_NUMBER + start * SEQUENCE_NUMBER_STEP
    payloads = aggregated(made, EVENTS_PER_AGGREGATE)
    event = lambda_event(payloads, first, SEQUENCE_NUMBER_STEP, arrived_at_ms=arrived_at_ms)
    return Batch([order.data for order in made], event, first, arrived_at_ms)
