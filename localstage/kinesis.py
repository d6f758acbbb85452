"""A Kinesis stream as the source of a mapping, and Lambda's form of its records."""

from typing import Any

import orjson

from localstage import wire
from localstage.aws import REGION
from localstage.reader import AFTER_SEQUENCE_NUMBER, IteratorReader, first_position
from localstage.source import EncodedRecord, Shard

GET_RECORDS_MAX = 10_000  # Kinesis's own limit for one GetRecords


def lambda_record(record: dict[str, Any], *, shard_id: str, stream_arn: str, role_arn: str) -> dict[str, Any]:
    """Turn a record of GetRecords into the one that a function gets.

    Shapes: record, with `Data` in base64 and `ApproximateArrivalTimestamp` in seconds, as they are on the wire.
    Source: AWS Lambda Developer Guide, "Using Lambda to process records from Amazon Kinesis Data Streams".
    """
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": record["PartitionKey"],
            "sequenceNumber": record["SequenceNumber"],
            "data": record["Data"],
            "approximateArrivalTimestamp": float(record["ApproximateArrivalTimestamp"]),
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard_id}:{record['SequenceNumber']}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": role_arn,
        "awsRegion": REGION,
        "eventSourceARN": stream_arn,
    }


def list_shards(client: Any, stream_arn: str) -> list[Shard]:
    """All shards of a stream, from every page of the list."""
    # Not by boto3's paginator: it names the stream beside the token of the next page, which Kinesis refuses.
    page = client.list_shards(StreamARN=stream_arn)
    listed = list(page["Shards"])
    while token := page.get("NextToken"):
        page = client.list_shards(NextToken=token)
        listed += page["Shards"]
    return [
        Shard(
            shard["ShardId"],
            frozenset(shard[key] for key in ("ParentShardId", "AdjacentParentShardId") if key in shard),
        )
        for shard in listed
    ]


class KinesisSource:
    """One stream, read by GetRecords."""

    batch_info = "KinesisBatchInfo"

    def __init__(self, endpoint_url: str, stream: str, starting_position: str, role_arn: str) -> None:
        self._client: Any = wire.kinesis(endpoint_url)
        self._starting_position = starting_position
        self._role_arn = role_arn
        self.arn: str = self._client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamARN"]

    def shards(self) -> list[Shard]:
        """All that the stream lists, open and closed."""
        return list_shards(self._client, self.arn)

    def open(self, shard: Shard) -> IteratorReader:
        """Read a shard from the mapping's starting position; one that came of a reshard from its beginning."""

        def iterator_after(sequence_number: str | None) -> str:
            position = {"ShardIteratorType": first_position(shard, self._starting_position)}
            if sequence_number is not None:
                position = {"ShardIteratorType": AFTER_SEQUENCE_NUMBER, "StartingSequenceNumber": sequence_number}
            iterator: str = self._client.get_shard_iterator(StreamARN=self.arn, ShardId=shard.shard_id, **position)[
                "ShardIterator"
            ]
            return iterator

        def encode(record: dict[str, Any]) -> EncodedRecord:
            event_record = lambda_record(record, shard_id=shard.shard_id, stream_arn=self.arn, role_arn=self._role_arn)
            arrived_ms = round(record["ApproximateArrivalTimestamp"] * 1000)
            return EncodedRecord(record["SequenceNumber"], arrived_ms, orjson.dumps(event_record))

        return IteratorReader(self._client, iterator_after, encode, GET_RECORDS_MAX)
