"""The producer as a command: a file of events, one a line, onto a stage's stream.

By default nothing is sent until every line has been checked, so that a broken file leaves no half of itself behind.
"""

import argparse
import gzip
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import orjson
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from loadtest.producer.client import Producer, UnacceptedError
from loadtest.producer.delivery import KinesisClient, Receipt, Retry
from loadtest.producer.event import Event, EventTooLargeError, KeyFunction, PartitionKeyError, key_at
from loadtest.producer.packing import Encoding
from loadtest.producer.stage import kinesis_client, stream_name
from ops import aws

NAME = "loadtest.producer"
SENT, UNACCEPTED, REFUSED = 0, 1, 2

UNCHECKED_PARTITION_KEY = "unchecked"
PROGRESS_EVENTS = 500
FLUSHES_PER_SECOND = 4  # With --rate: often enough that no event waits long for its request to fill.

EPILOG = """\
examples:
  python -m loadtest.producer --stage local orders.jsonl
  python -m loadtest.producer --stage local --aggregate --rate 2000 orders.jsonl.gz
  python -m loadtest.producer --stage prod --compress zstd --partition-key data.customer - < orders.jsonl

exit codes:
  0  the stream accepted every event
  1  it did not accept some; send the whole file again within the stage's DEDUP_HORIZON: what it did accept counts once
  2  a line is no event, there is no such file or stream, or nothing answers at the endpoint; nothing was sent
     (with --no-check: nothing from that line on)
"""


class LineError(ValueError):
    """A line cannot be sent as an event; the message names it by number and quotes nothing of it."""


class Pace:
    """Holds a sender to so many events a second, counted from its start."""

    def __init__(
        self,
        events_per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._events_per_second = events_per_second
        self._clock = clock
        self._sleep = sleep
        self._started = clock()

    def flush_is_due(self, events_sent: int) -> bool:
        """Whether a share of a second's events has been put and should go out."""
        return events_sent % max(1, round(self._events_per_second / FLUSHES_PER_SECOND)) == 0

    def wait(self, events_sent: int) -> None:
        """Wait until so many events may have been sent."""
        ahead_seconds = self._started + events_sent / self._events_per_second - self._clock()
        if ahead_seconds > 0:
            self._sleep(ahead_seconds)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """The command line, checked and with its defaults."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.producer",
        description="Put events (CloudEvents as JSON, one a line) on a stage's stream.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the events, one JSON object a line; .gz is unpacked; - is stdin")
    parser.add_argument("--stage", required=True, help="whose stream; `local` is the emulator on this machine")
    parser.add_argument("--stream", help="the stream's name (default: highwater-{stage}-events)")
    parser.add_argument("--endpoint-url", help="where Kinesis is (default: as botocore, and 127.0.0.1:4566 for local)")
    encoding = parser.add_mutually_exclusive_group()
    encoding.add_argument("--plain", action="store_true", help="one event a record (the default)")
    encoding.add_argument("--aggregate", action="store_true", help="many events a record, as the KPL aggregates them")
    encoding.add_argument("--compress", choices=["gzip", "zstd"], help="many events a record, as compressed JSON Lines")
    parser.add_argument("--partition-key", default="data.user_id", metavar="PATH", help="default: %(default)s")
    parser.add_argument("--rate", type=_positive, metavar="N", help="at most N events a second (default: no limit)")
    parser.add_argument("--no-check", action="store_true", help="send lines as they are, to see what poison does")
    return parser.parse_args(argv)


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError("must be above zero")
    return number


def read_lines(file: str) -> Iterator[tuple[int, bytes]]:
    """The file's lines that are not blank, each with its number."""
    with _open(file) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, line.rstrip(b"\r\n")


def _open(file: str) -> BinaryIO | gzip.GzipFile:
    if file == "-":
        return sys.stdin.buffer
    return gzip.open(file) if file.endswith(".gz") else Path(file).open("rb")


def checked_event(number: int, line: bytes, key_of: KeyFunction) -> Event:
    """The line as an event, its bytes unchanged. Raises: LineError unless it is a JSON object that can be sent."""
    try:
        parsed = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise LineError(f"line {number}: not JSON, or a number beyond a double (column {error.colno})") from None
    if not isinstance(parsed, dict):
        raise LineError(f"line {number}: not a JSON object")
    try:
        partition_key = key_of(parsed)
    except PartitionKeyError as error:
        raise LineError(f"line {number}: {error}") from None
    return _event(number, line, partition_key)


def unchecked_event(number: int, line: bytes, key_of: KeyFunction) -> Event:
    """The line as an event, whatever it is. Raises: LineError for one that no record can hold."""
    try:
        return checked_event(number, line, key_of)
    except LineError:
        return _event(number, line, UNCHECKED_PARTITION_KEY)


def _event(number: int, line: bytes, partition_key: str) -> Event:
    try:
        return Event(partition_key, line)
    except (EventTooLargeError, PartitionKeyError) as error:
        raise LineError(f"line {number}: {error}") from None


def send(producer: Producer, events: Iterable[Event], pace: Pace | None, report: Callable[[int], None]) -> None:
    """Put and flush every event, reporting now and then how many have been put."""
    count = 0
    for count, event in enumerate(events, start=1):
        producer.put_event(event)
        if pace and pace.flush_is_due(count):
            producer.flush()
            pace.wait(count)
        if count % PROGRESS_EVENTS == 0:
            report(count)
    producer.flush()
    report(count)


def summary(stream: str, receipt: Receipt, seconds: float) -> Table:
    """What was accepted, as the table that closes a run."""
    table = Table("", "", title=stream, show_header=False)
    table.columns[1].justify = "right"
    table.columns[1].overflow = "fold"  # A sequence number may be wider than the terminal, and half of one is none.
    for name, value in [
        ("events", f"{receipt.events:,}"),
        ("records", f"{receipt.records:,}"),
        ("bytes", f"{receipt.size_bytes:,}"),
        ("seconds", f"{seconds:.2f}"),
        ("events/s", f"{receipt.events / seconds:,.0f}"),
        ("retries", f"{receipt.retries:,}"),
    ]:
        table.add_row(name, value)
    table.add_section()
    for shard_id, sequence_number in sorted(receipt.last_sequence_numbers.items()):
        table.add_row(shard_id, sequence_number)
    return table


def main(argv: list[str] | None = None, client: KinesisClient | None = None, retry: Retry | None = None) -> int:
    """Run the command, on a client of the stage's own unless one is given. Returns: its exit code, as the help says."""
    arguments = parse_arguments(argv)
    notices = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    try:
        return _run(arguments, client or kinesis_client(arguments.stage, arguments.endpoint_url), retry, notices)
    except OSError as error:
        notices.print(f"{NAME}: {arguments.file}: {error.strerror or error}")
    except (EOFError, zlib.error, LineError) as error:
        notices.print(f"{NAME}: {arguments.file}: {error}")
    except (BotoCoreError, ClientError) as error:
        notices.print(f"{NAME}: cannot send: {aws.reason(error)}")
    return REFUSED


def _run(arguments: argparse.Namespace, client: KinesisClient, retry: Retry | None, notices: Console) -> int:
    stream = arguments.stream or stream_name(arguments.stage)
    encoding = Encoding.AGGREGATE if arguments.aggregate else Encoding(arguments.compress or "plain")
    to_event = unchecked_event if arguments.no_check else checked_event
    key_of = key_at(arguments.partition_key)
    events: Iterable[Event] = (to_event(number, line, key_of) for number, line in read_lines(arguments.file))
    total = None
    if not arguments.no_check:
        events = list(events)
        total = len(events)

    producer = Producer(client, stream, encoding=encoding, retry=retry)
    pace = Pace(arguments.rate) if arguments.rate else None
    started = time.monotonic()
    exit_code = SENT
    columns = (TextColumn(stream), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=notices) as progress, producer:
            bar = progress.add_task("", total=total)
            send(producer, events, pace, lambda count: progress.update(bar, completed=count))
    except UnacceptedError as error:
        notices.print(f"{NAME}: {error} (--help says what to do)")
        exit_code = UNACCEPTED
    Console(highlight=False).print(summary(stream, producer.receipt, time.monotonic() - started))
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
