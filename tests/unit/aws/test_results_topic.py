from datetime import UTC, datetime
from decimal import Decimal

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from chalicelib.aws.results_topic import ResultsTopic
from chalicelib.errors import TransientError

TOPIC_ARN = "arn:aws:sns:us-east-1:000000000000:highwater-test-results"


@pytest.fixture
def sns():
    client = boto3.client("sns")
    with Stubber(client) as stub:
        yield client, stub


def test_a_message_is_json_with_exact_numbers_and_its_kind_beside_it(sns):
    client, stub = sns
    stub.add_response(
        "publish",
        {"MessageId": "1"},
        {
            "TopicArn": TOPIC_ARN,
            "Message": '{"id":"7","kind":"large-order","amount":9999.999999999999999999,"time":"2026-11-24T12:00:00Z"}',
            "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "large-order"}},
        },
    )
    message = {"amount": Decimal("9999.999999999999999999"), "time": datetime(2026, 11, 24, 12, tzinfo=UTC)}
    ResultsTopic(client, TOPIC_ARN).publish("large-order", "7", message)
    stub.assert_no_pending_responses()


@pytest.mark.parametrize(("code", "status"), [("Throttled", 429), ("KMSThrottling", 400), ("InternalError", 500)])
def test_a_topic_that_is_too_busy_is_transient(sns, code, status):
    client, stub = sns
    stub.add_client_error("publish", code, http_status_code=status)
    with pytest.raises(TransientError, match=code):
        ResultsTopic(client, TOPIC_ARN).publish("large-order", "7", {})


def test_a_message_that_sns_refuses_is_not(sns):
    client, stub = sns
    stub.add_client_error("publish", "InvalidParameter", "Message too long", http_status_code=400)
    with pytest.raises(ClientError, match="Message too long"):
        ResultsTopic(client, TOPIC_ARN).publish("large-order", "7", {})
