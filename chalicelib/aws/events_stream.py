"""The events stream: its shards as Kinesis lists them, and records put on them."""

from collections.abc import Sequence
from functools import partial as bind
from typing import TYPE_CHECKING

from chalicelib.aws.concurrent import call_in_time
from chalicelib.aws.failures import transient_errors
from chalicelib.consumers.ports import StreamRecord
from chalicelib.consumers.put_requests import in_requests
from chalicelib.records.shard import Shard

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import PutRecordsRequestEntryTypeDef, ShardTypeDef

SHARDS_A_PAGE = 10_000  # Kinesis' own limit; it answers 1 000 unasked


class EventsStream:
    """The ShardLister of queries, the TickStream of tick and the RecordStream of redrive and capture, on Kinesis."""

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

    def put_records(self, records: Sequence[StreamRecord], timeout_ms: int) -> list[int]:
        """Put these records. Returns: the places of those that the stream did not take.

        Raises: TransientError when Kinesis did not answer in time.
        """
        with transient_errors():
            return call_in_time(bind(self._put_all, records), timeout_ms)

    def _put_all(self, records: Sequence[StreamRecord]) -> list[int]:
        refused = []
        for request in in_requests(enumerate(records), lambda placed: placed[1].payload_bytes):
            answer = self._client.put_records(StreamName=self._name, Records=[_entry(record) for _, record in request])
            if answer.get("FailedRecordCount"):
                answers = zip(request, answer["Records"], strict=True)
                refused += [place for (place, _), each in answers if "ErrorCode" in each]
        return refused

    def _list_all(self) -> "list[ShardTypeDef]":
        # Not by boto3's paginator: it names the stream beside the token of the next page, which Kinesis refuses.
        page = self._client.list_shards(StreamName=self._name, MaxResults=SHARDS_A_PAGE)
        shards = page["Shards"]
        while token := page.get("NextToken"):
            page = self._client.list_shards(NextToken=token, MaxResults=SHARDS_A_PAGE)
            shards += page["Shards"]
        return shards


def _entry(record: StreamRecord) -> "PutRecordsRequestEntryTypeDef":
    entry: PutRecordsRequestEntryTypeDef = {"PartitionKey": record.partition_key, "Data": record.data}
    if record.explicit_hash_key is not None:
        entry["ExplicitHashKey"] = record.explicit_hash_key
    return entry
