"""Write and read units as DynamoDB counts them, from the items that are put and read.

MiniStack answers one unit for a put of any size, so the benchmarks count by themselves. Of an item that is read they
see what the projection leaves, a hundred bytes of keys less than is counted.

Source: DynamoDB Developer Guide, "DynamoDB item sizes and formats" and "Capacity unit consumption for writes".
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

WRITE_UNIT_BYTES = 1024
READ_UNIT_BYTES = 4096  # of a consistent read; ours are
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
    """A DynamoDB client that counts the units of each table. An item is never put over a larger one here."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.write_units: Counter[str] = Counter()
        self.read_units: Counter[str] = Counter()

    def put_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's PutItem, with the capacity that it takes in the answer."""
        answer: dict[str, Any] = self._client.put_item(**request)
        units = -(-item_bytes(request["Item"]) // WRITE_UNIT_BYTES)
        self.write_units[request["TableName"]] += units
        return {**answer, "ConsumedCapacity": {"CapacityUnits": units}}

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's BatchGetItem, of which every item counts by itself."""
        answer: dict[str, Any] = self._client.batch_get_item(**request)
        for table, asked in request["RequestItems"].items():
            items = answer["Responses"].get(table, [])
            self.read_units[table] += sum(_read_units([item]) for item in items) + len(asked["Keys"]) - len(items)
        return answer

    def get_paginator(self, operation: str) -> "_CountingPaginator":
        """The paginator of Query, which counts what each page is."""
        return _CountingPaginator(self._client.get_paginator(operation), self.read_units)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class _CountingPaginator:
    def __init__(self, paginator: Any, read_units: Counter[str]) -> None:
        self._paginator = paginator
        self._read_units = read_units

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        for page in self._paginator.paginate(**request):
            self._read_units[request["TableName"]] += _read_units(page["Items"])
            yield page


def _read_units(items: Sequence[Mapping[str, Mapping[str, Any]]]) -> int:
    """What a read of these together takes; one of nothing takes one."""
    return max(1, -(-sum(map(item_bytes, items)) // READ_UNIT_BYTES))
