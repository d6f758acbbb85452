"""A message that asks for a redrive. Only this file knows its form.

`{"key": "dead-letters/…"}` puts the letters of one object on the stream again; `{"prefix": …}` sends such a
message for each object under a prefix. Beside either, `"reason": "too late"` takes only the letters with this
reason. Beside a prefix, `"after"` takes only the keys beyond this one: redrive's own way to go on when time runs out.
"""

import msgspec
from msgspec import Struct

from chalicelib.records.letter import DEAD_LETTERS, GIVEN_UP, REASONS

KEY_BYTES_MAX = 1_024  # S3's own limit
PREFIXES = (DEAD_LETTERS, GIVEN_UP)


class BadMessageError(ValueError):
    """The message asks for nothing that can be done; the text says why."""


class RedriveMessage(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Exactly one of key and prefix is given."""

    key: str | None = None
    prefix: str | None = None
    reason: str | None = None
    after: str | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(RedriveMessage).decode


def encode_message(message: RedriveMessage) -> str:
    """Write a message as the body that the queue carries."""
    return _encode(message).decode()


def parse_message(body: str) -> RedriveMessage:
    """Read the body of a message.

    Raises: BadMessageError when it is none; what is not understood is refused, for it may have been a condition.
    """
    try:
        message = _decode(body)
    except (ValueError, RecursionError) as error:
        raise BadMessageError(f"it is no message of redrive: {error}") from error
    match message:
        case RedriveMessage(key=str(where), prefix=None, after=None) | RedriveMessage(key=None, prefix=str(where)):
            if not where.startswith(PREFIXES):
                raise BadMessageError(f"what can be redriven is under {' and '.join(PREFIXES)}")
        case _:
            raise BadMessageError("it names a key or a prefix, one of them")
    if len(where.encode()) > KEY_BYTES_MAX:
        raise BadMessageError(f"a key has at most {KEY_BYTES_MAX} bytes")
    if message.reason is not None and message.reason not in REASONS:
        raise BadMessageError(f"a reason is one of: {', '.join(REASONS)}")
    return message
