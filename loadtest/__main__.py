"""Loads a stage, proves that every count is right, and reports: `python -m loadtest --stage local --profile smoke`.

docs/loadtest.md tells what profiles there are, how to take workers on several machines, and how to read the report.
"""

import argparse
import math
import os
import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from chalicelib.errors import TransientError
from chalicelib.records.letter import LettersError
from loadtest import profile as profiles
from loadtest import recording as recordings
from loadtest.completeness import wait_until_complete
from loadtest.demo import duplicates_reported
from loadtest.expectation import expect
from loadtest.faults import CONSUMER, FaultsUnderLoad
from loadtest.generate.gathered import Progress
from loadtest.generate.plan import PROGRESS, RECORDING, RUN, Plan, new_run_id
from loadtest.processes import LocustProcesses, why_not_bound
from loadtest.profile import Profile, ProfileError
from loadtest.progress import Show
from loadtest.proof import Api, ApiError, prove
from loadtest.proof.letters import stored
from loadtest.recording import FaultDone, Recording, Run, StageKind
from loadtest.resharding import ReshardUnderLoad
from loadtest.target import HttpApi, Reached, TargetError, Where, ask_stream, now_ms, reached
from loadtest.usage import between, counted, told_by_cloudwatch
from localstage.terminal import interrupt_on_signals, port
from ops import aws
from ops.arguments import Parser, count, url
from ops.survey import letters_bucket

REFUSED, UNPROVED, INTERRUPTED = 2, 3, 130  # what a verdict comes to, it tells itself
OUT_DIR = Path("out") / "loadtest"
EVENTS_A_WORKER = 20_000  # a second, which takes a third of a core
POLL_SECONDS = 0.25


class LoadError(Exception):
    """The load was not made to its end; the text is one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns: its exit code, as the help says."""
    options = _parser().parse_args(argv)
    show = Show(Console(stderr=True, highlight=False))
    interrupt_on_signals()
    try:
        profile = profiles.load(options.profile)
        return _run(options, profile, show)
    except (ProfileError, TargetError) as error:
        return _told(str(error), REFUSED)
    except (LoadError, ApiError, LettersError) as error:
        return _told(f"nothing is proved: {error}", UNPROVED)
    except (BotoCoreError, ClientError, TransientError) as error:
        return _told(f"nothing is proved: {aws.reason(error)}", UNPROVED)
    except OSError as error:  # a full disk, say
        return _told(f"nothing is proved: {error}", UNPROVED)
    except KeyboardInterrupt:
        return _told("interrupted; nothing is left running, and nothing was proved", INTERRUPTED)


def _told(what: str, code: int) -> int:
    sys.stderr.write(f"loadtest: {what}\n")
    return code


def _run(options: argparse.Namespace, profile: Profile, show: Show) -> int:
    """Load, prove, report."""
    run_id = new_run_id()
    folder = options.out / run_id
    workers, expected = _workers_of(options, profile)
    where = Where(options.api_url, options.endpoint_url)
    with ExitStack() as held:
        found = held.enter_context(
            reached(options.stage, profile, run_id, where=where, state_dir=folder / "stage", tell=show.say)
        )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TargetError(f"there is no place for the report: {error}") from None
        show.say(f"run {run_id}: {profile.description}")
        show.say(f"loading stage {found.target.stage.name} at {found.target.stage.api_url}")
        command = shlex.join(["python", "-m", "loadtest", *sys.argv[1:]])
        plan = Plan(run_id, options.profile, profile, found.target, str(folder), command, found.token is not None)
        processes = LocustProcesses(
            folder, msgspec.json.encode(plan), found, workers=workers, expected=expected, bind=options.bind
        )
        recording = _load(processes, plan, found, show)
        return _prove(recording, folder, found, show)


def _load(processes: LocustProcesses, plan: Plan, found: Reached, show: Show) -> Recording:
    """Make the load, wait until it is counted, and write down what was seen."""
    folder = Path(plan.folder)
    began_ms = now_ms()
    before = counted(found.target, found.local)
    with processes, show.live(plan.profile.arrivals.seconds):
        faults = _follow(processes, plan, found, folder, show)
    try:
        recording = recordings.read(folder / RECORDING)
    except (OSError, msgspec.MsgspecError):
        raise LoadError(f"the load was not made to its end; {folder / 'locust.log'} says why") from None
    recording.faults += faults
    api, kinesis = HttpApi(found.target.stage.api_url), found.target.client("kinesis")
    past_ms = recording.stopped_ms + found.target.clock_margin_ms
    with show.live(plan.profile.arrivals.seconds):
        recording.complete_until_ms = wait_until_complete(
            past_ms,
            plan.profile.settle_seconds,
            ask=lambda: ask_stream(api, found.token),
            put_ticks=lambda: found.target.put_ticks(kinesis, now_ms()),
            tell=lambda until_ms: show.wait(_waiting(until_ms, past_ms), None),
        )
    after = counted(found.target, found.local)
    if before is not None and after is not None:
        recording.usage = between(before, after, is_whole=found.local is not None)
    if found.local is not None:
        with found.local.log_path(CONSUMER).open("rb") as log:
            recording.duplicates_reported = duplicates_reported(log)
    elif found.target.stage.kind is StageKind.AWS:
        recording.usage, recording.duplicates_reported = told_by_cloudwatch(found.target, began_ms)
    recordings.write(recording, folder / RECORDING)
    return recording


def _follow(processes: LocustProcesses, plan: Plan, found: Reached, folder: Path, show: Show) -> list[FaultDone]:
    """Show how the load goes until Locust has ended; cause faults meanwhile. Returns: what came of them."""
    while not (folder / RUN).exists():
        if not processes.is_running():
            return []
        show.wait("waiting for the workers", None)
        time.sleep(POLL_SECONDS)
    run = msgspec.json.decode((folder / RUN).read_bytes(), type=Run)
    with ExitStack() as causing:
        resharding = causing.enter_context(
            ReshardUnderLoad(found.target, plan.profile.reshard, started_ms=run.started_ms)
        )
        faults: FaultsUnderLoad | None = None
        if found.local is not None and plan.profile.faults:
            faults = causing.enter_context(FaultsUnderLoad(found.local, plan.profile.faults, started_ms=run.started_ms))
        end_ms = run.started_ms + plan.profile.arrivals.seconds * 1000
        while processes.is_running():
            if (latest := _latest(folder / PROGRESS)) is not None:
                show.load(latest, faults.done if faults else [])
            if now_ms() > end_ms:
                causing.close()  # what lasts until the load ends, ends
            time.sleep(POLL_SECONDS)
    return [*(faults.done if faults else []), *resharding.done]


def _latest(path: Path) -> Progress | None:
    """The last whole line of the file."""
    with suppress(OSError), path.open("rb") as lines:
        lines.seek(0, os.SEEK_END)
        lines.seek(max(0, lines.tell() - 4_096))
        whole = lines.read().rpartition(b"\n")[0]
        with suppress(msgspec.MsgspecError):
            return msgspec.json.decode(whole.rpartition(b"\n")[2], type=Progress)
    return None


def _prove(recording: Recording, folder: Path, found: Reached, show: Show) -> int:
    """Prove and report. Returns: the exit code."""
    from loadtest import report as reports  # noqa: PLC0415 (its charts load for a second, which a refusal is spared)

    with show.live(0):
        expected = expect(
            recording.run,
            recording.ledgers,
            lambda done, total: show.wait("reckoning what has to come out", done / max(1, total)),
        )
        show.wait("comparing every group of every window", None)
        bucket = letters_bucket(found.target.stage.name)
        letters = stored(found.target.client("s3"), bucket, recording.run.started_ms)
        verdict = prove(recording, expected, Api(found.target.stage.api_url, found.token), letters=letters)
    report = reports.make(recording, verdict)
    _, page = reports.write(report, folder)
    reports.show(report, Console(highlight=False))
    show.say(f"the report: {page}")
    return verdict.exit_code


def _waiting(until_ms: int | None, past_ms: int) -> str:
    if until_ms is None:
        return "waiting until all that was accepted is counted"
    return f"waiting until all that was accepted is counted: {max(0, past_ms - until_ms) / 1000:.0f} s behind"


def _workers_of(options: argparse.Namespace, profile: Profile) -> tuple[int, int]:
    """How many workers are started here, and how many there are in all.

    Raises: TargetError for what nobody could be waited for by, or nobody reach.
    """
    here = _needed(profile) if options.workers is None else options.workers
    in_all = options.expect_workers or here
    if options.bind is not None and (why := why_not_bound(*options.bind)):
        raise TargetError(f"argument --bind: {why}")
    if not in_all:
        raise TargetError("--workers 0 starts none: --bind and --expect-workers have those of other machines come")
    if in_all < here:
        raise TargetError(f"--expect-workers {in_all} is fewer than the {here} that are started here")
    if in_all > here and options.bind is None:
        raise TargetError(
            f"{here} of {in_all} workers are started here, and the others need --bind to reach the master"
        )
    return here, in_all


def _needed(profile: Profile) -> int:
    """As many as the load takes, and this machine has cores for."""
    needed = math.ceil(profile.arrivals.rate / EVENTS_A_WORKER)
    return max(1, min(needed, os.cpu_count() or 1))


def _bind(text: str) -> tuple[str, int]:
    host, _, number = text.rpartition(":")
    if not (host and number.isdecimal() and port(number)):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(number)


def _workers_here(text: str) -> int:
    return 0 if text == "0" else count(text)


EPILOG = """\
exit codes:
  0    every count is exact, and the objectives held
  1    a count is wrong; the report lists each
  2    refused, and nothing was done: the profile, the stage, its clock, its token, its lag
  3    exact as far as was shown: an objective was missed, a fault did not happen, an event's fate is unknown
  130  interrupted
"""


def _parser() -> Parser:
    parser = Parser(
        prog="python -m loadtest",
        description=(__doc__ or "").splitlines()[0],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--stage", default="local", help="which stage; local is the one of this machine, or else one for the run alone")
    add("--profile", default="smoke", help="what load: a name of loadtest/profiles, or a file (%(default)s)")
    add("--workers", type=_workers_here, metavar="N", help="worker processes started here (default: as the rate needs)")
    add("--expect-workers", type=count, metavar="N", help="workers in all, those of other machines among them")
    add("--bind", type=_bind, metavar="HOST:PORT", help="where workers of other machines reach the master (loopback)")
    add("--api-url", type=url, help="where the API is (default: as the stack tells; for local, 127.0.0.1:8000)")
    add(
        "--endpoint-url",
        type=url,
        help="where AWS is (default: AWS_ENDPOINT_URL, or AWS; for local, 127.0.0.1:4566)",
    )
    add("--out", type=Path, default=OUT_DIR, help="where each run gets a folder (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
