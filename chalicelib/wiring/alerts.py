"""What raises alerts, and where they are kept."""

from functools import cache

from chalicelib import telemetry
from chalicelib.aws import clients
from chalicelib.aws.alerts_table import AlertsTable
from chalicelib.aws.thresholds import SsmThresholds
from chalicelib.consumers.alerts import Alerts
from chalicelib.wiring.stage import ALERTS, CATALOG, now_ms, settings
from chalicelib.wiring.stores import aggregates_table


@cache
def alerts_table() -> AlertsTable:
    """The alerts that were raised, in the aggregates table."""
    return AlertsTable(clients.dynamodb(), settings().aggregates_table, CATALOG, settings().lateness_ms)


@cache
def alert_watch() -> Alerts:
    """What looks at windows for alerts."""
    table = aggregates_table()
    return Alerts(
        ALERTS,
        shares=table,
        first_window=table.first_window,
        store=alerts_table(),
        thresholds=SsmThresholds(clients.ssm(), settings().stage, now_ms),
        tell=telemetry.publish_alerts,
    )
