"""The shards of the events stream, as Kinesis lists them."""

from typing import TYPE_CHECKING

from chalicelib.aws.concurrent import call_in_time
from chalicelib.aws.failures import transient_errors
from chalicelib.query.ports import Shard

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_kinesis.type_defs import ShardTypeDef

SHARDS_A_PAGE = 10_000  # Kinesis' own limit; it answers 1 000 unasked


class EventsStream:
    """The ShardLister of the queries, on Kinesis."""

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
            )
            for shard in shards
        ]

    def _list_all(self) -> "list[ShardTypeDef]":
        # Not by boto3's paginator: it names the stream beside the token of the next page, which Kinesis refuses.
        page = self._client.list_shards(StreamName=self._name, MaxResults=SHARDS_A_PAGE)
        shards = page["Shards"]
        while token := page.get("NextToken"):
            page = self._client.list_shards(NextToken=token, MaxResults=SHARDS_A_PAGE)
            shards += page["Shards"]
        return shards
