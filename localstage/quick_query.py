"""A quick Query for MiniStack.

MiniStack (1.4.21) sorts the whole partition for each Query, and holds the key condition against every item of it,
parsed anew for each: of a partition of 2 000 items a Query of four took 70 ms, and the stage's own tables have such
partitions. Here a partition keeps its keys in order, and MiniStack is shown the items between the bounds alone. What
the condition of a Query is not of the form below is MiniStack's own affair.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Item = Mapping[str, Mapping[str, str]]

KEY_RANGE = re.compile(
    r"(?P<partition_key>\w+) = (?P<partition>:\w+)"
    r"(?: AND (?P<sort_key>\w+) (?:BETWEEN (?P<low>:\w+) AND (?P<high>:\w+)|(?P<operator><=?|>=?|=) (?P<bound>:\w+)))?"
)


class KeyRange(NamedTuple):
    """A Query's key condition, of keys that are texts: an equal partition key, and what the sort key is compared with.

    Texts order by code point here as their UTF-8 does there.
    """

    partition_key: str
    partition: str
    sort_key: str | None
    low: str | None
    low_counts: bool
    high: str | None
    high_counts: bool

    def holds(self, item: Item) -> bool:
        """Whether an item satisfies it."""
        if item[self.partition_key] != {"S": self.partition}:
            return False
        if self.sort_key is None:
            return True
        key = item[self.sort_key]["S"]
        above = self.low is None or self.low < key or (self.low_counts and self.low == key)
        below = self.high is None or key < self.high or (self.high_counts and key == self.high)
        return above and below

    def among(self, partition: "Partition") -> dict[str, Any]:
        """Which items of the partition satisfy it, in order."""
        keys = partition.in_order()
        if self.sort_key is None:
            return {key: partition[key] for key in keys}
        first, end = 0, len(keys)
        if self.low is not None:
            first = (bisect_left if self.low_counts else bisect_right)(keys, self.low)
        if self.high is not None:
            end = (bisect_right if self.high_counts else bisect_left)(keys, self.high)
        return {key: partition[key] for key in keys[first:end]}


class Partition(dict[str, Any]):
    """The items of a partition by their sort keys; a partition becomes one when it is first asked about."""

    def __init__(self, *items: Any) -> None:
        super().__init__(*items)
        self._in_order: list[str] | None = None

    def in_order(self) -> list[str]:
        """The sort keys, in order; sorted anew when some came or went."""
        if self._in_order is None or len(self._in_order) != len(self):
            self._in_order = sorted(self)
        return self._in_order

    def __setitem__(self, key: str, item: Any) -> None:
        if key not in self:
            self._in_order = None
        super().__setitem__(key, item)

    def __delitem__(self, key: str) -> None:
        self._in_order = None
        super().__delitem__(key)

    def pop(self, key: str, *default: Any) -> Any:
        """Take an item out."""
        self._in_order = None
        return super().pop(key, *default)


def install(dynamodb: Any) -> None:
    """Make Query quick in MiniStack's module of DynamoDB."""
    dynamodb._query = narrowed(dynamodb._query, dynamodb._tables)  # noqa: SLF001  MiniStack has no other way in
    dynamodb._evaluate_condition = quick(dynamodb._evaluate_condition)  # noqa: SLF001


def narrowed(query: Callable[[Any], Any], tables: Any) -> Callable[[Any], Any]:
    """Show MiniStack's Query the items between the bounds alone. It waits for nothing, so nobody else sees that."""

    def query_narrowed(data: Mapping[str, Any]) -> Any:
        table = tables.get(data.get("TableName"))
        asked = key_range(data.get("KeyConditionExpression") or "", data.get("ExpressionAttributeValues") or {})
        if table is None or asked is None or data.get("IndexName"):
            return query(data)
        is_of_the_table = asked.partition_key == table["pk_name"] and asked.sort_key in (None, table["sk_name"])
        whole = table["items"]
        if not is_of_the_table or asked.partition not in whole:
            return query(data)
        if not isinstance(whole[asked.partition], Partition):
            whole[asked.partition] = Partition(whole[asked.partition])
        table["items"] = {asked.partition: asked.among(whole[asked.partition])}
        try:
            return query(data)
        finally:
            table["items"] = whole

    return query_narrowed


def quick(evaluate: Callable[..., bool]) -> Callable[..., bool]:
    """Make MiniStack's evaluation of conditions quick where it is a Query's."""
    latest_values: Item = {}
    latest: KeyRange | None = None

    def evaluate_quickly(
        expression: str, item: Item, values: Item, names: Mapping[str, str], slot: str = "ConditionExpression"
    ) -> bool:
        nonlocal latest_values, latest
        if slot != "KeyConditionExpression":
            return evaluate(expression, item, values, names, slot=slot)
        if values is not latest_values:  # one request's values are one object, and no other's while it is kept here
            latest_values, latest = values, key_range(expression, values)
        return evaluate(expression, item, values, names, slot=slot) if latest is None else latest.holds(item)

    return evaluate_quickly


def key_range(expression: str, values: Item) -> KeyRange | None:
    """Read `pk = :pk`, with `sk BETWEEN :low AND :high` or `sk < :bound` or the like behind AND; None of any other."""
    match = KEY_RANGE.fullmatch(expression)
    if match is None or not all("S" in values.get(name, ()) for name in match.groups() if name and name[0] == ":"):
        return None
    low = high = None
    operator = match["operator"] or ""
    if match["low"]:
        low, high = values[match["low"]]["S"], values[match["high"]]["S"]
    elif operator:
        bound = values[match["bound"]]["S"]
        low, high = None if "<" in operator else bound, None if ">" in operator else bound
    counts = not match["operator"] or "=" in operator
    return KeyRange(
        match["partition_key"], values[match["partition"]]["S"], match["sort_key"], low, counts, high, counts
    )
