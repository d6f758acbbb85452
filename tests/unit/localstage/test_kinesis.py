"""The form of a record, and what is asked of a stream."""

from typing import Any

from localstage.kinesis import lambda_record, list_shards
from localstage.source import Shard
from tests.unit.localstage.scripted import Scripted

ARN = "arn:aws:kinesis:us-east-1:000000000000:stream/events"


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


def listed(shard_id: str, **parents: str) -> dict[str, Any]:
    hash_keys = {"StartingHashKey": "0", "EndingHashKey": "9"}
    return {
        "ShardId": shard_id,
        "HashKeyRange": hash_keys,
        "SequenceNumberRange": {"StartingSequenceNumber": "1"},
        **parents,
    }


def test_further_pages_of_shards_are_asked_for_by_their_token_alone_as_kinesis_demands() -> None:
    client = Scripted()
    merged = listed("shard-2", ParentShardId="shard-0", AdjacentParentShardId="shard-1")
    client.answer("list_shards", {"Shards": [listed("shard-0")], "NextToken": "more"}, {"StreamARN": ARN})
    client.answer("list_shards", {"Shards": [listed("shard-1")], "NextToken": "last"}, {"NextToken": "more"})
    client.answer("list_shards", {"Shards": [merged]}, {"NextToken": "last"})
    shards = list_shards(client, ARN)
    assert shards == [
        Shard("shard-0", frozenset()),
        Shard("shard-1", frozenset()),
        Shard("shard-2", frozenset({"shard-0", "shard-1"})),
    ]
