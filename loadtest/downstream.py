"""What follows the counts in the demo: results and alerts through SNS and SQS, and a table's changes counted.

All of it is held against truths that know nothing of Highwater: the file's totals by day, the days whose revenue is
above the alert's threshold, a scan of the `orders` table.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

from rich.console import Console
from rich.table import Table

from loadtest import cdnow
from loadtest.cdnow import Purchase, Total
from loadtest.orders_table import change_rows, scan_by_status
from loadtest.subscriber import Subscriber
from localstage import aws
from localstage.stage import LocalStage
from ops.subscription import subscription

ALERT = "much_revenue"
ALERT_DAYS = 5  # the threshold is set so high that so many days are above it
ROWS = 400  # of the orders table
WAIT_SECONDS_MAX = 300
POLL_SECONDS = 0.5
SHOWN = 5  # lines of a table

DAY_RESULTS = {"kind": ["window"], "metric": ["orders"], "step": ["1d"]}  # the filter policies of the two subscriptions
ALERT_MESSAGES = {"kind": ["alert"], "alert": [ALERT]}


@dataclass(frozen=True, slots=True)
class Following:
    """What follows the counts: as it must be, or as it came."""

    by_day: Mapping[str, Total]
    alerts: Mapping[str, Decimal]  # by day, the revenue that raised one
    by_status: Mapping[str, Total]


def differences(expected: Following, came: Following) -> list[str]:
    """Every way in which the two differ, a line each."""
    pairs = [
        *_pairs("result of", expected.by_day, came.by_day),
        *_pairs("order_status", expected.by_status, came.by_status),
        ("alerts of the days", sorted(expected.alerts), sorted(came.alerts)),
    ]
    return [f"{what}: expected {wanted}, came {got}" for what, wanted, got in pairs if wanted != got]


def _pairs(
    what: str, expected: Mapping[str, Total], came: Mapping[str, Total]
) -> Iterator[tuple[str, Total | None, Total | None]]:
    for key in sorted(expected.keys() | came.keys()):
        yield f"{what} {key}", expected.get(key), came.get(key)


class Downstream:
    """Subscribers to a stage, and rows that change in its table; `watching` makes one."""

    def __init__(
        self, stage: LocalStage, days: Subscriber, alerts: Subscriber, purchases: Sequence[Purchase], threshold: Decimal
    ) -> None:
        self.threshold = threshold
        self.changes = 0
        self.days, self.alerts = days.results, alerts.results
        self._dynamodb = aws.client("dynamodb", stage.endpoint_url)
        self._table = f"highwater-{stage.stage}-orders"
        self._purchases = [purchase for purchase in purchases if cdnow.is_valid_order(purchase)]
        self._by_day = cdnow.total_by_day(purchases)

    def change_rows(self) -> None:
        """Have orders placed, shipped, repriced and cancelled in the table."""
        self.changes = change_rows(self._dynamodb, self._table, self._purchases[:ROWS])

    def expected(self) -> Following:
        """What must come."""
        above = {day: total.revenue for day, total in self._by_day.items() if total.revenue > self.threshold}
        return Following(self._by_day, above, scan_by_status(self._dynamodb, self._table))

    def came(self, by_status: Mapping[str, Total]) -> Following:
        """What has come so far; by_status is what the API answers."""
        alerts = {
            alert["window_start"][: len("1997-01-31")]: alert["rows"][0]["revenue"]
            for alert in list(self.alerts.alerts.values())
        }
        present = {status: total for status, total in by_status.items() if total.orders}
        return Following(self.days.orders_by_day(), alerts, present)

    def wait(self, ask_by_status: Callable[[], Mapping[str, Total]]) -> list[str]:
        """Wait until all has come. Returns: what still differs after five minutes, which should be nothing."""
        expected = self.expected()
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while (different := differences(expected, self.came(ask_by_status()))) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        return different

    def show(self, console: Console, by_status: Mapping[str, Total]) -> None:
        """Print what came."""
        came = self.came(by_status)
        results = Table("day", "revision", "orders", "revenue", title="Results received: the last days")
        for (_, start, _), parts in sorted(self.days.windows.items())[-SHOWN:]:
            day = start[: len("1997-01-31")]
            total = came.by_day[day]
            results.add_row(day, f"{parts[1]['revision']}", f"{total.orders:,}", f"{total.revenue}")
        alerts = Table("window", "revenue", title=f"Alerts received: {ALERT}")
        for alert in sorted(self.alerts.alerts.values(), key=lambda alert: str(alert["window_start"]))[:SHOWN]:
            alerts.add_row(alert["window_start"], f"{alert['rows'][0]['revenue']}")
        statuses = Table("status", "orders", "amount", title="order_status, as captured")
        for status, total in came.by_status.items():
            statuses.add_row(status, f"{total.orders:,}", f"{total.revenue}")
        for table in (results, alerts, statuses):
            for column in table.columns[1:]:
                column.justify = "right"
            console.print(table)
        console.print(
            f"{ALERT} is raised above {self.threshold}, which was set in SSM. Through SNS and SQS came "
            f"{self.days.messages['window']:,} results of {len(came.by_day):,} days, {self.days.repeats:,} of them "
            f"known already; {self.alerts.messages['alert']:,} messages of {len(self.alerts.alerts):,} alerts; "
            f"{self.changes:,} changes of the orders table captured",
            soft_wrap=True,
        )


@contextmanager
def watching(stage: LocalStage, purchases: Sequence[Purchase]) -> Iterator[Downstream]:
    """Subscribe to a stage's results and alerts, and set the alert's threshold, until the end of `with`."""
    revenues = sorted(total.revenue for total in cdnow.total_by_day(purchases).values())
    threshold = revenues[-min(len(revenues), ALERT_DAYS + 1)] if revenues else Decimal(0)
    aws.client("ssm", stage.endpoint_url).put_parameter(
        Name=f"/highwater/{stage.stage}/alerts/{ALERT}/threshold", Value=str(threshold), Type="String", Overwrite=True
    )
    sns, sqs = (aws.client(service, stage.endpoint_url) for service in ("sns", "sqs"))
    with (
        subscription(sns, sqs, stage.stage, DAY_RESULTS) as results,
        subscription(sns, sqs, stage.stage, ALERT_MESSAGES) as alerts,
        Subscriber(results) as of_days,
        Subscriber(alerts) as of_alerts,
    ):
        yield Downstream(stage, of_days, of_alerts, purchases, threshold)
