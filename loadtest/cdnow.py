"""The CDNOW purchases: real orders, and what must come out of them. Only this file knows the data set's columns.

The truths below are computed straight from the rows, by other code than Highwater's own, so that the system's answers
can be held against them to the cent. See data/README.md for where the rows come from.
"""

import gzip
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

PURCHASES_PATH = Path(__file__).parent / "data" / "cdnow_master.txt.gz"


@dataclass(frozen=True, slots=True)
class Purchase:
    """One row. Rows may be equal in all columns, so `row_number` (from 1) is what tells two apart."""

    row_number: int
    customer_id: str
    date: date
    number_of_cds: int
    dollar_value: Decimal


@dataclass(frozen=True, slots=True)
class Total:
    """Orders that are valid, and what they add up to."""

    orders: int
    revenue: Decimal


def read_purchases(path: Path = PURCHASES_PATH) -> Iterator[Purchase]:
    """Every purchase, in the file's order."""
    with gzip.open(path, "rt", encoding="ascii") as lines:
        next(lines)
        for row_number, line in enumerate(lines, start=1):
            customer_id, day, number_of_cds, dollar_value = line.split()
            yield Purchase(row_number, customer_id, date.fromisoformat(day), int(number_of_cds), Decimal(dollar_value))


def order_placed(purchase: Purchase) -> dict[str, Any]:
    """The purchase as an `order.placed` CloudEvent.

    Returns: a mapping whose `amount` is the file's own Decimal ("12.00" stays "12.00" on the wire), whose `id` depends
             on the row alone, so that sending the file twice sends the same events.
    """
    return {
        "specversion": "1.0",
        "id": str(purchase.row_number),
        "source": "/cdnow",
        "type": "order.placed",
        "time": f"{purchase.date.isoformat()}T00:00:00Z",
        "data": {
            "order_id": f"cdnow-{purchase.row_number:05d}",
            "user_id": purchase.customer_id,
            "amount": purchase.dollar_value,
            "currency": "USD",
            "order_type": "standard",
        },
    }


def is_valid_order(purchase: Purchase) -> bool:
    """Whether Highwater counts it: an amount of zero is a dead letter."""
    return purchase.dollar_value > 0


def total(purchases: Iterable[Purchase]) -> Total:
    """The valid orders among the purchases and their exact revenue."""
    values = [purchase.dollar_value for purchase in purchases if is_valid_order(purchase)]
    return Total(len(values), sum(values, Decimal(0)))


def total_by_month(purchases: Iterable[Purchase]) -> dict[str, Total]:
    """Valid orders and revenue of each month ("1997-01"), in the months' order."""
    return dict(sorted(_totals_by(purchases, lambda purchase: f"{purchase.date:%Y-%m}").items()))


def total_by_day(purchases: Iterable[Purchase]) -> dict[str, Total]:
    """Valid orders and revenue of each day ("1997-01-31") that has any, in the days' order."""
    by_day = sorted(_totals_by(purchases, lambda purchase: purchase.date.isoformat()).items())
    return {day: total for day, total in by_day if total.orders}


def best_customers(purchases: Iterable[Purchase], count: int = 10) -> list[tuple[str, Total]]:
    """The customers who spent most, each with their orders and spend; of equal spenders the lower id comes first."""
    by_customer = _totals_by(purchases, lambda purchase: purchase.customer_id)
    return sorted(by_customer.items(), key=lambda entry: (-entry[1].revenue, entry[0]))[:count]


def _totals_by(purchases: Iterable[Purchase], key: Callable[[Purchase], str]) -> dict[str, Total]:
    groups: defaultdict[str, list[Purchase]] = defaultdict(list)
    for purchase in purchases:
        groups[key(purchase)].append(purchase)
    return {group: total(members) for group, members in groups.items()}
