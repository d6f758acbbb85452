"""What a simulated stage counts, drawn at random: windows, rollups, lateness, buckets, spread, limits of groups.

Windows are small and lateness is short, so that windows settle within a run.
"""

from decimal import Decimal
from functools import cache
from random import Random

from msgspec import Struct

from chalicelib import definitions
from chalicelib.aggregates.measures import Count, Max, Mean, Min, Sum
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.windows import format_duration
from chalicelib.alerts import Above, Alert, Below, RateOfChange, Rule, check_alerts
from chalicelib.records.decode import Decoder
from tests.builders import MINUTE_MS, make_decoder

STAGES = 24  # a decoder takes some milliseconds to make, so runs share them
CHANGES_LATENESS = "30m"  # above what any run takes: what is captured later is no change that is counted
ROLLUPS = (("5m", "20m"), ("5m", "20m"), ("2m", "10m", "20m"), ("10m",), ("1h",), ())
NAMES = {"count": "number", "sum": "total", "min": "least", "max": "greatest"}  # of measures, by what they store


class Stage(Struct, frozen=True):
    """A stage's declarations, and the decoder that they make."""

    catalog: Catalog
    alerts: tuple[Alert, ...]
    decoder: Decoder

    @property
    def metrics(self) -> list[Metric]:
        return list(self.catalog.metrics.values())

    def lateness_ms(self, event_type: str) -> int:
        """How late an event of this type may be."""
        return self.catalog.lateness_ms(event_type, LATENESS_MS)


LATENESS_MS = 24 * 60 * MINUTE_MS  # the stage's own, which no metric here leaves to it


@cache
def make_stage(number: int) -> Stage:
    """Draw one."""
    chance = Random(number)
    lateness = chance.choice(["1m", "2m", "3m", "7m"])

    def metric(name: str, event_type: str, by: tuple[str, ...], lateness: str, limits: list[int], **measures) -> Metric:
        return Metric(
            name=name,
            event_type=event_type,
            by=by,
            measures=measures,
            lateness=lateness,
            rollups=chance.choice(ROLLUPS),
            buckets=chance.choice([1, 1, 2, 3]) if by else 1,
            spread=chance.choice([1, 1, 2]),
            group_limit=chance.choice(limits),
            published=chance.random() < 0.85,
        )

    amount = {"least": Min("amount"), "greatest": Max("amount"), "mean": Mean("amount")}
    sums = {"number": Count(), "total": Sum("amount")}
    of_orders, of_users = ("currency", "order_type"), ("user_id",)
    catalog = Catalog(
        {"order.placed": definitions.OrderPlaced, "order.changed": definitions.OrderChanged},
        [
            metric("orders", "order.placed", of_orders, lateness, [1, 2, 1_000], **sums, **amount),
            metric("customers", "order.placed", of_users, lateness, [2, 5, 1_000], **sums),
            metric("everything", "order.placed", (), lateness, [1_000], **sums),
            metric("order_status", "order.changed", ("status",), CHANGES_LATENESS, [1_000], **sums),
        ],
    )
    return Stage(catalog, check_alerts(_alerts(chance, catalog), catalog), make_decoder(catalog, LATENESS_MS))


def _alerts(chance: Random, catalog: Catalog) -> list[Alert]:
    """Some that fire seldom and some often, early or when a window is over, of one size of windows or another."""

    def alert(name: str, metric: str, measure: str, rule: Rule, by: tuple[str, ...] = ()) -> Alert:
        step_ms = chance.choice(catalog.metrics[metric].steps_ms)
        return Alert(name=name, metric=metric, measure=measure, rule=rule, by=by, step=format_duration(step_ms))

    return [
        alert("many", "orders", "number", Above(chance.choice([1, 2, 4])), chance.choice([(), ("currency",)])),
        alert("worth_much", "customers", "total", Above(Decimal("1234.56")), ("user_id",)),
        alert("cheap", "orders", "least", Below(Decimal(2)), chance.choice([(), ("currency", "order_type")])),
        alert("quiet", "everything", "number", Below(2)),
        alert("mean", "orders", "mean", Above(Decimal(1_000)), ("currency",)),
        alert("falling", "everything", "total", RateOfChange(Decimal("-0.5"))),
        alert("rising", "orders", "number", RateOfChange(chance.choice([0, Decimal("0.5")])), ("order_type",)),
        alert("piling_up", "order_status", "number", Above(chance.choice([0, 2])), ("status",)),
    ]
