"""Rows of a stage's `orders` table that come, change and go; and what a scan of the table says of them.

The metric `order_status` is counted of the changes alone, so the scan, which knows nothing of changes, is the truth to
hold it against.
"""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from loadtest.cdnow import Purchase, Total

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

SHIPPED_EVERY = 2  # of the rows that were placed …
REPRICED_EVERY = 5  # … so many have their amount put right …
CANCELLED_EVERY = 10  # … and so many are removed
REBATE = Decimal("0.25")


def change_rows(dynamodb: "DynamoDBClient", table: str, purchases: Iterable[Purchase]) -> int:
    """Place an order for each purchase, then ship, reprice and cancel some. Returns: how many changes that made."""
    changes = 0
    for number, purchase in enumerate(purchases, start=1):
        key = {"order_id": {"S": f"cdnow-{purchase.row_number:05d}"}}
        row = {**key, "status": {"S": "placed"}, "amount": {"N": str(purchase.dollar_value)}, "currency": {"S": "USD"}}
        dynamodb.put_item(TableName=table, Item=row)
        changes += 1
        if number % SHIPPED_EVERY == 0:
            dynamodb.put_item(TableName=table, Item={**row, "status": {"S": "shipped"}})
            changes += 1
        if number % REPRICED_EVERY == 0:
            dynamodb.update_item(
                TableName=table,
                Key=key,
                UpdateExpression="SET amount = amount - :rebate",
                ExpressionAttributeValues={":rebate": {"N": str(REBATE)}},
            )
            changes += 1
        if number % CANCELLED_EVERY == 0:
            dynamodb.delete_item(TableName=table, Key=key)
            changes += 1
    return changes


def scan_by_status(dynamodb: "DynamoDBClient", table: str) -> dict[str, Total]:
    """How many orders there are of each status, and what they add up to: by a scan of the table, consistently."""
    amounts: defaultdict[str, list[Decimal]] = defaultdict(list)
    for page in dynamodb.get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for row in page["Items"]:
            amounts[row["status"]["S"]].append(Decimal(row["amount"]["N"]))
    return {status: Total(len(values), sum(values, Decimal(0))) for status, values in sorted(amounts.items())}
