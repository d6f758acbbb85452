"""The form of a record."""

from localstage.kinesis import lambda_record


def test_a_record_has_the_form_in_which_lambda_delivers_it() -> None:
    record = {
        "SequenceNumber": "0049590338271490256608559692538361571095921575989136588898",
        "PartitionKey": "k",
        "Data": "aGVsbG8=",
        "ApproximateArrivalTimestamp": 1545084650.987,
    }
    assert lambda_record(record, shard_id="shardId-000000000006", stream_arn="arn:stream", role_arn="arn:role") == {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "k",
            "sequenceNumber": "0049590338271490256608559692538361571095921575989136588898",
            "data": "aGVsbG8=",
            "approximateArrivalTimestamp": 1545084650.987,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": "shardId-000000000006:0049590338271490256608559692538361571095921575989136588898",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:role",
        "awsRegion": "us-east-1",
        "eventSourceARN": "arn:stream",
    }
