"""The objects that hold dead letters. Only this file knows how they are written: memory holds one line at a time.

    dead-letters/…   gzip JSON Lines, a letter a line
    aws/lambda/…     Lambda's own JSON, its records as they were delivered to nobody
    redriven/…       either; or members of gzip one behind the other, one for each redrive that left something behind

Which of them an object is shows in its first byte.

Source: AWS Lambda Developer Guide, "Retain discarded batch records for Kinesis event sources in Lambda": to S3, beside
the batch's place in its shard, goes `payload`, the whole event as text.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import IO

import orjson

from chalicelib.aggregates.windows import format_instant
from chalicelib.errors import OutOfOrderError
from chalicelib.records.batch import Batch, parse_batch
from chalicelib.records.compression import GZIP_MAGIC
from chalicelib.records.letter import (
    UNDELIVERABLE,
    CorruptError,
    CutShortError,
    Letter,
    decode_letter,
    encode_letter,
)
from chalicelib.records.split import split

LINE_BYTES_MAX = 64 * 1024 * 1024  # a payload expands to 32 MiB at most, which base64 makes 43
DOCUMENT_BYTES_MAX = 64 * 1024 * 1024  # of Lambda's JSON: a record of 10 MiB, in base64 twice quoted, is 14
UNDELIVERABLE_ERROR = "Lambda could not deliver its record"
GZIP_WBITS = zlib.MAX_WBITS | 16  # zlib's way to say: with gzip's header


def letters_in(stream: io.RawIOBase) -> Iterator[Letter]:
    """Read the letters of an object, as they are asked for.

    Raises: CutShortError when the object ends too soon, CorruptError when it is something else; letters may have come
            before, so whoever must not act on a part reads to the end first.
    """
    head = io.BufferedReader(stream)
    first = head.peek(1)[:1]
    if not first:
        raise CutShortError("it is empty")
    if first == GZIP_MAGIC[:1]:
        yield from _letters_in_lines(head)
    elif first == b"{":
        document = head.read(DOCUMENT_BYTES_MAX + 1)
        if len(document) > DOCUMENT_BYTES_MAX:
            raise CorruptError(f"it is JSON of over {DOCUMENT_BYTES_MAX} bytes")
        yield from _letters_in_document(document)
    else:
        raise CorruptError("it is neither gzip nor JSON")


def _letters_in_lines(stream: IO[bytes]) -> Iterator[Letter]:
    try:
        with gzip.GzipFile(fileobj=stream) as lines:
            while line := lines.readline(LINE_BYTES_MAX):
                if not line.endswith(b"\n"):
                    raise CorruptError(f"a line is over {LINE_BYTES_MAX} bytes, or has no end")
                yield decode_letter(line)
    except EOFError as error:
        raise CutShortError("its gzip ends too soon") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CorruptError(f"its gzip cannot be read: {error}") from error


def _letters_in_document(document: bytes) -> Iterator[Letter]:
    batch = _parse_document(document)
    for record in batch.records:
        arrived_at = format_instant(record.arrived_at_ms)
        for piece in split(record):
            yield Letter(
                reason=UNDELIVERABLE,
                error=UNDELIVERABLE_ERROR,
                stream=batch.stream,
                shard_id=batch.shard_id,
                sequence_number=record.sequence_number,
                sub_sequence_number=piece.sub_sequence_number,
                partition_key=piece.partition_key,
                arrived_at=arrived_at,
                data=piece.data,
            )


def _parse_document(document: bytes) -> Batch:
    try:
        return parse_batch(orjson.loads(orjson.loads(document)["payload"]))
    except (AttributeError, KeyError, IndexError, OutOfOrderError, TypeError, ValueError) as error:
        raise CorruptError(f"it holds no batch of a Kinesis stream: {type(error).__name__}") from error


class LetterWriter:
    """Writes letters to a file as one gzip member; the same bytes for the same letters. `close` before it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self.count = 0
        self._file = file
        self._compressor = zlib.compressobj(wbits=GZIP_WBITS)  # leaves the time in gzip's header zero

    def write(self, letter: Letter) -> None:
        """Add a letter."""
        self.count += 1
        self._file.write(self._compressor.compress(encode_letter(letter)))

    def close(self) -> None:
        """Complete the member; the file stays open."""
        self._file.write(self._compressor.flush())
