"""A quick Query for MiniStack.

MiniStack (1.4.21) holds the key condition of a Query against every item of the partition, and parses it anew for each:
of a partition of 2 000 items a Query of four took 70 ms, and the stage's own tables have such partitions. Here the two
conditions that Highwater asks are parsed once; whatever else is evaluated, MiniStack does as it always did.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

Item = Mapping[str, Mapping[str, str]]

KEY_RANGE = re.compile(r"(\w+) = (:\w+)(?: AND (\w+) BETWEEN (:\w+) AND (:\w+))?")


class KeyRange(NamedTuple):
    """A Query's key condition, of keys that are texts: an equal partition key, and from low to high the sort key's."""

    partition_key: str
    partition: Mapping[str, str]
    sort_key: str | None
    low: str
    high: str

    def holds(self, item: Item) -> bool:
        """Whether an item satisfies it. Texts order by code point here as their UTF-8 does there."""
        if item[self.partition_key] != self.partition:
            return False
        return self.sort_key is None or self.low <= item[self.sort_key]["S"] <= self.high


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
    """Read `pk = :pk` or `pk = :pk AND sk BETWEEN :low AND :high`; None of any other condition."""
    match = KEY_RANGE.fullmatch(expression)
    if match is None or not all("S" in value for value in values.values()):
        return None
    partition_key, partition, sort_key, low, high = match.groups()
    bounds = (values[low]["S"], values[high]["S"]) if sort_key else ("", "")
    return KeyRange(partition_key, values[partition], sort_key, *bounds)
