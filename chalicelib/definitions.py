"""What this stage counts, and what it does besides: event types, metrics, alerts, handlers. An adopter's one file.

An event type is a msgspec struct of the event's `data`; what it refuses becomes a dead letter. A metric names an event
type, the dimensions to group by, and what to measure of each group. Adding a metric is safe at any time; a metric
whose meaning changes needs a new name, for what is stored under the old one means something else. A handler does what
is no aggregate, at most once to success for each event; renamed, it is another handler, with nothing done yet. An alert
names a metric's measure and a threshold; it is raised once for each window and group that crosses it.
"""

from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from chalicelib.aggregates.measures import Count, Distinct, Max, Mean, Min, Quantile, Sum
from chalicelib.aggregates.metric import Metric
from chalicelib.alerts import Above, Alert, RateOfChange
from chalicelib.change import Change
from chalicelib.effects import Results, handles, stable_id
from chalicelib.records.cloudevents import CloudEvent

NOTHING = Decimal(0)
AMOUNT_MAX = Decimal(10_000)
LARGE_ORDER = Decimal(5_000)


class OrderPlaced(Struct, frozen=True, gc=False):
    """A customer placed an order."""

    order_id: Annotated[str, Meta(min_length=5)]
    user_id: Annotated[str, Meta(min_length=1)]
    amount: Decimal
    currency: Annotated[str, Meta(min_length=3, max_length=3)] = "USD"
    order_type: str = "standard"

    def __post_init__(self) -> None:
        if not NOTHING < self.amount <= AMOUNT_MAX:  # what is no number compares with nothing, and raises
            raise ValueError("amount is not above 0 and at most 10 000")
        if not (self.currency.isalpha() and self.currency.isascii()):
            raise ValueError("currency is not three letters of A-Z, a-z")


class Order(Struct, frozen=True, gc=False):
    """An order as the `orders` table has it; what else the item has is passed over.

    It asks for little: a change of a row that it refuses is not counted, and then what the row was stays counted.
    """

    order_id: Annotated[str, Meta(min_length=1)]
    status: str
    amount: Decimal
    currency: str = "USD"


class OrderChanged(Change[Order], frozen=True, gc=False):
    """An order came, changed or went."""


EVENT_TYPES: dict[str, type[Struct]] = {"order.placed": OrderPlaced, "order.changed": OrderChanged}
ORDERS_TABLE_CHANGES = "order.changed"  # the event type of the changes of the table that ORDERS_TABLE names

METRICS = (
    Metric(
        name="orders",
        event_type="order.placed",
        by=("currency", "order_type"),
        measures={
            "count": Count(),
            "revenue": Sum("amount"),
            "smallest": Min("amount"),
            "largest": Max("amount"),
            "mean": Mean("amount"),
        },
    ),
    Metric(
        name="customers",
        event_type="order.placed",
        by=("user_id",),
        measures={"orders": Count(), "spend": Sum("amount")},
        buckets=4,
        group_limit=2_000,
        published=False,  # thousands of rows, each second; it is asked for
    ),
    # Answered by sketches: within a bound that the answer tells, in items of a few KB. A group takes 16 KB and 10 KB at
    # most, so a partial holds few of them, and currencies are dealt to several. Neither is published: it is asked for
    # over days rather than by the minute, two messages of one revision could tell quantiles that differ within their
    # bound, and fan-out does not have to load what reads sketches.
    Metric(
        name="customers_distinct",
        event_type="order.placed",
        by=("currency",),
        measures={"customers": Distinct("user_id")},
        buckets=8,
        group_limit=15,
        published=False,
    ),
    Metric(
        name="order_value",
        event_type="order.placed",
        by=("currency",),
        measures={
            "count": Count(),
            "p50": Quantile("amount", 0.50),
            "p95": Quantile("amount", 0.95),
            "p99": Quantile("amount", 0.99),
        },
        buckets=4,
        group_limit=25,
        published=False,
    ),
    # Of one window: how many more orders there are with each status than before it. Of all windows together: how many
    # there are; hence the retention.
    Metric(
        name="order_status",
        event_type="order.changed",
        by=("status",),
        measures={"orders": Count(), "amount": Sum("amount")},
        retention="3650d",
    ),
)

ALERTS = (
    Alert(name="much_revenue", metric="orders", measure="revenue", rule=Above(100_000), by=("currency",)),
    # Not `Below` a number of orders: of a shop that rests at night it would tell every minute.
    Alert(name="orders_collapsed", metric="orders", measure="count", rule=RateOfChange(Decimal("-0.9")), step="1h"),
)


@handles(OrderPlaced, when=lambda order: order.amount >= LARGE_ORDER)
def announce_large_order(event: CloudEvent, results: Results) -> None:
    """Tell `results` of an order of 5 000 or more."""
    order = event.data
    results.publish(
        "large-order",
        stable_id("announce_large_order", event),
        {
            "order_id": order.order_id,
            "user_id": order.user_id,
            "amount": order.amount,
            "currency": order.currency,
            "time": event.time,
            "source": event.source,
            "event_id": event.id,
        },
    )


HANDLERS = (announce_large_order,)
