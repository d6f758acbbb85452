"""The objects of the dead letters bucket, one after the other: read, kept as accepted, moved, removed, listed.

Every write is conditional on what it was decided by, so that of two redrives of one object at once neither undoes what
the other has kept.
"""

import io
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial as bind
from tempfile import SpooledTemporaryFile
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from chalicelib.aws.failures import any_failure_as_transient, name_of
from chalicelib.aws.letter_objects import LetterWriter, letters_in
from chalicelib.consumers.ports import StoredLetters
from chalicelib.errors import TransientError
from chalicelib.records.letter import REDRIVEN, Letter

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

MISSING = {"NoSuchKey", "404"}
CHANGED = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412"}
MEMORY_BYTES_MAX = 8 * 1024 * 1024  # of what is accepted; more goes to a file
SAVES_MAX = 5  # of one redrive; each but the last was overtaken by another's


class DeadLetterObjects:
    """The LetterObjects of redrive, on S3. Any failure of a call is a TransientError: the queue counts attempts."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def read_letters(self, key: str, version: str | None = None) -> StoredLetters | None:
        """Open an object; None when there is none.

        Raises: TransientError too when it is not of this version any more.
        """
        opened = self._open(key, version)
        if opened is None:
            return None
        version_now, body = opened
        return StoredLetters(version_now, _letters_of(body))

    def read_accepted(self, key: str) -> StoredLetters | None:
        """Open what was accepted of this object before; None when nothing was."""
        return self.read_letters(REDRIVEN + key)

    @contextmanager
    def accepting(self, key: str) -> Iterator["AcceptedFile"]:
        """Collect what is accepted of this object; what is not saved is forgotten."""
        with SpooledTemporaryFile(MEMORY_BYTES_MAX) as file:
            yield AcceptedFile(file, bind(self._append, REDRIVEN + key))

    def move(self, key: str, version: str) -> None:
        """Keep the whole object as accepted, and remove it; only if it still is of this version."""
        with any_failure_as_transient():
            self._client.copy_object(
                Bucket=self._bucket,
                Key=REDRIVEN + key,
                CopySource={"Bucket": self._bucket, "Key": key},
                CopySourceIfMatch=version,
            )
        self.remove(key, version)

    def remove(self, key: str, version: str) -> None:
        """Remove an object of which everything has been kept as accepted; only if it still is of this version."""
        with any_failure_as_transient():
            self._client.delete_object(Bucket=self._bucket, Key=key, IfMatch=version)

    def list_keys(self, prefix: str, after: str | None = None) -> Iterator[list[str]]:
        """List the keys under a prefix, beyond this one, in order; up to 1 000 at a time."""
        start: dict[str, Any] = {} if after is None else {"StartAfter": after}
        with any_failure_as_transient():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix, **start)
            for page in pages:
                yield [listed["Key"] for listed in page.get("Contents", [])]

    def _open(self, key: str, version: str | None = None) -> "tuple[str, StreamingBody] | None":
        condition: dict[str, Any] = {} if version is None else {"IfMatch": version}
        with any_failure_as_transient():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=key, **condition)
            except ClientError as error:
                if name_of(error) in MISSING and version is None:
                    return None
                raise
        return answer["ETag"], answer["Body"]

    def _append(self, key: str, member: IO[bytes]) -> None:
        """Add a member to an object, or make it of that one; whoever is overtaken reads and writes again."""
        for _ in range(SAVES_MAX):
            with any_failure_as_transient(), SpooledTemporaryFile(MEMORY_BYTES_MAX) as whole:
                condition: dict[str, Any] = {"IfNoneMatch": "*"}
                if opened := self._open(key):
                    version, body = opened
                    condition = {"IfMatch": version}
                    shutil.copyfileobj(body, whole)
                member.seek(0)
                shutil.copyfileobj(member, whole)
                whole.seek(0)
                try:
                    self._client.put_object(Bucket=self._bucket, Key=key, Body=whole, **condition)
                except ClientError as error:
                    if name_of(error) not in CHANGED:
                        raise
                else:
                    return
        raise TransientError("overtaken")


class AcceptedFile:
    """The AcceptedLetters of redrive, in a file."""

    def __init__(self, file: IO[bytes], append: Callable[[IO[bytes]], None]) -> None:
        self._file = file
        self._append = append
        self._writer = LetterWriter(file)

    def add(self, letter: Letter) -> None:
        """Collect one."""
        self._writer.write(letter)

    def save(self) -> None:
        """Keep those collected beside what was kept of their object before, whoever else does so at the same time.

        Raises: TransientError when that failed; they may be kept, or not.
        """
        self._writer.close()
        if self._writer.count:
            self._append(self._file)


class _Body(io.RawIOBase):
    """The body of an answer as a file; a connection that breaks is the world's fault, not a body cut short."""

    def __init__(self, body: "StreamingBody") -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with any_failure_as_transient():
            data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _letters_of(body: "StreamingBody") -> Iterator[Letter]:
    try:
        yield from letters_in(_Body(body))
    finally:
        body.close()
