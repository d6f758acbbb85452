"""What cannot be counted, and why: the words that dead letters, metrics and documents use."""

from enum import StrEnum

from msgspec import Struct


class Reason(StrEnum):
    """Why something on the stream was not counted."""

    MALFORMED = "malformed"  # not JSON, or compressed data that cannot be expanded
    BROKEN_AGGREGATE = "broken aggregate"  # opens as a KPL aggregate and is none
    UNKNOWN_TYPE = "unknown type"  # a JSON event whose type nobody declared
    INVALID = "invalid"  # an event that breaks its type's rules
    TOO_LATE = "too late"  # its time lies further before its arrival than the lateness allows
    FROM_THE_FUTURE = "from the future"  # its time lies further after its arrival than clocks may differ
    CONFLICTING_DUPLICATE = "conflicting duplicate"  # its id was counted shortly before, with other content
    NOT_HANDLED = "not handled"  # counted; but a handler of its type refused it
    UNSENDABLE = "unsendable"  # no event: a message that the topic of results will never take


class Refusal(Struct, frozen=True):
    """The verdict on one payload. The error names the fault; it is kept with the dead letter, never logged."""

    reason: Reason
    error: str


class Rejected(Struct, frozen=True):
    """One piece of a record that cannot be counted, with what it takes to put it on the stream again.

    Shapes: sub_sequence_number is the place in a KPL aggregate, None outside one; data is the exact payload (of a
            user record, or one line of JSON Lines) or, where nothing inside can be trusted, the whole record's.
    """

    refusal: Refusal
    partition_key: str
    sub_sequence_number: int | None
    data: bytes
