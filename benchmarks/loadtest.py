"""The load test's own figures: a report of a run, such as of the profile `steady` on a local stage.

    make loadtest PROFILE=steady && python -m benchmarks loadtest

Nothing is measured here: `make loadtest` does that, at the end of which it proves that every count is right. What is
kept is the report without its single seconds and probes. Unless one is named (`--set report=FOLDER`), it is the newest
of that profile in out/loadtest.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from rich.progress import Progress

from benchmarks.page import Bar, Headline, Part, Table
from benchmarks.suite import Options
from loadtest import report
from loadtest.proof.verdict import Outcome

NAME = "loadtest"
IS_OF_ANOTHER_RUN = True
RUNS, PROFILE = Path("out/loadtest"), "steady"
LEFT_OUT = ("seconds", "probes", "asked", "lag_samples", "profile", "versions")
RATE_MIN, FRESHNESS_MS_MAX = 20_000, 2_000


class Settings(Struct, frozen=True):
    """The report, or its folder."""

    report: str = ""


QUICK = Settings()


def measure(options: Options, progress: Progress) -> dict[str, Any]:  # noqa: ARG001  there is nothing to wait for
    """Returns: the report without its single values, and the events accepted a second once the ramp was over.

    Raises: FileNotFoundError when there is none.
    """
    read = report.read(Path(options.settings.report) if options.settings.report else _newest())
    whole: dict[str, Any] = msgspec.to_builtins(read)
    arrivals = read.profile.arrivals
    at_rate = [second.accepted for second in read.seconds if arrivals.ramp_seconds <= second.at < arrivals.seconds]
    kept = {name: value for name, value in whole.items() if name not in LEFT_OUT}
    return {**kept, "sustained": sum(at_rate) / len(at_rate)}


def _newest() -> Path:
    found = [path.parent for path in RUNS.glob("*/report.json") if report.read(path).profile_name == PROFILE]
    if not found:
        raise FileNotFoundError(f"no report of the profile {PROFILE} is in {RUNS}: make loadtest PROFILE={PROFILE}")
    return max(found, key=lambda path: path.stat().st_mtime)


def describe(figures: Mapping[str, Any]) -> Part:
    """What the load test came to."""
    rates, freshness, outcome = figures["rates"], figures["freshness_ms"], figures["verdict"]["outcome"]
    p99_ms = freshness["p99"]
    rows = [
        ["events offered a second", f"{rates['offered_mean']:,.0f}"],
        ["events accepted a second, of the best second", f"{rates['accepted_mean']:,.0f}, {rates['accepted_peak']:,}"],
        ["events accepted a second, once the ramp was over", f"{figures['sustained']:,.0f}"],
        ["events accepted", f"{rates['accepted']:,}"],
        ["from accepted to visible in the API: p50, p95, p99", ", ".join(_seconds(freshness[p]) for p in QUANTILES)],
        *([f"answer to `{each['name']}`: p50, p99", _of_query(each["ms"])] for each in figures["queries"]),
        ["verdict", outcome],
    ]
    is_exact = outcome == Outcome.EXACT
    at = f"{figures['sustained']:,.0f} events/s, p99 {_seconds(p99_ms)}, {outcome}"
    is_reached = (
        is_exact and round(figures["sustained"]) >= RATE_MIN and p99_ms is not None and p99_ms <= FRESHNESS_MS_MAX
    )
    return Part(
        "Under load",
        TEXT.format(profile=figures["profile_name"], command=figures["command"], machine=figures["machine"]),
        [Table("the load test", ["", ""], rows)],
        bars=[
            Bar("a local stage sustains", "≥ 20 000 events/s, p99 freshness ≤ 2 s, exact", at, is_reached, WHY),
        ],
        headlines=[Headline("load test on a local stage: events a second, p99 until visible, verdict", at)],
    )


def _of_query(ms: Mapping[str, Any]) -> str:
    return f"{_seconds(ms['p50'])}, {_seconds(ms['p99'])}"


def _seconds(ms: float | None) -> str:
    return "never" if ms is None else f"{ms / 1000:.2f} s"


QUANTILES = ("p50", "p95", "p99")
WHY = "The load test's report shows which shards lagged, and when."
TEXT = """\
The profile `{profile}` (`{command}`) on {machine}: producers, the emulated AWS, the functions' processes and the proof
share this machine. At the end every group of every window, every dead letter and every duplicate was compared with what
the producers' ledgers say: *exact* means that none differed.
"""
