"""One event on its way out: exact bytes and a stable partition key. Pure.

Source: Kinesis API Reference, "PutRecord": a record is at most 1 MiB with its partition key,
a key 1 to 256 characters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import orjson

RECORD_BYTES_MAX = 1024 * 1024
PARTITION_KEY_CHARACTERS_MAX = 256

# What a record can hold besides its events: the longest key (256 characters of up to 4 bytes), and what gzip or zstd
# add to bytes that do not compress (some 350). So an event that fits, fits in every encoding.
EVENT_BYTES_MAX = RECORD_BYTES_MAX - 2 * 1024

KeyFunction = Callable[[Mapping[str, Any]], str]


class EventTooLargeError(ValueError):
    """No record can hold this event. Nothing of it was sent."""


class PartitionKeyError(ValueError):
    """The event's partition key is empty, too long, or not to be found. Nothing of it was sent."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event's bytes and its key. Neither shows in a repr: what a customer sent belongs in no log.

    Raises: EventTooLargeError, PartitionKeyError, so that whatever was built can also be sent.
    """

    partition_key: str = field(repr=False)
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.data) > EVENT_BYTES_MAX:
            raise EventTooLargeError(f"the event has {len(self.data)} bytes, {EVENT_BYTES_MAX} is the most")
        if not 1 <= len(self.partition_key) <= PARTITION_KEY_CHARACTERS_MAX:
            raise PartitionKeyError(
                f"the partition key has {len(self.partition_key)} characters, not 1 to {PARTITION_KEY_CHARACTERS_MAX}"
            )


def to_wire(event: Mapping[str, Any]) -> bytes:
    """The event as one line of JSON; a Decimal becomes a JSON number with exactly its digits.

    Raises: TypeError for a value that JSON has no form for, Decimal's NaN and Infinity among them.
    """
    return orjson.dumps(event, default=_exact_number)


def _exact_number(value: object) -> orjson.Fragment:
    if isinstance(value, Decimal) and value.is_finite():
        return orjson.Fragment(format(value, "f"))
    raise TypeError(f"{type(value).__name__} has no JSON form")


def key_at(path: str) -> KeyFunction:
    """A function that takes an event's partition key from a path, such as "data.user_id", else from its `subject`.

    Why: one user's events then share a shard, and so one writer that sees a repeat of any of them. The event's `id`
         would spread load as well, but would send a user's events everywhere.
    Raises: (the function) PartitionKeyError when the event has neither, as text or whole number.
    """
    names = path.split(".")

    def key_of(event: Mapping[str, Any]) -> str:
        value: object = event
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
        for candidate in (value, event.get("subject")):
            if isinstance(candidate, str | int) and not isinstance(candidate, bool):
                return str(candidate)
        raise PartitionKeyError(f"the event has neither {path} nor a subject to take a partition key from")

    return key_of


BY_USER = key_at("data.user_id")
