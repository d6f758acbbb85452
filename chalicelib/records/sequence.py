"""Sequence numbers in the order of the stream.

Only this file knows how a sequence number is compared. Kinesis and DynamoDB Streams number records with decimal
strings of up to 129 digits; an emulator may pad them with zeros. A DynamoDB number keeps 38 digits, so the store
compares text: the *position* of a sequence number is text whose order is the numeric order. The service's own string
goes back to the service unchanged; a position never does.
"""

from collections.abc import Sequence
from itertools import repeat

LENGTH_DIGITS = 3
DIGITS_MAX = 10**LENGTH_DIGITS - 1  # a service's own limit is 129


def position(sequence_number: str) -> str:
    """Give the text that orders as the sequence number does.

    Raises: ValueError when it is no decimal number of 1..999 digits.
    """
    if not (sequence_number.isascii() and sequence_number.isdigit()):
        raise ValueError(f"a sequence number has decimal digits only, not {sequence_number[:40]!r}")
    digits = sequence_number.lstrip("0")
    if len(digits) > DIGITS_MAX:
        raise ValueError(f"a sequence number has at most {DIGITS_MAX} digits, not {len(digits)}")
    return f"{len(digits):0{LENGTH_DIGITS}d}{digits}"


def positions(sequence_numbers: Sequence[str]) -> list[str]:
    """The position of each.

    Why: neighbours in a shard have equally many digits nearly always, and are then looked at all at once.
    Raises: as `position` does.
    """
    digits = "".join(sequence_numbers)
    are_alike = len(set(map(len, sequence_numbers))) == 1 and digits.isascii() and digits.isdigit()
    if not are_alike or any(map(str.startswith, sequence_numbers, repeat("0"))):
        return list(map(position, sequence_numbers))
    length = position(sequence_numbers[0])[:LENGTH_DIGITS]
    return list(map(length.__add__, sequence_numbers))


def position_of(number: int) -> str:
    """The position of the sequence number that has this value."""
    return position(str(number))


def number_at(position: str) -> int:
    """The value of the sequence number at this position."""
    return int(position[LENGTH_DIGITS:] or "0")
