"""Events counted by a core: Highwater's whole ingest beside what one would otherwise pick, all with the same totals.

    python -m benchmarks engines [--set engines.rounds=5]

All count the same events: orders of some 246 bytes, by minute, currency and order type, with exact revenue. What an
engine reads is made beforehand and not timed, in the form in which it is handed over: Lambda's events (of Kinesis
records in base64, each of a KPL aggregate or of an event), or a file of lines. What it costs is the CPU of its process
and of all that this has started, every thread. Just before each pass Y (`benchmarks.yardstick`) counts the same events,
and the ratio of the two is the result; engines take turns. All is pinned to one core, but the emulated DynamoDB.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial as bind
from gc import collect, freeze, unfreeze
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import msgspec
from msgspec import Struct
from rich.progress import Progress

from benchmarks.engines import highwater, in_lambda
from benchmarks.engines.apart import ENVIRONMENTS, HERE, Apart, python_of
from benchmarks.engines.engine import Engine, Pass, UnavailableError
from benchmarks.engines.stored import StoredHighwater, StoredIdempotency
from benchmarks.engines.streaming import FromFile
from benchmarks.engines.totals import by_currency_and_type, digest
from benchmarks.engines.workload import Workload, make
from benchmarks.page import Bar, Chart, Headline, Part, Table
from benchmarks.suite import Options
from benchmarks.yardstick import fold_lines
from chalicelib import definitions
from loadtest.report import charts
from localstage.emulator import Emulator

NAME = "engines"
PACKAGES = ("psutil", "protobuf")
YARDSTICK_EVENTS_MIN = 100_000  # fewer are counted too quickly to be timed
FIVE, ONE, STORED, STORED_ONE = (
    "Highwater",
    "Highwater, one metric",
    "Highwater, stored",
    "Highwater, one metric, stored",
)
IDEMPOTENCY = StoredIdempotency.name
FLINK, FURTHER = "Flink SQL", "going on"
ONE_WITHOUT_IDS = "Highwater, one metric, no ids"
WHY_FLINK = (
    "It reads lines, without base64 or aggregates, parses three fields of each, knows no ids and stores nothing."
)
WHOLE_MAX, ONE_MAX = 3.0, 1.9  # Y
CPU_TIMES_MIN, UNITS_TIMES_MIN = 200, 100


class Settings(Struct, frozen=True):
    """What is measured. Shapes: events, of most engines; the others, which are slow, count the first so many of them.

    passes_max is how often Flink counts them at most before it is taken to be warm; further, how often more in the job
    that goes on; installs, whether environments of their own are made for those who need one.
    """

    events: int = 1_000_000
    rounds: int = 3
    logged_events: int = 100_000
    windowed_events: int = 100_000
    stored_events: int = 100_000
    idempotent_events: int = 2_000
    passes_max: int = 12
    further: int = 2
    installs: bool = True
    apart: tuple[str, ...] = ("bytewax", "flink")


QUICK = Settings(
    events=5_000,
    rounds=1,
    logged_events=1_000,
    windowed_events=1_000,
    stored_events=5_000,
    idempotent_events=200,
    passes_max=1,
    installs=False,
)


class Round(Struct, frozen=True):
    """One pass and the yardstick just before it. Units: microseconds an event; wall is by the clock."""

    y_us: float
    us: float
    wall_us: float
    in_y: float


class Measured(Struct, frozen=True):
    """What an engine came to.

    Shapes: totals is their digest, the same for all that counted the same events; counted, what of the requests is
            counted, for a million events. Units: us, y_us as above, medians; events_a_second, of CPU.
    """

    name: str
    reads: str
    note: str
    events: int
    totals: str
    in_y: float
    in_y_min: float
    in_y_max: float
    us: float
    y_us: float
    wall_us: float
    events_a_second: int
    a_million: dict[str, float]
    warm_up_seconds: list[float]
    rounds: list[Round]


def measure(options: Options, progress: Progress) -> dict[str, Any]:
    """Measure all engines that can be had here. Returns: each, in the order of the table, and those that cannot."""
    settings: Settings = options.settings
    unavailable: dict[str, str] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="highwater-engines-")))
        emulator = stack.enter_context(Emulator(0, folder / "aws.log"))
        stack.enter_context(_pinned())
        workload = make(settings.events, progress)
        engines = [*_in_this_process(settings, workload), *_stored(settings, workload, emulator.endpoint_url)]
        for name in settings.apart:
            try:
                engines += APART[name](settings, workload, folder, stack)
            except UnavailableError as error:
                unavailable[name] = str(error)
        collect()
        freeze()  # the input is no garbage, and no engine is to pay for looking
        stack.callback(unfreeze)
        measured = _measure(engines, settings.rounds, workload, progress, unavailable)
    return {
        "event_bytes": round(sum(map(len, workload.lines)) / len(workload.lines), 1),
        "groups": len(workload.totals),
        "passes_max": settings.passes_max,
        "engines": measured,
        "unavailable": unavailable,
        "versions": _versions(settings.apart),
    }


def _measure(
    engines: Sequence[Engine], rounds: int, workload: Workload, progress: Progress, unavailable: dict[str, str]
) -> list[Measured]:
    warm_ups: dict[str, list[float]] = {}
    passes: dict[str, list[tuple[Pass, Round]]] = {engine.name: [] for engine in engines}
    for engine in progress.track(engines, description="warming up"):
        with _unless_unavailable(engine, unavailable):
            warm_ups[engine.name] = engine.warm_up()
    for number in range(rounds):
        turn = [*engines[number % len(engines) :], *engines[: number % len(engines)]]
        for engine in progress.track(turn, description=f"round {number + 1} of {rounds}"):
            if engine.name not in unavailable:
                with _unless_unavailable(engine, unavailable):
                    passes[engine.name].append(_pass(engine, number, workload))
    there = [engine for engine in engines if engine.name not in unavailable]
    return [_measured(engine, passes[engine.name], warm_ups[engine.name]) for engine in there]


@contextmanager
def _unless_unavailable(engine: Engine, unavailable: dict[str, str]) -> Iterator[None]:
    try:
        yield
    except UnavailableError as error:
        unavailable[engine.name] = str(error)


def _pass(engine: Engine, number: int, workload: Workload) -> tuple[Pass, Round]:
    y_us = _yardstick(engine.workload, workload)
    passed = engine.run(number)
    if passed.totals != engine.workload.totals:
        raise RuntimeError(f"{engine.name} counted something else")
    us, wall_us = passed.cpu_seconds / passed.events * 1e6, passed.wall_seconds / passed.events * 1e6
    return passed, Round(y_us, us, wall_us, us / y_us)


def _yardstick(counted: Workload, whole: Workload) -> float:
    """Y of the same events, or of more of them if they are few; microseconds an event."""
    taken = counted if len(counted.lines) >= YARDSTICK_EVENTS_MIN else whole.first(YARDSTICK_EVENTS_MIN)
    collect()
    started = process_time()
    totals = fold_lines(taken.lines)
    seconds = process_time() - started
    if totals != by_currency_and_type(taken.totals):
        raise RuntimeError("Y counted something else")
    return seconds / len(taken.lines) * 1e6


def _measured(engine: Engine, passes: Sequence[tuple[Pass, Round]], warm_up_seconds: list[float]) -> Measured:
    rounds = [each for _, each in passes]
    ratios = [each.in_y for each in rounds]
    us = median(each.us for each in rounds)
    last = passes[-1][0]
    return Measured(
        name=engine.name,
        reads=engine.reads,
        note=engine.note,
        events=last.events,
        totals=digest(last.totals),
        in_y=median(ratios),
        in_y_min=min(ratios),
        in_y_max=max(ratios),
        us=us,
        y_us=median(each.y_us for each in rounds),
        wall_us=median(each.wall_us for each in rounds),
        events_a_second=round(1e6 / us),
        a_million={name: number / last.events * 1e6 for name, number in last.counted.items()},
        warm_up_seconds=warm_up_seconds,
        rounds=rounds,
    )


@contextmanager
def _pinned() -> Iterator[None]:
    """This process, and all that it starts, on one core; where a system cannot do that, on all."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _in_this_process(settings: Settings, workload: Workload) -> list[Engine]:
    logged = workload.first(settings.logged_events)
    engines: list[Engine] = []
    engines += highwater.engines(workload)
    engines += in_lambda.engines(workload, logged)
    return engines


def _stored(settings: Settings, workload: Workload, endpoint_url: str) -> list[Engine]:
    few = workload.first(settings.stored_events)
    return [
        StoredHighwater(STORED, "the metrics shipped, puts included", few, endpoint_url, definitions.METRICS),
        StoredHighwater(STORED_ONE, "`orders` alone, puts included", few, endpoint_url, highwater.ONE_METRIC),
        StoredIdempotency(workload.first(settings.idempotent_events), endpoint_url),
    ]


def _bytewax(settings: Settings, workload: Workload, folder: Path, stack: ExitStack) -> list[Engine]:
    python = _python_of("bytewax", settings)
    process = stack.enter_context(Apart(python, HERE / "bytewax_flow.py", folder / "bytewax.log"))
    few = workload.first(settings.windowed_events)
    once, of_few = workload.write(folder / "events.jsonl"), few.write(folder / "few.jsonl")
    return [
        FromFile(
            "Bytewax, fold_final",
            "one worker, orjson; nothing before the end",
            workload,
            process,
            once,
            way="fold_final",
        ),
        FromFile("Bytewax, fold_window", "one worker, orjson; by event time", few, process, of_few, way="fold_window"),
    ]


def _flink(settings: Settings, workload: Workload, folder: Path, stack: ExitStack) -> list[Engine]:
    if shutil.which("java") is None:
        raise UnavailableError("there is no Java")
    python = _python_of("flink", settings)
    once = workload.write(folder / "events.jsonl")
    often = workload.write(folder / "further.jsonl", 1 + settings.further)
    engines: list[Engine] = []
    for mode in ("batch", "streaming"):
        process = stack.enter_context(Apart(python, HERE / "flink_job.py", folder / f"flink-{mode}.log"))
        name = f"{FLINK}, {mode}"
        engines += [
            FromFile(name, "a job, start to end", workload, process, once, passes_max=settings.passes_max, mode=mode),
            FromFile(
                f"{name}, {FURTHER}",
                "what as many more cost in one job",
                workload,
                process,
                once,
                further=often,
                mode=mode,
            ),
        ]
    return engines


APART: dict[str, Callable[[Settings, Workload, Path, ExitStack], list[Engine]]] = {"bytewax": _bytewax, "flink": _flink}


def _python_of(name: str, settings: Settings) -> Path:
    return python_of(HERE / f"requirements-{name}.txt", ENVIRONMENTS / name, installs=settings.installs)


def _versions(apart: Sequence[str]) -> dict[str, str]:
    """Of what runs in environments of its own, as pinned; and Java's."""
    pinned = [line for name in apart for line in (HERE / f"requirements-{name}.txt").read_text().splitlines()]
    named = dict(line.split("==") for line in pinned if line.startswith(("apache-flink==", "bytewax==")))
    if java := shutil.which("java"):
        told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)  # noqa: S603
        named["java"] = told.stderr.partition("\n")[0].strip()
    return named


TEXT = """\
Count and exact revenue of orders by minute, currency and order type: every engine counts the same events, and each pass
was checked to come to the same totals. *in Y* is what an event costs beside `orjson.loads`, `Decimal` and a dict over
plain lines, timed just before each pass over the same events; engines take turns, and the median and the extremes of
the rounds are told. CPU is of the engine's process and all that it started, every thread, on one core.

Making the input is not timed. What reads Kinesis records is given Lambda's event as the runtime hands it over, with
base64: *KPL* are aggregates of 200 events, *records* have an event each. What reads *lines* is given a file, without
base64 or aggregates. Only Highwater checks events against a schema and drops duplicates; with *stored* in its name it
also puts its results into an emulated DynamoDB, where otherwise a client answers at once. *no ids* makes fingerprints
of ids, as always, but neither looks them up nor remembers nor logs them: the difference is what exactly once takes, and
grows with the ids held. The others keep their counts in memory.

- `aws_kinesis_agg`, Powertools: a loop or handler as their documentation has it. BatchProcessor takes a record at a
  time, so of KPL aggregates it is given what `deaggregate_records` makes of them. Its Logger logs each payload once, to
  a stream that drops it, and counts fewer events, being slow.
- Idempotency: `idempotent_function` around the record's handler, by `eventID`, on `DynamoDBPersistenceLayer`; a
  sample of the events. CPU of this process alone; each event takes a put before the handler and an update after it.
- Bytewax: `fold_final` is the cheapest way, and tells nothing before the input ends; `fold_window` by event time is
  the one for a stream, on a sample.
- Flink: SQL alone, parallelism 1, on the filesystem connector and `json`; of a batch grouped by the minute's text, of a
  stream by `TUMBLE` with a watermark. It counts until a pass gets no faster (at most {passes} times), which is not
  timed; then a job from start to end is. *going on* is what as many more events cost in a job that goes on, without its
  start and the compilation of what Flink generates for it.\
"""


def describe(figures: dict[str, Any]) -> Part:
    """The engines by what an event costs, what is reached of what must be, and the costs of what stores."""
    engines = msgspec.convert(figures["engines"], list[Measured])
    named = {each.name: each for each in engines}
    tables = [_table(engines), _stored_table([each for each in engines if each.a_million])]
    if figures["unavailable"]:
        rows = [[name, why] for name, why in figures["unavailable"].items()]
        tables.append(Table("not measured here", ["engine", "why"], rows))
    versions = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    return Part(
        "Beside other engines",
        TEXT.format(passes=figures["passes_max"]) + f"\n\nIn environments of their own: {versions}.",
        tables,
        [Chart("engines", "What an event costs in each engine, in Y, on a logarithmic scale", bind(_draw, engines))],
        _bars(named),
        _headlines(named),
    )


def _table(engines: Sequence[Measured]) -> Table:
    rows = [
        [
            each.name,
            each.reads,
            f"{each.events:,}",
            _short(each.in_y),
            f"{_short(each.in_y_min)}-{_short(each.in_y_max)}",
            _short(each.us),
            f"{each.events_a_second:,}",
        ]
        for each in sorted(engines, key=lambda each: each.in_y)
    ]
    headings = ["", "reads", "events", "in Y", "min-max", "µs CPU an event", "events a second and core"]
    return Table(f"CPU an event, medians of {len(engines[0].rounds)}", headings, rows)


def _stored_table(engines: Sequence[Measured]) -> Table:
    rows = [
        [each.name, _short(each.us), *(f"{each.a_million[name]:,.0f}" for name in ("requests", "write_units"))]
        for each in engines
    ]
    headings = ["", "µs CPU an event", "requests", "write units"]
    return Table("with what is stored: requests and write units for a million events", headings, rows)


def _draw(engines: Sequence[Measured]) -> str:
    ordered = sorted(engines, key=lambda each: each.in_y)
    values = charts.Bars(
        "in Y", [each.in_y for each in ordered], spread=[(each.in_y_min, each.in_y_max) for each in ordered]
    )
    return charts.bars(
        "CPU an event, in Y",
        "; ".join(f"{each.name} {_short(each.in_y)}" for each in ordered),
        [each.name for each in ordered],
        [values],
        value=charts.Axis("CPU an event, in Y", charts.Scale.LOG),
        number=_short,
    )


def _bars(named: Mapping[str, Measured]) -> list[Bar]:
    whole, one = named[FIVE], named[ONE]
    ids = f"Looking up, remembering and logging ids takes {one.in_y - named[ONE_WITHOUT_IDS].in_y:.2f} Y of it."
    bars = [
        Bar("whole ingest, the metrics shipped", "≤ 3.0 Y", f"{whole.in_y:.2f} Y", whole.in_y <= WHOLE_MAX, ids),
        Bar("whole ingest, one metric", "≤ 1.9 Y", f"{one.in_y:.2f} Y", one.in_y <= ONE_MAX, ids),
    ]
    for is_going_on, what in ((False, "a job"), (True, "a job that goes on")):
        flink = [
            each for name, each in named.items() if name.startswith(FLINK) and name.endswith(FURTHER) == is_going_on
        ]
        if flink:
            fastest = min(flink, key=lambda each: each.in_y)
            measured = f"{one.in_y:.2f} Y; {fastest.name} {fastest.in_y:.2f} Y"
            title = f"ahead of Flink at its warmest, {what}"
            bars.append(Bar(title, "less", measured, one.in_y < fastest.in_y, WHY_FLINK))
    for name in (STORED, STORED_ONE):
        cpu, units = _times(named, name)
        beside = f"{name}, beside BatchProcessor + Idempotency"
        bars += [
            Bar(f"{beside}: CPU", "≥ 200 times less", f"{cpu:,.0f} times", cpu >= CPU_TIMES_MIN),
            Bar(f"{beside}: write units", "≥ 100 times less", f"{units:,.0f} times", units >= UNITS_TIMES_MIN),
        ]
    return bars


def _times(named: Mapping[str, Measured], name: str) -> tuple[float, float]:
    """How many times as much Idempotency takes: CPU, each beside its own Y; write units."""
    theirs, ours = named[IDEMPOTENCY], named[name]
    return theirs.in_y / ours.in_y, theirs.a_million["write_units"] / ours.a_million["write_units"]


def _headlines(named: Mapping[str, Measured]) -> list[Headline]:
    cpu, units = _times(named, STORED)
    whole = named[FIVE]
    return [
        Headline(
            "Events a second and core through the whole `ingest`, the metrics shipped",
            f"{whole.events_a_second:,} ({whole.in_y:.2f} Y)",
        ),
        Headline(
            "Beside Powertools BatchProcessor + Idempotency, puts included",
            f"{cpu:,.0f} times less CPU, {units:,.0f} times fewer write units",
        ),
    ]


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"  # noqa: PLR2004  from there on decimals say nothing
