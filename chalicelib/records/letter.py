"""A dead letter as it is kept. Only this file knows the names in its line of JSON, and when two are the same one."""

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import blake2b

import msgspec
from msgspec import Struct

from chalicelib.records.rejection import Reason

UNDELIVERABLE = "undeliverable"  # a record that Lambda could not hand to ingest at all; nobody has judged it
REASONS = (*map(str, Reason), UNDELIVERABLE)

DEAD_LETTERS = "dead-letters/"  # what ingest could not count
GIVEN_UP = "aws/lambda/"  # records that Lambda could not hand to ingest; Lambda has no option for the name
REDRIVEN = "redriven/"  # of both, what the stream has accepted again, under the whole key that it had


class LettersError(Exception):
    """What is kept cannot be read, so nothing of it may be trusted; whether it is cut short or something else."""


class CutShortError(LettersError):
    """It ends before its end."""


class CorruptError(LettersError):
    """It is not what it should be."""


class Letter(Struct, frozen=True, gc=False):
    """A piece of a record that was not counted, or not handled, and what it takes to put it on the stream again.

    Shapes: data is the exact payload; sub_sequence_number is the place in a KPL aggregate, None outside one;
            arrived_at is RFC 3339, when the stream accepted the record.
    """

    reason: str
    error: str
    stream: str
    shard_id: str
    sequence_number: str
    sub_sequence_number: int | None
    partition_key: str
    arrived_at: str
    data: bytes

    @property
    def identity(self) -> bytes:
        """The same for the same piece of the same record, and for no other.

        Why: it knows nothing of reason and error. A replay under other definitions may word them differently, and
             the piece must be known again. A digest, for there may be a million to remember.
        """
        place = f"{self.shard_id}/{self.sequence_number}/{self.sub_sequence_number}\n".encode()
        return blake2b(place + self.data, digest_size=16).digest()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Letter).decode


def encode_letter(letter: Letter) -> bytes:
    """Write a letter as a line, its end included; the same bytes for the same letter."""
    return _encode(letter) + b"\n"


def decode_letter(line: bytes) -> Letter:
    """Read a line.

    Raises: CorruptError when it is no letter.
    """
    try:
        return _decode(line)
    except (ValueError, RecursionError) as error:
        raise CorruptError(f"a line is no dead letter: {error}") from error


def identities(letters: Iterable[Letter]) -> Counter[bytes]:
    """Count letters by their identity."""
    return Counter(letter.identity for letter in letters)


def pending(letters: Iterable[Letter], accepted: Counter[bytes]) -> Iterator[Letter]:
    """The letters that are not among those accepted before, of twins as many as are left.

    Shapes: accepted counts identities; it is not changed.
    """
    left = accepted.copy()
    for letter in letters:
        identity = letter.identity
        if left[identity] > 0:
            left[identity] -= 1
        else:
            yield letter
