"""Puts a stage's dead letters back on its stream: `python -m ops.redrive --stage S [--reason R] [--since T]`.

It asks the stage's own `redrive` function to do so, by one message for each object, and waits until the objects have
moved. A letter that is still bad becomes a new dead letter; that is no failure of the redrive.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from chalicelib.aggregates.windows import format_instant, parse_instant
from chalicelib.aws.dead_letters_reader import EVERY_DAY, DeadLettersReader
from chalicelib.aws.redrive_queue import RedriveQueue
from chalicelib.consumers.redrive_message import RedriveMessage, encode_message
from chalicelib.errors import TransientError
from chalicelib.records.letter import REASONS
from chalicelib.records.rejection import Reason
from ops import aws
from ops.arguments import REFUSED, Parser, seconds, url
from ops.failed_queue import FailedQueue
from ops.survey import Surveyed, letters_bucket, survey

REDRIVABLE = [reason for reason in REASONS if reason != Reason.UNSENDABLE]  # that one never was on the stream
REDRIVEN, LEFT = 0, 1
EXIT_CODES = (
    "exit codes: 0 all redriven (or nothing to do, or not waited for), 1 some are not, 2 refused or unreachable"
)
POLL_SECONDS = 2.0
SENT_AT_ONCE = 1_000
SEND_MS_MAX = 60_000
SHOWN_MAX = 20  # keys of what is left

GIVEN_UP = "its message ended in the queue redrive-failed; the function's log says why"
NOT_YET = "not redriven within the time; its message may still be under way"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant: with this reason, of records that arrived at this instant (RFC 3339) or later."""

    reason: str | None
    since: str | None

    def counts_of(self, surveyed: Surveyed) -> Counter[str]:
        """The letters of an object that are meant."""
        if self.reason is None:
            return Counter({reason: count for reason, count in surveyed.counts.items() if reason in REDRIVABLE})
        return Counter({self.reason: surveyed.counts[self.reason]}) if surveyed.counts[self.reason] else Counter()

    def is_meant(self, surveyed: Surveyed) -> bool:
        """Whether anything of an object is meant. One whose letters were all accepted still has to move."""
        if self.since is not None and not surveyed.has_arrived_since(self.since):
            return False
        if self.reason is None and not surveyed.counts:
            return True
        return bool(self.counts_of(surveyed))


class Command:
    """The command on one stage."""

    def __init__(self, stage: str, endpoint_url: str | None, selection: Selection, console: Console) -> None:
        self._sqs, s3 = aws.clients(["sqs", "s3"], endpoint_url)
        url_of = self._sqs.get_queue_url
        self._queue = RedriveQueue(self._sqs, url_of(QueueName=f"highwater-{stage}-redrive")["QueueUrl"])
        self._failed_url = url_of(QueueName=f"highwater-{stage}-redrive-failed")["QueueUrl"]
        self._reader = DeadLettersReader(s3, letters_bucket(stage))
        self._selection = selection
        self._console = console

    def survey(self) -> list[Surveyed]:
        """Read every object that may be meant; those that are."""
        first_day = self._selection.since.partition("T")[0] if self._selection.since else EVERY_DAY[0]
        objects = self._reader.list_all(first_day)
        with self._progress() as progress:
            bar = progress.add_task("read", total=len(objects))
            surveyed = survey(self._reader, objects, when_read=lambda: progress.advance(bar))
        return [each for each in surveyed if self._selection.is_meant(each)]

    def redrive(self, surveyed: Sequence[Surveyed], timeout_seconds: float | None) -> int:
        """Send a message for each object that can be read, and wait; None does not. Returns: the exit code."""
        sent = {each.key: each for each in surveyed if each.fault is None}
        unreadable = [each for each in surveyed if each.fault is not None]
        failed = FailedQueue(self._sqs, self._failed_url)
        with self._progress() as progress:
            self._send(list(sent), progress)
            left: dict[str, str] = {}
            if timeout_seconds is not None:
                left = self._wait(sent, failed, timeout_seconds, progress)
        done = "was sent" if timeout_seconds is None else "is done"
        self._console.print(f"{len(sent) - len(left):,} of {len(surveyed):,} objects: what was asked for {done}.")
        left |= {each.key: f"cannot be read: {each.fault}" for each in unreadable}
        self._show_left(left)
        return LEFT if left else REDRIVEN

    def _send(self, keys: Sequence[str], progress: Progress) -> None:
        bar = progress.add_task("sent", total=len(keys))
        for start in range(0, len(keys), SENT_AT_ONCE):
            some = keys[start : start + SENT_AT_ONCE]
            messages = [RedriveMessage(key=key, reason=self._selection.reason) for key in some]
            self._queue.send_messages([encode_message(message) for message in messages], SEND_MS_MAX)
            progress.advance(bar, len(some))

    def _wait(
        self, sent: dict[str, Surveyed], failed: FailedQueue, timeout_seconds: float, progress: Progress
    ) -> dict[str, str]:
        """Wait until nothing that is meant is left. Returns: what is, and why."""
        bar: TaskID = progress.add_task("moved", total=len(sent))
        deadline = time.monotonic() + timeout_seconds
        waiting = sent
        while True:
            waiting = self._still_there(waiting)
            progress.update(bar, completed=len(sent) - len(waiting))
            given_up = failed.keys() & waiting.keys()
            if given_up == waiting.keys() or time.monotonic() >= deadline:
                return {key: GIVEN_UP if key in given_up else NOT_YET for key in waiting}
            time.sleep(POLL_SECONDS)

    def _still_there(self, waiting: dict[str, Surveyed]) -> dict[str, Surveyed]:
        """Those of which something that is meant is left."""
        first_day = min((each.day for each in waiting.values()), default=EVERY_DAY[1])
        listed = self._reader.list_all(first_day)
        there = [each for each in listed if each.key in waiting]
        if self._selection.reason is None:
            return {each.key: waiting[each.key] for each in there}
        # With letters of other reasons in it, an object stays.
        return {each.key: each for each in survey(self._reader, there) if self._selection.is_meant(each)}

    def _show_left(self, left: dict[str, str]) -> None:
        for key, why in list(left.items())[:SHOWN_MAX]:
            self._console.print(f"{key}: {why}", soft_wrap=True, highlight=False, markup=False)
        if len(left) > SHOWN_MAX:
            self._console.print(f"… and {len(left) - SHOWN_MAX:,} more")

    def _progress(self) -> Progress:
        columns = (TextColumn("{task.description:6}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, console=self._console)


def summary(surveyed: Sequence[Surveyed], selection: Selection) -> Table:
    """The letters that are meant, by day and reason."""
    letters: Counter[tuple[str, str]] = Counter()
    objects: Counter[tuple[str, str]] = Counter()
    for each in surveyed:
        counts = {"unreadable": 0} if each.fault else selection.counts_of(each)
        for reason, count in counts.items():
            letters[each.day, reason] += count
            objects[each.day, reason] += 1
    table = Table("day", "reason", "letters", "objects")
    for day, reason in sorted(objects):
        table.add_row(day, reason, f"{letters[day, reason]:,}", f"{objects[day, reason]:,}")
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns: 0 all redriven, 1 some are not, 2 refused or unreachable."""
    options = _parser().parse_args(argv)
    console = Console()
    selection = Selection(options.reason, options.since)
    try:
        command = Command(options.stage, options.endpoint_url, selection, console)
        surveyed = command.survey()
        if not surveyed:
            console.print("There is nothing to redrive.")
            return REDRIVEN
        console.print(summary(surveyed, selection))
        if options.dry_run:
            console.print("Nothing was sent.")
            return REDRIVEN
        return command.redrive(surveyed, None if options.no_wait else options.timeout)
    except (BotoCoreError, ClientError, TransientError) as error:
        sys.stderr.write(f"ops.redrive: stage {options.stage} cannot be redriven: {aws.reason(error)}\n")
        return REFUSED
    except KeyboardInterrupt:
        sys.stderr.write("ops.redrive: interrupted; the messages that were sent are carried out all the same\n")
        return LEFT


def _parser() -> argparse.ArgumentParser:
    description, *_ = (__doc__ or "").splitlines()
    parser = Parser(prog="python -m ops.redrive", description=description, epilog=EXIT_CODES)
    add = parser.add_argument
    add("--stage", required=True, help="whose dead letters")
    add("--reason", choices=REDRIVABLE, metavar="R", help=f"only letters with this reason: {', '.join(REDRIVABLE)}")
    add("--since", type=_instant, metavar="T", help="only of records that arrived then or later: an instant or a date")
    add("--dry-run", action="store_true", help="show what would be redriven, and send nothing")
    add("--no-wait", action="store_true", help="do not wait until the objects have moved")
    add("--timeout", type=seconds, default=600, metavar="SECONDS", help="the longest to wait (%(default)s)")
    add("--endpoint-url", type=url, help="where S3 and SQS are (default: as botocore, AWS_ENDPOINT_URL included)")
    return parser


def _instant(text: str) -> str:
    try:
        return format_instant(parse_instant(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
