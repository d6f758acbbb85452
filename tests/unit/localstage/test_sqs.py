"""What a function gets of a queue, and what its answer says of the messages."""

from typing import Any

import pytest

from localstage.sqs import failed_messages, lambda_record


def test_a_message_has_the_form_that_lambda_gives_it() -> None:
    message = {
        "MessageId": "id",
        "ReceiptHandle": "receipt",
        "Body": "{}",
        "MD5OfBody": "99914b932bd37a50b983c5e7c90ae93b",
        "Attributes": {"SentTimestamp": "1", "ApproximateReceiveCount": "1"},
        "MessageAttributes": {"n": {"StringValue": "1", "DataType": "Number"}},
    }
    assert lambda_record(message, queue_arn="arn:aws:sqs:us-east-1:000000000000:jobs") == {
        "messageId": "id",
        "receiptHandle": "receipt",
        "body": "{}",
        "attributes": {"SentTimestamp": "1", "ApproximateReceiveCount": "1"},
        "messageAttributes": {
            "n": {"stringValue": "1", "dataType": "Number", "stringListValues": [], "binaryListValues": []}
        },
        "md5OfBody": "99914b932bd37a50b983c5e7c90ae93b",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:jobs",
        "awsRegion": "us-east-1",
    }


@pytest.mark.parametrize(
    ("response", "failed"),
    [
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": None}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "b"}]}, {"b"}),
        ({"batchItemFailures": [{"itemIdentifier": "unknown"}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, {"a", "b"}),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, {"a", "b"}),
        ({"batchItemFailures": [{"another": "b"}]}, {"a", "b"}),
        ({"batchItemFailures": "b"}, {"a", "b"}),
    ],
)
def test_a_response_fails_the_messages_that_it_names_and_all_when_it_makes_no_sense(
    response: Any, failed: set[str]
) -> None:
    assert failed_messages(response, ["a", "b"]) == failed
