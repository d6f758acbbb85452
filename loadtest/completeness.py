"""Waits until the answers hold all that the stream has accepted: until `complete_until` is past the last acceptance."""

import time
from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aggregates.windows import parse_instant
from chalicelib.errors import TransientError
from loadtest.target import StreamStanding, TargetError

POLL_SECONDS = 0.5
TICK_EVERY_SECONDS = 5.0
SILENT_SECONDS_MAX = 60.0  # a stage that answers nothing for so long will not come back by being asked


def wait_until_complete(
    past_ms: int,
    patience_seconds: float,
    *,
    ask: Callable[[], StreamStanding],
    put_ticks: Callable[[], None],
    tell: Callable[[int | None], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int | None:
    """Wait until everything accepted before `past_ms` is counted. Returns: what `complete_until` was then.

    Shapes: None when it did not come in time, or the stage answers no more; ask and put_ticks as `loadtest.target` has
            them: without a tick a shard that took nothing of late would tell so only after a minute. tell is told how
            far it is. Units: epoch milliseconds.
    """
    deadline = clock() + patience_seconds
    next_tick = last_answer = clock()
    while clock() < deadline and clock() < last_answer + SILENT_SECONDS_MAX:
        try:
            if clock() >= next_tick:
                put_ticks()
                next_tick = clock() + TICK_EVERY_SECONDS
            told = ask().complete_until
            last_answer = clock()
        except (TargetError, BotoCoreError, ClientError, TransientError):  # a stage under load may be busy: ask again
            told = None
        until_ms = None if told is None else parse_instant(told)
        tell(until_ms)
        if until_ms is not None and until_ms > past_ms:
            return until_ms
        sleep(POLL_SECONDS)
    return None
