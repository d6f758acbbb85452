"""What every engine must come to: count and exact revenue of orders, by minute, currency and order type."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Any

MINUTE_CHARACTERS = len("2026-11-23T21:10")

Group = tuple[str, str, str]  # minute (UTC, `2026-11-23T21:10`), currency, order_type
Totals = dict[Group, tuple[int, Decimal]]
Groups = dict[Group, list[Any]]  # the same while it is being counted


def add(groups: Groups, event: Mapping[str, Any]) -> None:
    """Count one event that was parsed from JSON: the fold of every engine that leaves folding to its user."""
    data = event["data"]
    key = (event["time"][:MINUTE_CHARACTERS], data["currency"], data["order_type"])
    amount = Decimal(str(data["amount"]))
    group = groups.get(key)
    if group is None:
        groups[key] = [1, amount]
    else:
        group[0] += 1
        group[1] += amount


def totals_of(groups: Groups) -> Totals:
    """What was counted."""
    return {key: (count, revenue) for key, (count, revenue) in groups.items()}


def from_rows(rows: Iterable[tuple[str, str, str, int, str]]) -> Totals:
    """Read the totals of an engine in a process of its own: minute, currency, order type, count and revenue as text."""
    return {(minute, currency, kind): (count, Decimal(revenue)) for minute, currency, kind, count, revenue in rows}


def by_currency_and_type(totals: Totals) -> dict[tuple[str, str], tuple[int, Decimal]]:
    """The totals of all minutes together, as Y has them."""
    summed: dict[tuple[str, str], tuple[int, Decimal]] = {}
    for (_, *rest), (count, revenue) in totals.items():
        key = (rest[0], rest[1])
        counted, earned = summed.get(key, (0, Decimal(0)))
        summed[key] = (counted + count, earned + revenue)
    return summed


def digest(totals: Totals) -> str:
    """A name for these totals that no others have, whatever the order of groups and the zeros behind an amount."""
    lines = [f"{'|'.join(group)}|{count}|{revenue.normalize():f}" for group, (count, revenue) in totals.items()]
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]
