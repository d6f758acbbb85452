"""Windows of event time: half-open `[start, end)`, UTC, aligned to the epoch.

Only this file knows how a window is written as text. In the core an instant is epoch milliseconds (int, UTC).
"""

import re
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
UNIT_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION_MS_MAX = 36_500 * UNIT_MS["d"]  # a century: instants stay inside the years that text and datetime can hold

INSTANT_RULE = "an instant is RFC 3339 with an offset (2026-11-23T21:00:00Z) or a date"


def parse_duration(text: str) -> int:
    """Read a duration such as `90s`, `15m`, `6h`, `1d` as milliseconds.

    Raises: ValueError for anything else, for zero and for more than 36 500 days.
    """
    match = re.fullmatch(r"([0-9]{1,10})([smhd])", text, re.ASCII)
    duration_ms = int(match[1]) * UNIT_MS[match[2]] if match else 0
    if not 0 < duration_ms <= DURATION_MS_MAX:
        raise ValueError(f"a duration is a whole number above 0 and s, m, h or d (15m, 1d), not {text[:40]!r}")
    return duration_ms


def format_duration(duration_ms: int) -> str:
    """Write a duration in its largest whole unit: 3 600 000 is `1h`."""
    unit = next(unit for unit in "dhms" if duration_ms % UNIT_MS[unit] == 0)
    return f"{duration_ms // UNIT_MS[unit]}{unit}"


def window_start(instant_ms: int, size_ms: int) -> int:
    """The start of the window that holds the instant."""
    return instant_ms - instant_ms % size_ms


def next_window_start(instant_ms: int, size_ms: int) -> int:
    """The first start of a window at the instant or after it."""
    return -window_start(-instant_ms, size_ms)


def window_ends(start_ms: int, end_ms: int, size_ms: int) -> range:
    """The ends, in `(start_ms, end_ms]`, of windows of this size."""
    return range(window_start(start_ms, size_ms) + size_ms, end_ms + 1, size_ms)


def format_instant(instant_ms: int) -> str:
    """Write an instant as RFC 3339 in UTC, to the second where it is one: `2026-11-23T21:10:00Z`.

    The text of whole seconds orders as time does, from year 1 to 9999; keys and answers rely on it.
    """
    instant = EPOCH + instant_ms * MILLISECOND
    return instant.isoformat(timespec="milliseconds" if instant_ms % 1000 else "seconds").replace("+00:00", "Z")


def parse_instant(text: str) -> int:
    """Read an RFC 3339 instant, or a bare date as its midnight in UTC, as epoch milliseconds.

    Raises: ValueError when it is neither, or has no UTC offset.
    """
    try:
        instant = datetime.fromisoformat(text)
        is_date = len(text) == len("2026-11-23")
        # An instant without an offset is no instant: the subtraction refuses it.
        instant_ms, rest = divmod((instant.replace(tzinfo=UTC) if is_date else instant) - EPOCH, MILLISECOND)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{INSTANT_RULE}, not {text[:40]!r}") from error
    if rest:
        raise ValueError(f"{INSTANT_RULE}, no finer than a millisecond, not {text[:40]!r}")
    return instant_ms
