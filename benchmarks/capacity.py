"""Write and read units as DynamoDB counts them, from the items that are put and read.

MiniStack answers one unit for a put of any size, so the benchmarks count by themselves. Of an item that is read they
see what the projection leaves, a hundred bytes of keys less than is counted.

Source: DynamoDB Developer Guide, "DynamoDB item sizes and formats" and "Capacity unit consumption for writes".
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

WRITE_UNIT_BYTES = 1024
READ_UNIT_BYTES = 4096  # of a consistent read; ours are
NUMBER_DIGITS_A_BYTE = 2
COLLECTION_BYTES = 3  # of a map or list, and one for each of its entries


def item_bytes(item: Mapping[str, Mapping[str, Any]]) -> int:
    """The size of an item of text, numbers, binary values and maps of these."""
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
        case "M":
            return COLLECTION_BYTES + item_bytes(content) + len(content)
    raise ValueError(f"no item of ours has a value of the kind {kind}")


class CountingClient:
    """A DynamoDB client that counts requests by table and operation, and the units of each table.

    Why refused puts count: DynamoDB takes the units of a write whose condition does not hold, too.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.requests: Counter[tuple[str, str]] = Counter()
        self.write_units: Counter[str] = Counter()
        self.read_units: Counter[str] = Counter()

    def put_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's PutItem, with the capacity that it takes in the answer. No item of ours replaces a larger one."""
        units = -(-item_bytes(request["Item"]) // WRITE_UNIT_BYTES)
        self.requests[request["TableName"], "PutItem"] += 1
        self.write_units[request["TableName"]] += units
        answer: dict[str, Any] = self._client.put_item(**request)
        return {**answer, "ConsumedCapacity": {"CapacityUnits": units}}

    def get_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's GetItem."""
        answer: dict[str, Any] = self._client.get_item(**request)
        self.requests[request["TableName"], "GetItem"] += 1
        self.read_units[request["TableName"]] += _read_units([answer["Item"]] if "Item" in answer else [])
        return answer

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's BatchGetItem, of which every item counts by itself."""
        answer: dict[str, Any] = self._client.batch_get_item(**request)
        for table, asked in request["RequestItems"].items():
            items = answer["Responses"].get(table, [])
            self.requests[table, "BatchGetItem"] += 1
            self.read_units[table] += sum(_read_units([item]) for item in items) + len(asked["Keys"]) - len(items)
        return answer

    def query(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's Query."""
        answer: dict[str, Any] = self._client.query(**request)
        return self._counted(request["TableName"], answer)

    def get_paginator(self, operation: str) -> SimpleNamespace:
        """The paginator of Query, which counts what each page is."""
        paginator = self._client.get_paginator(operation)

        def paginate(**request: Any) -> Iterator[dict[str, Any]]:
            for page in paginator.paginate(**request):
                yield self._counted(request["TableName"], page)

        return SimpleNamespace(paginate=paginate)

    def _counted(self, table: str, page: dict[str, Any]) -> dict[str, Any]:
        units = _read_units(page["Items"])
        self.requests[table, "Query"] += 1
        self.read_units[table] += units
        return {**page, "ConsumedCapacity": {"CapacityUnits": units}}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def _read_units(items: Sequence[Mapping[str, Mapping[str, Any]]]) -> int:
    """What a read of these together takes; one of nothing takes one."""
    return max(1, -(-sum(map(item_bytes, items)) // READ_UNIT_BYTES))
