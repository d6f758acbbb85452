"""A local stage that asks for tokens, with known orders on its stream; and what must be on the page for them."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import urllib3

from chalicelib.aws.events_stream import EventsStream
from chalicelib.consumers.tick import Tick
from loadtest.producer import Producer
from localstage import LocalStage, aws
from ops import tokens
from ops.token_ledger import TokenLedger
from tests.waiting import wait_until

PATIENCE_SECONDS = 30
CALL_MS = 10_000
FAR_MS = 4_000_000_000_000
EXACT = Decimal("0.1234567890123456789")  # more digits than a double has
_numbers = count(1)


@dataclass(frozen=True)
class Order:
    """An order of the shop; minutes, how many before the shop opened."""

    currency: str
    amount: Decimal
    minutes: int
    order_type: str = "standard"
    user: str = "ada"


# Per currency and minute. The names are such that they need care: in a URL, in a condition, in HTML.
ORDERS = (
    Order("EUR", Decimal("19.90"), 2),
    Order("EUR", EXACT, 2, user="bob"),
    Order("EUR", Decimal("5000.00"), 5, "gift", user="cid"),
    Order("USD", Decimal("7.25"), 2, user="dee"),
    Order("USD", Decimal(1200), 20, "a,b:c\\d", user="eve"),
    Order("GBP", Decimal("0.50"), 5, "<b>&", user="fay"),
)


class Shop:
    """The stage, and its clock: windows are counted back from the minute in which it opened.

    `token` may read everything, `customers_token` the metric `customers` alone.
    """

    def __init__(self, stage: LocalStage) -> None:
        self.stage = stage
        self.url = stage.api_url
        self.opened = datetime.now(UTC).replace(second=0, microsecond=0)
        ledger = TokenLedger(aws.client("secretsmanager", stage.endpoint_url), f"highwater-{stage.stage}-api-tokens")
        self.token = tokens.issue(ledger, "everything", ["*"], FAR_MS)
        self.customers_token = tokens.issue(ledger, "customers", ["customers"], FAR_MS)
        self._kinesis = aws.client("kinesis", stage.endpoint_url)
        self._stream = f"highwater-{stage.stage}-events"
        self._tick = Tick(EventsStream(self._kinesis, self._stream))

    def window(self, minutes: int) -> str:
        """A window's start as the table shows it."""
        return f"{self.opened - timedelta(minutes=minutes):%Y-%m-%d %H:%M}"

    def instant(self, minutes: int) -> str:
        """A window's start as the API writes it."""
        return f"{self.opened - timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"

    def sell(self, orders: Iterable[Order]) -> None:
        """Put these orders on the stream, and behind them a tick on every shard; wait until it is counted."""
        with Producer(self._kinesis, self._stream) as producer:
            for order in orders:
                producer.put(self._event(order))
            last = producer.flush().last_sequence_numbers
        self._tick(int(time.time() * 1000), lambda: CALL_MS)
        wait_until(
            lambda: all(each > int(last.get(shard, 0)) for shard, each in self._checkpoints().items()), PATIENCE_SECONDS
        )

    def ask(self, path: str) -> urllib3.BaseHTTPResponse:
        """Ask the API, as anyone with the token would."""
        return urllib3.request("GET", f"{self.url}/{path}", headers={"Authorization": f"Bearer {self.token}"})

    def _event(self, order: Order) -> dict[str, Any]:
        number = next(_numbers)
        return {
            "specversion": "1.0",
            "id": str(number),
            "source": "/shop",
            "type": "order.placed",
            "time": self.instant(order.minutes),
            "data": {
                "order_id": f"order-{number}",
                "user_id": order.user,
                "amount": order.amount,
                "currency": order.currency,
                "order_type": order.order_type,
            },
        }

    def _checkpoints(self) -> dict[str, int]:
        shards = self.ask("v1/stream").json()["shards"]
        return {shard["shard_id"]: int(shard["checkpoint"] or 0) for shard in shards}


def revenue(orders: Sequence[Order], **fields: Any) -> str:
    """The sum of the amounts of those orders that have these fields, as the page writes it."""
    amounts = [each.amount for each in orders if all(getattr(each, name) == value for name, value in fields.items())]
    return f"{sum(amounts, Decimal(0)):,}"
