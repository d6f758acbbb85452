"""MiniStack with a quick Query: `python -m localstage.quick_ministack` instead of `python -m ministack`.

MiniStack (1.4.21) holds the key condition of a Query against every item of the partition, and parses it anew for each:
of a partition of 2 000 items a Query of four took 70 ms, and the stage's own tables have such partitions. Here the two
conditions that Highwater asks are parsed once; whatever else is evaluated, MiniStack does as it always did.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from ministack.services import dynamodb

Item = Mapping[str, Mapping[str, str]]
KeyRange = tuple[str, str, str | None, str | None, str | None]  # names of attributes and of values

KEY_RANGE = re.compile(r"(\w+) = (:\w+)(?: AND (\w+) BETWEEN (:\w+) AND (:\w+))?")


def quick(evaluate: Callable[..., bool]) -> Callable[..., bool]:
    """Make MiniStack's evaluation of conditions quick where it is a Query's, of keys that are texts."""

    def evaluate_quickly(
        expression: str, item: Item, values: Item, names: Mapping[str, str], slot: str = "ConditionExpression"
    ) -> bool:
        keys = key_range(expression) if slot == "KeyConditionExpression" else None
        if keys is None or not all("S" in value for value in values.values()):
            return evaluate(expression, item, values, names, slot=slot)
        partition_key, partition, sort_key, low, high = keys
        if item[partition_key] != values[partition]:
            return False
        # Texts order by code point here as their UTF-8 does there.
        return sort_key is None or values[low]["S"] <= item[sort_key]["S"] <= values[high]["S"]  # type: ignore[index]

    return evaluate_quickly


@lru_cache
def key_range(expression: str) -> KeyRange | None:
    """Read `pk = :pk` or `pk = :pk AND sk BETWEEN :low AND :high`; None of any other condition."""
    match = KEY_RANGE.fullmatch(expression)
    return None if match is None else match.groups()  # type: ignore[return-value]


if __name__ == "__main__":
    from ministack.app import main

    evaluate: Any = dynamodb._evaluate_condition  # noqa: SLF001  there is no other way in
    dynamodb._evaluate_condition = quick(evaluate)  # noqa: SLF001
    main()
