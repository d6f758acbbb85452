from decimal import Decimal

import boto3
import pytest
from moto import mock_aws

from loadtest import cdnow
from loadtest.cdnow import Total
from loadtest.downstream import Following, differences
from loadtest.orders_table import change_rows, scan_by_status

TABLE = "highwater-test-orders"
SAME = Following({"1997-01-01": Total(2, Decimal(5))}, {"1997-01-01": Decimal(5)}, {"placed": Total(1, Decimal(3))})


@pytest.fixture
def dynamodb():
    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "order_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "order_id", "AttributeType": "S"}],
        )
        yield client


def test_rows_are_placed_shipped_repriced_and_cancelled(dynamodb):
    purchases = [purchase for purchase in cdnow.read_purchases() if cdnow.is_valid_order(purchase)][:20]
    assert change_rows(dynamodb, TABLE, purchases) == 20 + 10 + 4 + 2
    by_status = scan_by_status(dynamodb, TABLE)
    assert {status: total.orders for status, total in by_status.items()} == {"placed": 10, "shipped": 8}
    cancelled = {10, 20}
    left = [each.dollar_value for number, each in enumerate(purchases, 1) if number not in cancelled]
    assert sum(total.revenue for total in by_status.values()) == sum(left) - 2 * Decimal("0.25")


def test_what_is_equal_has_no_difference():
    assert differences(SAME, SAME) == []


@pytest.mark.parametrize(
    ("came", "named"),
    [
        (Following({}, SAME.alerts, SAME.by_status), "result of 1997-01-01"),
        (Following({**SAME.by_day, "1997-01-02": Total(1, Decimal(1))}, SAME.alerts, SAME.by_status), "1997-01-02"),
        (Following(SAME.by_day, {}, SAME.by_status), "alerts of the days"),
        (Following(SAME.by_day, SAME.alerts, {"placed": Total(1, Decimal("3.01"))}), "order_status placed"),
        (Following(SAME.by_day, SAME.alerts, {}), "order_status placed"),
    ],
)
def test_any_difference_is_found_and_named(came, named):
    (difference,) = differences(SAME, came)
    assert named in difference
