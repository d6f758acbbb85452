"""How many dead letters of each reason there are of a run.

The API counts all of a stage's, by day. Of a stage that others use too the run's own are told by what they hold: every
event of a run has the run's marks in its payload or its partition key, those that are broken as well. Payloads are
looked at for that, and told to nobody.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from gzip import BadGzipFile
from gzip import decompress as expand
from typing import TYPE_CHECKING

from msgspec import Struct

from chalicelib.aggregates.windows import UNIT_MS, format_instant
from chalicelib.aws.dead_letters_reader import DeadLettersReader
from chalicelib.query.dead_letters import UNREADABLE
from chalicelib.records.letter import Letter
from loadtest.proof.api import Asked

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

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


def stored(s3: "S3Client", bucket: str, start_ms: int) -> Iterator[Letter]:
    """All that are stored of the day of this instant and of later ones, the newest first.

    Raises: TransientError when S3 does not answer; LettersError for an object that is corrupt.
    """
    reader = DeadLettersReader(s3, bucket)
    for each in reader.list_all(format_instant(start_ms - start_ms % DAY_MS)[:10]):
        yield from reader.read_letters(each.key)


def _is_marked(letter: Letter, marks: Sequence[bytes]) -> bool:
    where = [letter.partition_key.encode(), letter.data]
    if letter.data.startswith(GZIP):
        with suppress(BadGzipFile, EOFError, zlib.error):
            where.append(expand(letter.data))
    return any(mark in text for mark in marks for text in where)
