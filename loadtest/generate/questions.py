"""What analysts ask while the load runs: a dashboard's minutes now and then, totals, rankings, estimates, a file. Pure.

Each is about the run's own groups where a condition can say so, over the hour that is under way.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from chalicelib.aggregates.windows import format_instant

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
WINDOWS = "/v1/metrics/{}/windows?{}"


@dataclass(frozen=True, slots=True)
class Question:
    """A request of the API, and what such ones are called in reports."""

    name: str
    path: str


Asking = Callable[[int, Sequence[str]], Question]


def windows(metric: str, name: str, now_ms: int, **parameters: str) -> Question:
    """A question about a metric's windows of the last hour."""
    span = {"start": format_instant(_minute(now_ms) - HOUR_MS), "end": format_instant(_minute(now_ms) + MINUTE_MS)}
    return Question(name, WINDOWS.format(metric, urlencode({**span, **parameters}, quote_via=quote)))


def _minute(instant_ms: int) -> int:
    return instant_ms - instant_ms % MINUTE_MS


def minutes(now_ms: int, currencies: Sequence[str]) -> Question:
    """The chart of a dashboard."""
    return windows("orders", "orders by minute", now_ms, step="1m", group_by="currency", where=_currencies(currencies))


def totals(now_ms: int, currencies: Sequence[str]) -> Question:
    """The tiles of a dashboard."""
    return windows("orders", "orders, totals", now_ms, step="all", group_by="currency", where=_currencies(currencies))


def best_customers(now_ms: int, _currencies: Sequence[str]) -> Question:
    """A ranking of many groups. Of other traffic too: there is no condition on a beginning of a name."""
    return windows(
        "customers", "top 10 customers", now_ms, step="all", group_by="user_id", order_by="-spend", limit="10"
    )


def customers(now_ms: int, currencies: Sequence[str]) -> Question:
    """How many different customers there were."""
    return windows("customers_distinct", "distinct customers", now_ms, step="all", where=_currencies(currencies))


def values(now_ms: int, currencies: Sequence[str]) -> Question:
    """How much orders are worth."""
    return windows(
        "order_value", "order quantiles", now_ms, step="5m", group_by="currency", where=_currencies(currencies)
    )


def as_file(now_ms: int, currencies: Sequence[str]) -> Question:
    """A file for a spreadsheet."""
    return windows(
        "orders",
        "orders as CSV",
        now_ms,
        step="1m",
        group_by="currency,order_type",
        where=_currencies(currencies),
        format="csv",
    )


def stream(_now_ms: int, _currencies: Sequence[str]) -> Question:
    """How far the stream is."""
    return Question("stream", "/v1/stream")


def health(_now_ms: int, _currencies: Sequence[str]) -> Question:
    """Whether anybody is there."""
    return Question("health", "/v1/health")


def _currencies(currencies: Sequence[str]) -> str:
    return f"currency:{','.join(currencies)}"


MIX: tuple[tuple[Asking, int], ...] = (
    (minutes, 30),
    (totals, 20),
    (best_customers, 10),
    (customers, 10),
    (values, 10),
    (as_file, 5),
    (stream, 10),
    (health, 5),
)


def draw(chance: random.Random, now_ms: int, currencies: Sequence[str]) -> Question:
    """One of them, by their weights."""
    (asking,) = chance.choices([each for each, _ in MIX], [weight for _, weight in MIX])
    return asking(now_ms, currencies)


def probes(customers: Sequence[str], first_due_ms: int, last_due_ms: int) -> Question:
    """Which of these customers' orders are counted: each has one, due in these minutes, and gets a row."""
    span = {"start": format_instant(_minute(first_due_ms)), "end": format_instant(_minute(last_due_ms) + MINUTE_MS)}
    asked = {
        **span,
        "step": "all",
        "measures": "orders",
        "group_by": "user_id",
        "where": f"user_id:{','.join(customers)}",
    }
    return Question("probes", WINDOWS.format("customers", urlencode(asked, quote_via=quote)))
