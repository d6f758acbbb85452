"""DynamoDB in this process: what the adapters ask of it, and no more, so that a thousand shards fit in one benchmark.

It keeps items, holds conditions, pages a Query by 1 MB and gives whole items back, so that `benchmarks.capacity` counts
what DynamoDB would. tests/contract holds it to the suite of the real table. Where it differs: it never throttles, and
neither projects nor expires.
"""

import re
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from operator import eq, gt, lt
from types import SimpleNamespace
from typing import Any

from localstage.capacity import item_bytes

PAGE_BYTES_MAX = 1024 * 1024
COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {"=": eq, "<": lt, ">": gt}
Item = Mapping[str, Any]


class ConditionalCheckFailedException(Exception):  # noqa: N818  botocore's own name
    """A condition does not hold. Shapes: response has what stands there, if it was asked for and anything does."""

    def __init__(self, standing: Item | None) -> None:
        super().__init__("The conditional request failed")
        self.response = {"Item": standing} if standing else {}


class MemoryDynamoDB:
    """A DynamoDB client on tables in memory; a table is there as soon as it is named.

    Shapes: tell is told of each put that took effect, table and item: the table's stream.
    """

    exceptions = SimpleNamespace(ConditionalCheckFailedException=ConditionalCheckFailedException)

    def __init__(self, tell: Callable[[str, Item], None] = lambda _table, _item: None) -> None:
        self.tell = tell
        self._items: defaultdict[str, dict[tuple[str, str], Item]] = defaultdict(dict)
        self._sort_keys: defaultdict[tuple[str, str], list[str]] = defaultdict(list)

    def put_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's PutItem.

        Raises: ConditionalCheckFailedException.
        """
        table, item = request["TableName"], request["Item"]
        key = (item["pk"]["S"], item["sk"]["S"])
        standing = self._items[table].get(key)
        if "ConditionExpression" in request and not _holds(request, standing):
            is_asked_for = "ReturnValuesOnConditionCheckFailure" in request
            raise ConditionalCheckFailedException(standing if is_asked_for else None)
        self.keep(table, item)
        self.tell(table, item)
        return {}

    def keep(self, table: str, item: Item) -> None:
        """Put an item and tell nobody."""
        key = (item["pk"]["S"], item["sk"]["S"])
        if key not in self._items[table]:
            insort(self._sort_keys[table, key[0]], key[1])
        self._items[table][key] = item

    def get_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's GetItem."""
        item = self._items[request["TableName"]].get((request["Key"]["pk"]["S"], request["Key"]["sk"]["S"]))
        return {} if item is None else {"Item": item}

    def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's BatchGetItem."""
        found: dict[str, list[Item]] = {}
        for table, asked in request["RequestItems"].items():
            keys = [(key["pk"]["S"], key["sk"]["S"]) for key in asked["Keys"]]
            found[table] = [self._items[table][key] for key in keys if key in self._items[table]]
        return {"Responses": found}

    def query(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's Query: the first page of what `_query` finds."""
        return next(self._pages(request))

    def get_paginator(self, _operation: str) -> SimpleNamespace:
        """The paginator of Query."""
        return SimpleNamespace(paginate=lambda **request: self._pages(request))

    def scan(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's Scan, in one page."""
        return {"Items": list(self._items[request["TableName"]].values())}

    def _pages(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        values = {name: value["S"] for name, value in request["ExpressionAttributeValues"].items()}
        table, partition = request["TableName"], values[":pk"]
        found = _range(self._sort_keys[table, partition], request["KeyConditionExpression"], values)
        if not request.get("ScanIndexForward", True):
            found = found[::-1]
        page: list[Item] = []
        page_bytes = 0
        is_over = True
        for sort_key in found:
            item = self._items[table][partition, sort_key]
            page.append(item)
            page_bytes += item_bytes(item)
            is_over = page_bytes >= PAGE_BYTES_MAX or len(page) == request.get("Limit")
            if is_over:
                yield {"Items": page, "Count": len(page)}
                page, page_bytes = [], 0
        if page or not found or is_over:
            yield {"Items": page, "Count": len(page)}


def _range(sort_keys: list[str], condition: str, values: Mapping[str, str]) -> list[str]:
    """The keys that a key condition of ours lets through."""
    match condition.split():
        case ["pk", "=", ":pk"]:
            return sort_keys[:]
        case ["pk", "=", ":pk", "AND", "sk", "BETWEEN", start, "AND", end]:
            return sort_keys[bisect_left(sort_keys, values[start]) : bisect_right(sort_keys, values[end])]
        case ["pk", "=", ":pk", "AND", "sk", "<", bound]:
            return sort_keys[: bisect_left(sort_keys, values[bound])]
        case ["pk", "=", ":pk", "AND", "sk", ">", bound]:
            return sort_keys[bisect_right(sort_keys, values[bound]) :]
        case ["pk", "=", ":pk", "AND", "sk", ">=", bound]:
            return sort_keys[bisect_left(sort_keys, values[bound]) :]
    raise ValueError(f"no key condition of ours: {condition}")


def _holds(request: Mapping[str, Any], standing: Item | None) -> bool:
    """Whether a condition of ours does: comparisons and `attribute_not_exists`, joined by AND, these by OR."""
    names, values = request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {})

    def holds(term: str) -> bool:
        if absent := re.fullmatch(r"attribute_not_exists\((\S+)\)", term):
            return standing is None or absent[1] not in standing
        name, comparison, value = term.split()
        attribute = (standing or {}).get(names.get(name, name))
        return attribute is not None and COMPARISONS[comparison](_comparable(attribute), _comparable(values[value]))

    alternatives = request["ConditionExpression"].split(" OR ")
    return any(all(holds(term) for term in terms.split(" AND ")) for terms in alternatives)


def _comparable(value: Mapping[str, Any]) -> Any:
    ((kind, content),) = value.items()
    return Decimal(content) if kind == "N" else content
