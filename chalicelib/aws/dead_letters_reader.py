"""What waits to be redriven, for those who ask: its objects, newest first, and of each the letters not accepted since.

A day is that of arrival for what ingest could not count, and that of giving up for what Lambda could not deliver.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial as bind
from typing import TYPE_CHECKING, Any, TypeVar

from chalicelib.aws.concurrent import call_all, call_in_time, result_in_time
from chalicelib.aws.dead_letter_objects import DeadLetterObjects
from chalicelib.aws.failures import any_failure_as_transient
from chalicelib.errors import TransientError
from chalicelib.query.ports import LetterObject, ObjectList
from chalicelib.records.letter import DEAD_LETTERS, GIVEN_UP, Letter, identities, pending

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

OBJECTS_AT_ONCE = 16
BYTES_AT_ONCE = 16 * 1024 * 1024  # of objects as they are stored; what they expand to is some times as much
GIVEN_UP_ON = re.compile(r".*/([0-9]{4}-[0-9]{2}-[0-9]{2})T[^/]*")  # the end of a key of Lambda's
EVERY_DAY = ("0000-00-00", "9999-99-99")
LIST_MS_MAX = 600_000  # nobody waits longer for a list of all that there is

R = TypeVar("R")


class DeadLettersReader:
    """The LettersReader of the queries and of operators, on S3."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._objects = DeadLetterObjects(client, bucket)

    def list_objects(self, start_day: str, end_day: str, timeout_ms: int, a_day_max: int | None = None) -> ObjectList:
        """List the objects of the days in `[start_day, end_day)`, newest first; of one day at most so many.

        Raises: TransientError when the days could not be listed in time; objects that could not be make it not whole.
        """
        prefixes = call_in_time(bind(self._prefixes, start_day, end_day), timeout_ms)
        calls = call_all(bind(self._list, a_day_max), prefixes, timeout_ms)
        listed = [_objects_of(call) for call in calls]
        objects = [each for found, _ in listed for each in found if start_day <= each[0].day < end_day]
        objects.sort(key=lambda each: (each[0].day, each[1]), reverse=True)
        return ObjectList([each for each, _ in objects], all(is_whole for _, is_whole in listed))

    def read_objects(
        self,
        objects: Sequence[LetterObject],
        read: Callable[[LetterObject, Iterator[Letter]], R],
        time_left_ms: Callable[[], int],
    ) -> list[R | None]:
        """Have the letters of these objects read, some at once. Returns: what `read` did, None where not in time.

        Shapes: the letters raise LettersError as they are asked for; an object that is gone has none.
        """
        done: list[R | None] = []
        for wave in _waves(objects):
            calls = call_all(lambda each: read(each, self.read_letters(each.key)), wave, time_left_ms())
            done += map(_result_or_none, calls)
        return done

    def read_letters(self, key: str) -> Iterator[Letter]:
        """Read the letters of an object that have not been accepted since; none when it is gone.

        Raises: LettersError, TransientError.
        """
        stored = self._objects.read_letters(key)
        if stored is None:
            return
        accepted = self._objects.read_accepted(key)
        yield from pending(stored.letters, identities(accepted.letters if accepted else ()))

    def read_all(self) -> Iterator[Letter]:
        """Read every letter that waits.

        Raises: LettersError, TransientError.
        """
        for each in self.list_all():
            yield from self.read_letters(each.key)

    def list_all(self, start_day: str = EVERY_DAY[0]) -> Sequence[LetterObject]:
        """List the objects of every day from this one on, the newest first.

        Raises: TransientError when not all could be listed within ten minutes.
        """
        listed = self.list_objects(start_day, EVERY_DAY[1], LIST_MS_MAX)
        if not listed.is_whole:
            raise TransientError("not all objects could be listed in time")
        return listed.objects

    def _prefixes(self, start_day: str, end_day: str) -> list[str]:
        """What to list: the days that have dead letters, of each stream; and all that Lambda gave up."""
        streams = self._common_prefixes(DEAD_LETTERS)
        days = [day for stream in streams for day in self._common_prefixes(stream)]
        return [GIVEN_UP, *(day for day in days if start_day <= day.split("/")[-2] < end_day)]

    def _common_prefixes(self, prefix: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2")
        with any_failure_as_transient():
            return [
                each["Prefix"]
                for page in pages.paginate(Bucket=self._bucket, Prefix=prefix, Delimiter="/")
                for each in page.get("CommonPrefixes", [])
            ]

    def _list(self, objects_max: int | None, prefix: str) -> tuple[list[tuple[LetterObject, datetime]], bool]:
        found: list[tuple[LetterObject, datetime]] = []
        with any_failure_as_transient():
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                for listed in page.get("Contents", []):
                    day = _day_of(listed["Key"], listed["LastModified"].astimezone(UTC).date().isoformat())
                    found.append((LetterObject(listed["Key"], day, listed["Size"]), listed["LastModified"]))
                if objects_max is not None and len(found) >= objects_max:
                    return found, not page["IsTruncated"]
        return found, True


def _waves(objects: Sequence[LetterObject]) -> Iterator[list[LetterObject]]:
    """Cut into what is read at once, so that memory is bounded whatever their number and their size."""
    wave: list[LetterObject] = []
    for each in objects:
        is_full = len(wave) == OBJECTS_AT_ONCE or sum(other.size_bytes for other in wave) >= BYTES_AT_ONCE
        if is_full:
            yield wave
            wave = []
        wave.append(each)
    if wave:
        yield wave


def _day_of(key: str, stored_on: str) -> str:
    if match := GIVEN_UP_ON.fullmatch(key):
        return match[1]
    parts = key.split("/")
    return parts[2] if key.startswith(DEAD_LETTERS) and len(parts) > 3 else stored_on  # noqa: PLR2004


def _objects_of(call: "Future[tuple[list[tuple[LetterObject, datetime]], bool]]") -> tuple[Sequence[Any], bool]:
    return call.result() if call.done() and not call.cancelled() else ((), False)


def _result_or_none(call: "Future[R]") -> R | None:
    try:
        return result_in_time(call)
    except TransientError:
        return None
