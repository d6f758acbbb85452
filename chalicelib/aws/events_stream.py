"""The events stream: its shards as Kinesis lists them, and records put on them."""

from collections.abc import Sequence
from functools import partial as bind
from typing import TYPE_CHECKING

from chalicelib.aws.concurrent import call_in_time
from chalicelib.aws.failures import transient_errors
from chalicelib.consumers.ports import StreamRecord
from chalicelib.records.shard import Shard

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import ShardTypeDef

RECORDS_A_REQUEST = 500  # PutRecords' own limit
SHARDS_A_PAGE = 10_000  # Kinesis' own limit; it answers 1 000 unasked


class EventsStream:
    """The ShardLister of the queries and the TickStream of tick, on Kinesis."""

    def __init__(self, client: "KinesisClient", name: str) -> None:
        self._client = client
        self._name = name

    def list_shards(self, timeout_ms: int) -> list[Shard]:
        """List the shards that the stream still knows, closed ones too.

        Raises: TransientError when Kinesis did not answer in time.
        """
        with transient_errors():
            shards = call_in_time(self._list_all, timeout_ms)
        return [
            Shard(
                shard["ShardId"],
                "EndingSequenceNumber" not in shard["SequenceNumberRange"],
                tuple(filter(None, (shard.get("ParentShardId"), shard.get("AdjacentParentShardId")))),
                shard["HashKeyRange"]["StartingHashKey"],
                shard["HashKeyRange"]["EndingHashKey"],
            )
            for shard in shards
        ]

    def put_records(self, records: Sequence[StreamRecord], timeout_ms: int) -> int:
        """Put these records, 500 a request. Returns: how many of them the stream did not take.

        Raises: TransientError when Kinesis did not answer in time.
        """
        with transient_errors():
            return call_in_time(bind(self._put_all, records), timeout_ms)

    def _put_all(self, records: Sequence[StreamRecord]) -> int:
        failed = 0
        for start in range(0, len(records), RECORDS_A_REQUEST):
            answer = self._client.put_records(
                StreamName=self._name,
                Records=[
                    {
                        "PartitionKey": record.partition_key,
                        "ExplicitHashKey": record.explicit_hash_key,
                        "Data": record.data,
                    }
                    for record in records[start : start + RECORDS_A_REQUEST]
                ],
            )
            failed += answer.get("FailedRecordCount", 0)
        return failed

    def _list_all(self) -> "list[ShardTypeDef]":
        # Not by boto3's paginator: it names the stream beside the token of the next page, which Kinesis refuses.
        page = self._client.list_shards(StreamName=self._name, MaxResults=SHARDS_A_PAGE)
        shards = page["Shards"]
        while token := page.get("NextToken"):
            page = self._client.list_shards(NextToken=token, MaxResults=SHARDS_A_PAGE)
            shards += page["Shards"]
        return shards
