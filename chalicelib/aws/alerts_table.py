"""The alerts that were raised, in the aggregates table. Only this file knows the attributes of their items.

    metric, step, window_start, window_end, group, measure, rule, threshold, value, before, expires_at

Numbers are text, for DynamoDB's own have 38 digits. An item is written once and never changed: the change that its
writing is on the table's stream has it published, and it is kept as long as its window, which might raise it again.
"""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.windows import format_duration, format_instant, parse_duration, parse_instant
from chalicelib.aws.aggregates_keys import alert_partition_key, alert_sort_key
from chalicelib.aws.capacity import write_units_of
from chalicelib.aws.concurrent import call_all, outcome_of, result_in_time
from chalicelib.aws.failures import transient_errors
from chalicelib.consumers.alert_message import write_alert
from chalicelib.consumers.ports import AlertKey, AlertOutcome, Committed, Message, RaisedAlert, Repeated

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOT_RAISED = "attribute_not_exists(pk)"  # lets through: the first time that an alert is raised of a window and group


class AlertsTable:
    """The store and the reader of alerts, on DynamoDB."""

    def __init__(self, client: "DynamoDBClient", name: str, catalog: Catalog, stage_lateness_ms: int) -> None:
        self._client = client
        self._name = name
        self._catalog = catalog
        self._stage_lateness_ms = stage_lateness_ms

    def put_alerts(self, alerts: Sequence[RaisedAlert], timeout_ms: int) -> list[AlertOutcome]:
        """Store these alerts at once, each unless it is stored; one that has not answered in time has failed."""
        return [outcome_of(call) for call in call_all(self._put_alert, alerts, timeout_ms)]

    def _put_alert(self, alert: RaisedAlert) -> AlertOutcome:
        try:
            answer = self._client.put_item(
                TableName=self._name,
                Item=self._item_of(alert),
                ConditionExpression=NOT_RAISED,
                ReturnConsumedCapacity="TOTAL",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return Repeated()
        return Committed(write_units_of(answer))

    def read_alerts(self, keys: Collection[AlertKey], timeout_ms: int) -> dict[AlertKey, Message]:
        """Read these alerts, at once; one that is stored no more is not among them.

        Raises: TransientError when they could not be read in time.
        """
        calls = call_all(self._read_alert, list(keys), timeout_ms)
        with transient_errors():
            read = [result_in_time(call) for call in calls]
        return {key: write_alert(alert) for key, alert in zip(keys, read, strict=True) if alert}

    def _read_alert(self, key: AlertKey) -> RaisedAlert | None:
        answer = self._client.get_item(
            TableName=self._name,
            Key={"pk": {"S": alert_partition_key(key.alert)}, "sk": {"S": key.occasion}},
            ConsistentRead=True,  # a stale read might not have it yet, and it would never be published
        )
        return _alert_of(key, answer["Item"]) if "Item" in answer else None

    def _item_of(self, alert: RaisedAlert) -> dict[str, Any]:
        metric = self._catalog.metrics[alert.metric]
        kept_until_ms = self._catalog.kept_until_ms(metric, alert.window_end_ms, self._stage_lateness_ms)
        texts = {
            "pk": alert_partition_key(alert.alert),
            "sk": alert_sort_key(alert.window_start_ms, alert.id),
            "metric": alert.metric,
            "step": format_duration(alert.step_ms),
            "window_start": format_instant(alert.window_start_ms),
            "window_end": format_instant(alert.window_end_ms),
            "measure": alert.measure,
            "rule": alert.rule,
            "threshold": str(alert.threshold),
            "value": str(alert.value),
            **({} if alert.before is None else {"before": str(alert.before)}),
        }
        return {
            **{name: {"S": text} for name, text in texts.items()},
            "group": {"M": {dimension: {"S": value} for dimension, value in alert.group.items()}},
            "expires_at": {"N": str(kept_until_ms // 1000)},
        }


def _alert_of(key: AlertKey, item: Mapping[str, Any]) -> RaisedAlert:
    return RaisedAlert(
        alert=key.alert,
        metric=item["metric"]["S"],
        step_ms=parse_duration(item["step"]["S"]),
        window_start_ms=parse_instant(item["window_start"]["S"]),
        group={dimension: value["S"] for dimension, value in item["group"]["M"].items()},
        measure=item["measure"]["S"],
        rule=item["rule"]["S"],
        threshold=Decimal(item["threshold"]["S"]),
        value=Decimal(item["value"]["S"]),
        before=Decimal(item["before"]["S"]) if "before" in item else None,
    )
