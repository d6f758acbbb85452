"""A DynamoDB client that counts the units it takes, so that a benchmark sees those of its own calls alone.

Of an item that is read it sees what the projection leaves, a hundred bytes of keys less than is counted.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from localstage.capacity import item_bytes, read_units, write_units


class CountingClient:
    """A DynamoDB client that counts the units of each table. An item is never put over a larger one here."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.write_units: Counter[str] = Counter()
        self.read_units: defaultdict[str, float] = defaultdict(float)

    def put_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's PutItem, with the capacity that it takes in the answer."""
        answer: dict[str, Any] = self._client.put_item(**request)
        units = write_units(None, request["Item"])
        self.write_units[request["TableName"]] += units
        return {**answer, "ConsumedCapacity": {"CapacityUnits": units}}

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's BatchGetItem, of which every item counts by itself."""
        answer: dict[str, Any] = self._client.batch_get_item(**request)
        for table, asked in request["RequestItems"].items():
            items = answer["Responses"].get(table, [])
            self.read_units[table] += sum(read_units(item_bytes(item), consistent=True) for item in items) + (
                len(asked["Keys"]) - len(items)
            )
        return answer

    def get_paginator(self, operation: str) -> "_CountingPaginator":
        """The paginator of Query, which counts what each page is."""
        return _CountingPaginator(self._client.get_paginator(operation), self.read_units)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


class _CountingPaginator:
    def __init__(self, paginator: Any, read_units: defaultdict[str, float]) -> None:
        self._paginator = paginator
        self._read_units = read_units

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        for page in self._paginator.paginate(**request):
            self._read_units[request["TableName"]] += read_units(sum(map(item_bytes, page["Items"])), consistent=True)
            yield page
