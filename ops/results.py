"""Shows a stage's results as they come, a line of JSON each: `python -m ops.results --stage S [--kind K] [--metric M]`.

It subscribes a queue of its own to the stage's topic, and leaves nothing behind.
"""

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ops import aws
from ops.arguments import REFUSED, Parser, count, seconds, url
from ops.subscription import MESSAGES_AT_ONCE_MAX, WAIT_SECONDS_MAX, Messages, NoTopicError, subscription

SHOWN = 0
ATTRIBUTES = ("kind", "metric", "step", "final")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
LINE_BREAKS = str.maketrans("\r\n", "  ")  # JSON has them between its values alone


def show(messages: Messages, count_max: float, seconds_max: float, write: Callable[[str], object]) -> None:
    """Write each message as a line, until there were so many or the time is over; either may be infinite."""
    deadline = time.monotonic() + seconds_max
    left = count_max
    while left > 0 and (seconds_left := deadline - time.monotonic()) > 0:
        received = messages.receive(
            wait_seconds=math.ceil(min(seconds_left, WAIT_SECONDS_MAX)),
            count_max=int(min(left, MESSAGES_AT_ONCE_MAX)),
        )
        for message in received:
            write(message.translate(LINE_BREAKS) + "\n")
        left -= len(received)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns: 0, or 2 when the results cannot be had."""
    options = _parser().parse_args(argv)
    wanted = {name: values for name in ATTRIBUTES if (values := getattr(options, name))}
    try:
        sns, sqs = aws.clients(["sns", "sqs"], options.endpoint_url)
        with _handling_signals(), subscription(sns, sqs, options.stage, wanted) as messages:
            sys.stderr.write(f"ops.results: subscribed to the results of stage {options.stage}; Ctrl-C ends it\n")
            try:
                show(messages, options.messages, options.seconds, _write)
            finally:
                _on_signals(signal.SIG_IGN)  # it ends anyway; a second, impatient Ctrl-C would leave the queue behind
    except KeyboardInterrupt:
        pass
    except BrokenPipeError:  # whoever reads the lines has enough of them, as `head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more when it ends
    except (NoTopicError, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"ops.results: the results of stage {options.stage} cannot be had: {aws.reason(error)}\n")
        return REFUSED
    return SHOWN


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m ops.results", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--stage", required=True, help="whose results")
    add("--kind", action="append", metavar="K", help="only of this kind, such as window or alert; repeatable")
    add("--metric", action="append", metavar="M", help="only of this metric; repeatable")
    add("--step", action="append", metavar="STEP", help="only of windows of this length, such as 1m; repeatable")
    add("--final", action="append", choices=("true", "false"), help="only of windows that are final, or not yet")
    add("--messages", type=count, default=math.inf, metavar="N", help="end after so many")
    add("--seconds", type=seconds, default=math.inf, metavar="N", help="end after this time")
    add("--endpoint-url", type=url, help="where SNS and SQS are (default: as botocore, AWS_ENDPOINT_URL included)")
    return parser


def _write(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


@contextmanager
def _handling_signals() -> Iterator[None]:
    """Let SIGTERM end the command as Ctrl-C does; afterwards all is as it was."""
    before = {stop: signal.getsignal(stop) for stop in STOP_SIGNALS}
    _on_signals(signal.default_int_handler)
    try:
        yield
    finally:
        for stop, handler in before.items():
            signal.signal(stop, handler)


def _on_signals(handler: Any) -> None:
    for stop in STOP_SIGNALS:
        signal.signal(stop, handler)


if __name__ == "__main__":
    sys.exit(main())
