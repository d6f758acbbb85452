"""How many dead letters of each reason there are of a run.

The API counts all of a stage's, by day. Of a stage that others use too the run's own are told by what they hold: every
event of a run has the run's marks in its payload or its partition key, those that are broken as well. Payloads are
looked at for that, and told to nobody.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from gzip import BadGzipFile
from gzip import decompress as expand

from msgspec import Struct

from chalicelib.aggregates.windows import UNIT_MS, format_instant
from chalicelib.query.dead_letters import UNREADABLE
from chalicelib.records.letter import Letter
from loadtest.proof.api import Asked

DAY_MS = UNIT_MS["d"]
GZIP = b"\x1f\x8b"


class LettersCounted(Struct, frozen=True):
    """How many there are by reason; complete, when nothing was left out."""

    by_reason: dict[str, int]
    complete: bool


def all_of_days(api: Asked, start_ms: int, end_ms: int) -> LettersCounted:
    """All of the stage from the day of one instant to that of the other. Raises: ApiError."""
    start, end = (format_instant(instant - instant % DAY_MS)[:10] for instant in (start_ms, end_ms + DAY_MS))
    answer = api.get("/v1/dead-letters", {"start": start, "end": end, "limit": "1"})
    counts: Counter[str] = Counter()
    for each in answer["counts"]:
        counts[each["reason"]] += each["count"]
    return LettersCounted(dict(counts), bool(answer["complete"]) and UNREADABLE not in counts)


def of_run(letters: Iterable[Letter], marks: Sequence[bytes]) -> dict[str, int]:
    """Count those of the run, which have one of these marks, by reason. Raises: what reading the letters does."""
    return dict(Counter(letter.reason for letter in letters if _is_marked(letter, marks)))


def _is_marked(letter: Letter, marks: Sequence[bytes]) -> bool:
    where = [letter.partition_key.encode(), letter.data]
    if letter.data.startswith(GZIP):
        with suppress(BadGzipFile, EOFError, zlib.error):
            where.append(expand(letter.data))
    return any(mark in text for mark in marks for text in where)
