"""The record that a dead letter goes back on the stream as: its exact bytes, wherever the stream takes them."""

from hashlib import blake2b

from chalicelib.consumers.handle import to_be_handled
from chalicelib.consumers.ports import StreamRecord
from chalicelib.consumers.put_requests import PARTITION_KEY_CHARACTERS_MAX, fitting_record
from chalicelib.records.letter import CorruptError, Letter
from chalicelib.records.rejection import Reason


def record_of(letter: Letter) -> StreamRecord | None:
    """The record to put for a letter; None when it is too large for one, even compressed.

    Raises: CorruptError when `check` does.
    """
    is_counted = letter.reason == Reason.NOT_HANDLED  # only the handlers are to see it again
    return fitting_record(_partition_key(letter), _to_be_handled(letter) if is_counted else letter.data)


def check(letter: Letter) -> None:
    """Raises CorruptError when the letter can never be put: it is to be handled, and is no event."""
    if letter.reason == Reason.NOT_HANDLED:
        _to_be_handled(letter)


def _to_be_handled(letter: Letter) -> bytes:
    place = f"{letter.shard_id}/{letter.sequence_number}"
    if letter.sub_sequence_number is not None:
        place = f"{place}/{letter.sub_sequence_number}"
    # The lines of one payload have one place.
    event_id = f"{place}/{blake2b(letter.data, digest_size=8).hexdigest()}"
    try:
        return to_be_handled(letter.data, event_id, letter.arrived_at)
    except (ValueError, RecursionError) as error:
        raise CorruptError("a letter that was not handled is no event") from error


def _partition_key(letter: Letter) -> str:
    """Its own; but for one that only an aggregate can hold and the stream itself does not take."""
    if 1 <= len(letter.partition_key) <= PARTITION_KEY_CHARACTERS_MAX:
        return letter.partition_key
    return letter.sequence_number
