"""Write units as DynamoDB counts them, from the items that are put.

MiniStack answers one unit for a put of any size, so the benchmarks count by themselves.

Source: DynamoDB Developer Guide, "DynamoDB item sizes and formats" and "Capacity unit consumption for writes".
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

WRITE_UNIT_BYTES = 1024
NUMBER_DIGITS_A_BYTE = 2


def item_bytes(item: Mapping[str, Mapping[str, Any]]) -> int:
    """The size of an item of text, numbers and binary values."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "B":
            return len(content)
        case "N":
            digits = content.lstrip("-").replace(".", "").strip("0")
            return -(-len(digits) // NUMBER_DIGITS_A_BYTE) + 1
    raise ValueError(f"no item of ours has a value of the kind {kind}")


class CountingClient:
    """A DynamoDB client that counts the write units of each table. An item is never put over a larger one here."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.write_units: Counter[str] = Counter()

    def put_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's PutItem, with the capacity that it takes in the answer."""
        answer: dict[str, Any] = self._client.put_item(**request)
        units = -(-item_bytes(request["Item"]) // WRITE_UNIT_BYTES)
        self.write_units[request["TableName"]] += units
        return {**answer, "ConsumedCapacity": {"CapacityUnits": units}}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)
