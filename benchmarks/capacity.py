"""A DynamoDB client that counts the requests and units that it takes, so that a benchmark sees its own calls alone.

Of an item that is read it sees what the projection leaves, a hundred bytes of keys less than is counted; on
`benchmarks.memory_dynamodb` it sees all of it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from localstage.capacity import item_bytes, read_units, write_units


class CountingClient:
    """A DynamoDB client that counts requests by table and operation, and the units of each table.

    Why refused puts count: DynamoDB takes the units of a write whose condition does not hold, too.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.requests: Counter[tuple[str, str]] = Counter()
        self.write_units: Counter[str] = Counter()
        self.read_units: defaultdict[str, float] = defaultdict(float)

    def put_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's PutItem, with the capacity that it takes in the answer. No item of ours replaces a larger one."""
        units = write_units(None, request["Item"])
        self.requests[request["TableName"], "PutItem"] += 1
        self.write_units[request["TableName"]] += units
        answer: dict[str, Any] = self._client.put_item(**request)
        return {**answer, "ConsumedCapacity": {"CapacityUnits": units}}

    def get_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's GetItem."""
        answer: dict[str, Any] = self._client.get_item(**request)
        self.requests[request["TableName"], "GetItem"] += 1
        self.read_units[request["TableName"]] += _read([answer["Item"]] if "Item" in answer else [])
        return answer

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's BatchGetItem, of which every item counts by itself."""
        answer: dict[str, Any] = self._client.batch_get_item(**request)
        for table, asked in request["RequestItems"].items():
            items = answer["Responses"].get(table, [])
            self.requests[table, "BatchGetItem"] += 1
            self.read_units[table] += sum(_read([item]) for item in items) + len(asked["Keys"]) - len(items)
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
        units = _read(page["Items"])
        self.requests[table, "Query"] += 1
        self.read_units[table] += units
        return {**page, "ConsumedCapacity": {"CapacityUnits": units}}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def _read(items: Sequence[Mapping[str, Any]]) -> float:
    """What a consistent read of these together takes; one of nothing takes one."""
    return read_units(sum(map(item_bytes, items)), consistent=True)
