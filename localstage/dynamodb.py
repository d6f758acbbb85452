"""A table's stream (DynamoDB Streams) as the source of a mapping, and Lambda's form of its records."""

from typing import Any

import orjson
from botocore.exceptions import ClientError

from localstage import wire
from localstage.aws import REGION
from localstage.reader import AFTER_SEQUENCE_NUMBER, TRIM_HORIZON, IteratorReader, first_position
from localstage.source import EncodedRecord, Shard

GET_RECORDS_MAX = 1_000  # DynamoDB Streams' own limit for one GetRecords


def lambda_record(record: dict[str, Any], stream_arn: str) -> dict[str, Any]:
    """Turn a record of GetRecords into the one that a function gets.

    Shapes: record, its binary values in base64 and `ApproximateCreationDateTime` in seconds, as they are on the wire.
    Why:    `userIdentity` is there only for what DynamoDB did by itself, a deletion by TTL; Lambda begins its names in
            lower case. The stream's ARN is the mapping's: MiniStack makes up another for each record.
    Source: AWS Lambda Developer Guide, "Using Lambda to process records from Amazon DynamoDB Streams"; Amazon DynamoDB
            Developer Guide, "DynamoDB Streams and Time to Live".
    """
    created_at = int(record["dynamodb"]["ApproximateCreationDateTime"])  # whole seconds, and no float as we parse it
    delivered = {
        "eventID": record["eventID"],
        "eventName": record["eventName"],
        "eventVersion": record["eventVersion"],
        "eventSource": record["eventSource"],
        "awsRegion": REGION,
        "dynamodb": {**record["dynamodb"], "ApproximateCreationDateTime": created_at},
        "eventSourceARN": stream_arn,
    }
    if who := record.get("userIdentity"):
        delivered["userIdentity"] = {"type": who["Type"], "principalId": who["PrincipalId"]}
    return delivered


def list_shards(client: Any, stream_arn: str) -> list[Shard]:
    """All shards of a stream, from every page of its description."""
    listed: list[dict[str, Any]] = []
    behind: dict[str, str] = {}
    while True:
        page = client.describe_stream(StreamArn=stream_arn, **behind)["StreamDescription"]
        listed += page["Shards"]
        if "LastEvaluatedShardId" not in page:
            break
        behind = {"ExclusiveStartShardId": page["LastEvaluatedShardId"]}
    return [
        Shard(shard["ShardId"], frozenset({shard["ParentShardId"]} if "ParentShardId" in shard else ()))
        for shard in listed
    ]


class DynamoDBSource:
    """The stream of one table, read by GetRecords."""

    batch_info = "DDBStreamBatchInfo"

    def __init__(self, endpoint_url: str, stream_arn: str, starting_position: str) -> None:
        self._client: Any = wire.dynamodb_streams(endpoint_url)
        self._starting_position = starting_position
        self.arn = stream_arn

    def shards(self) -> list[Shard]:
        """All that the stream lists, open and closed."""
        return list_shards(self._client, self.arn)

    def open(self, shard: Shard) -> IteratorReader:
        """Read a shard from the mapping's starting position; one that came of another from its beginning."""

        def iterator_after(sequence_number: str | None) -> str:
            if sequence_number is None:
                return self._iterator(shard, first_position(shard, self._starting_position))
            try:
                return self._iterator(shard, AFTER_SEQUENCE_NUMBER, SequenceNumber=sequence_number)
            except ClientError as error:
                if error.response["Error"]["Code"] != "TrimmedDataAccessException":
                    raise
                return self._iterator(shard, TRIM_HORIZON)  # the oldest of what is left, as Lambda goes on

        return IteratorReader(self._client, iterator_after, self._encode, GET_RECORDS_MAX)

    def _iterator(self, shard: Shard, position: str, **sequence_number: str) -> str:
        iterator: str = self._client.get_shard_iterator(
            StreamArn=self.arn, ShardId=shard.shard_id, ShardIteratorType=position, **sequence_number
        )["ShardIterator"]
        return iterator

    def _encode(self, record: dict[str, Any]) -> EncodedRecord:
        change = record["dynamodb"]
        created_ms = int(change["ApproximateCreationDateTime"] * 1000)
        return EncodedRecord(change["SequenceNumber"], created_ms, orjson.dumps(lambda_record(record, self.arn)))
