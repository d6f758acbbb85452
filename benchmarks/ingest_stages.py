"""Where the ingest handler's CPU goes, stage by stage, in the yardstick Y: the profile to read before making it faster.

    python -m benchmarks.ingest_stages

Profilers that look at Python's calls see little of it, for most of the work is in maps that run in C. So each stage's
function is wrapped by a clock of the thread's CPU, and a Y is measured just before each batch (`benchmarks.yardstick`).
The wrapping itself costs some hundredths of a Y. A stage's time is its own and that of the stages within it; "all else"
is what no stage has: freeing what the batch held, above all. Calls on other threads (encoding a put) are in the whole.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from statistics import median
from time import thread_time
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.ingest_cpu import EVENTS_PER_AGGREGATE, batches, counting
from benchmarks.yardstick import cpu_us, fold_lines
from chalicelib import definitions
from chalicelib.aws import aggregates_table
from chalicelib.consumers import counted_ids, fold, handle, ingest
from chalicelib.records import cloudevents, decode, kpl

WITHIN = "  "  # opens the name of a stage that lies within the one above it
STAGES: tuple[tuple[str, Any, str], ...] = (
    ("base64, sequence numbers", ingest, "parse_batch"),
    ("decode the records", decode.Decoder, "decode_all"),
    (f"{WITHIN}open the aggregate", kpl, "deaggregate"),
    (f"{WITHIN}{WITHIN}MD5", kpl, "md5"),
    (f"{WITHIN}JSON to checked events", cloudevents.EventDecoder, "decode_all"),
    (f"{WITHIN}times and columns", decode.Decoder, "_parts"),
    (f"{WITHIN}lateness, numbers", decode.Decoder, "_refusal"),
    (f"{WITHIN}fingerprints of ids", decode, "identities"),
    (f"{WITHIN}fingerprints of contents", decode, "contents"),
    (f"{WITHIN}ask the handlers", handle.Handling, "wants"),
    ("judge by the ids counted", counted_ids.CountedIds, "judge"),
    ("fold", fold.BatchFold, "_fold"),
    ("absorb into what stands", ingest, "absorb"),
    ("put the partials", aggregates_table.AggregatesTable, "put_partials"),
    ("effects of large orders", handle.Handling, "effects_of"),
    ("note the progress", aggregates_table.AggregatesTable, "advance"),
    ("log the ids", counted_ids.CountedIds, "remember"),
)


class Clock:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def wrap(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, timed."""

        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                self.seconds[stage] += thread_time() - started

        return timed


def measure(metrics: int, rounds: int, per_record: int, clock: Clock) -> dict[str, float]:
    """The median of each stage, and of the whole, in Y."""
    work = clock.wrap("whole", counting(definitions.METRICS[:metrics]))
    in_y: dict[str, list[float]] = defaultdict(list)
    for lines, event in batches(rounds, 1_000, per_record):
        y_us = cpu_us(fold_lines, lines, len(lines))
        clock.seconds.clear()
        work(event)
        for stage, seconds in clock.seconds.items():
            in_y[stage].append(seconds / len(lines) * 1e6 / y_us)
    return {stage: median(each) for stage, each in in_y.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description="CPU of the ingest handler by stage, in Y")
    arguments.add_argument("--rounds", type=int, default=15)
    arguments.add_argument("--per-record", type=int, default=EVENTS_PER_AGGREGATE, help="orders; 1: plain records")
    options = arguments.parse_args()
    clock = Clock()
    for stage, place, name in STAGES:
        setattr(place, name, clock.wrap(stage, getattr(place, name)))
    measured = {
        count: measure(count, options.rounds, options.per_record, clock) for count in (1, len(definitions.METRICS))
    }
    table = Table("", "`orders` alone", "all metrics", title=f"Y, medians of {options.rounds} batches of 10 000 orders")
    for stage, _, _ in STAGES:
        table.add_row(stage, *(f"{each.get(stage, 0):.2f}" for each in measured.values()))
    top = [stage for stage, _, _ in STAGES if not stage.startswith(WITHIN)]
    rests = [each["whole"] - sum(each.get(stage, 0) for stage in top) for each in measured.values()]
    table.add_row("all else", *(f"{rest:.2f}" for rest in rests))
    table.add_row("whole", *(f"{each['whole']:.2f}" for each in measured.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
