"""DynamoDB's typed attribute values as plain ones. Only this file knows the descriptors: S, N, BOOL, NULL, M, L, sets.

Not boto3's TypeDeserializer: it refuses numbers that DynamoDB itself never made (a producer can put anything on the
stream), and it needs bytes where JSON has base64.

Source: Amazon DynamoDB API Reference, AttributeValue.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from decimal import Decimal, DecimalException
from typing import Any

from chalicelib.records.cloudevents import shorten

NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

Image = Mapping[str, Any]  # an item or its key: attributes with typed values, as DynamoDB writes them in JSON


class BrokenImageError(ValueError):
    """An attribute's value is none of DynamoDB's; the message says why, and never quotes the value."""


def plain_item(image: Image) -> dict[str, Any]:
    """The attributes of an item with plain values, such as JSON has.

    Shapes: numbers are Decimals, exact; binary values stay base64 text; sets are lists in order, so that the same set
            is always written alike.
    Raises: BrokenImageError; RecursionError when values are nested deeper than DynamoDB lets them be.
    """
    return {name: _plain(value) for name, value in image.items()}


def _plain(typed: Any) -> Any:
    if not (isinstance(typed, Mapping) and len(typed) == 1):
        raise BrokenImageError("an attribute's value has one descriptor")
    ((descriptor, value),) = typed.items()
    if descriptor not in _READ:
        raise BrokenImageError(shorten(f"there is no descriptor {descriptor!r}"))
    kind, read = _READ[descriptor]
    if not isinstance(value, kind):
        raise BrokenImageError(f"{descriptor} has a {type(value).__name__}")
    return read(value)


def _number(text: str) -> Decimal:
    try:
        return Decimal(text if NUMBER.fullmatch(text) else "")
    except DecimalException as error:
        raise BrokenImageError("N is no number") from error


def _base64(text: str) -> str:
    try:
        b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BrokenImageError("B is no base64") from error
    return text


def _null(is_null: bool) -> None:
    if not is_null:
        raise BrokenImageError("NULL is not true")


def _set_of(read: Callable[[str], Any]) -> Callable[[list[Any]], list[Any]]:
    def read_set(values: list[Any]) -> list[Any]:
        if not all(isinstance(value, str) for value in values):
            raise BrokenImageError("a set has texts")
        return sorted(map(read, values))

    return read_set


_READ: Mapping[str, tuple[type, Callable[[Any], Any]]] = {
    "S": (str, str),
    "N": (str, _number),
    "BOOL": (bool, bool),
    "NULL": (bool, _null),
    "B": (str, _base64),
    "M": (Mapping, plain_item),
    "L": (list, lambda values: [_plain(value) for value in values]),
    "SS": (list, _set_of(str)),
    "NS": (list, _set_of(_number)),
    "BS": (list, _set_of(_base64)),
}
