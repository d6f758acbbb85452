"""What Lambda says about a batch that it gave up."""

from datetime import UTC, datetime

import pytest

from localstage.destination import Destination, Discarded, report
from localstage.source import EncodedRecord

RECORDS = [EncodedRecord("0001", 1_000, b'{"a":1}'), EncodedRecord("0002", 2_500, b'{"b":2}')]


def test_the_report_names_the_batch_and_the_reason() -> None:
    discarded = Discarded(
        RECORDS, "RecordAgeExceeded", 3, "arn:function", "KinesisBatchInfo", "arn:stream", "shardId-0", "id"
    )
    assert report(discarded, datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)) == {
        "requestContext": {
            "requestId": "id",
            "functionArn": "arn:function",
            "condition": "RecordAgeExceeded",
            "approximateInvokeCount": 3,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": "2026-01-02T03:04:05.678Z",
        "KinesisBatchInfo": {
            "shardId": "shardId-0",
            "startSequenceNumber": "0001",
            "endSequenceNumber": "0002",
            "approximateArrivalOfFirstRecord": "1970-01-01T00:00:01.000Z",
            "approximateArrivalOfLastRecord": "1970-01-01T00:00:02.500Z",
            "batchSize": 2,
            "streamArn": "arn:stream",
        },
    }


def test_what_lambda_does_not_take_as_a_destination_is_refused() -> None:
    with pytest.raises(ValueError, match="arn:aws:dynamodb"):
        Destination("arn:aws:dynamodb:us-east-1:0:table/t", "http://127.0.0.1:1")
