"""Write and read units as DynamoDB counts them, from the items that are put and read.

Source: DynamoDB Developer Guide, "DynamoDB item sizes and formats" and "DynamoDB read and write operations".
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

Item = Mapping[str, Mapping[str, Any]]

WRITE_UNIT_BYTES = 1024
READ_UNIT_BYTES = 4096  # of a consistent read; one that is not takes half a unit for them
NUMBER_DIGITS_A_BYTE = 2
CONTAINER_BYTES = 3  # of a list or a map, however little is in it; and one more for each of its elements


def item_bytes(item: Item) -> int:
    """The size of an item. Binary values may be bytes or, as they are on the wire, base64."""
    return sum(_text_bytes(name) + _value_bytes(value) for name, value in item.items())


def write_units(old: Item | None, new: Item | None) -> int:
    """What it takes to write one for the other, whether or not the condition held: the larger of the two counts."""
    return max(1, -(-max(item_bytes(old or {}), item_bytes(new or {})) // WRITE_UNIT_BYTES))


def read_units(size_bytes: int, *, consistent: bool) -> float:
    """What it takes to read so much at once; nothing takes as much as a little."""
    units = max(1, -(-size_bytes // READ_UNIT_BYTES))
    return units if consistent else units / 2


def _value_bytes(value: Mapping[str, Any]) -> int:
    """Raises: KeyError for a kind of value that DynamoDB does not have."""
    ((kind, content),) = value.items()
    return SIZES[kind](content)


def _list_bytes(values: Collection[Mapping[str, Any]]) -> int:
    return CONTAINER_BYTES + len(values) + sum(map(_value_bytes, values))


def _map_bytes(values: Mapping[str, Mapping[str, Any]]) -> int:
    return _list_bytes(values.values()) + sum(map(_text_bytes, values))


def _text_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _binary_bytes(content: bytes | str) -> int:
    return base64_bytes(content) if isinstance(content, str) else len(content)


def _number_bytes(number: str) -> int:
    digits = number.lstrip("-").replace(".", "").strip("0")
    return -(-len(digits) // NUMBER_DIGITS_A_BYTE) + 1


def base64_bytes(text: str) -> int:
    """How many bytes it is of which this is the base64."""
    return len(text) * 3 // 4 - text[-2:].count("=")


SIZES: Mapping[str, Callable[[Any], int]] = {
    "S": _text_bytes,
    "N": _number_bytes,
    "B": _binary_bytes,
    "BOOL": lambda _: 1,
    "NULL": lambda _: 1,
    "SS": lambda texts: sum(map(_text_bytes, texts)),
    "NS": lambda numbers: sum(map(_number_bytes, numbers)),
    "BS": lambda contents: sum(map(_binary_bytes, contents)),
    "L": _list_bytes,
    "M": _map_bytes,
}
