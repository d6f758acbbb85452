"""The shards of the events stream, as Kinesis lists them."""

from typing import TYPE_CHECKING

from chalicelib.aws.failures import transient_errors
from chalicelib.query.ports import Shard

if TYPE_CHECKING:
    from mypy_boto3_kinesis import KinesisClient


class EventsStream:
    """The ShardLister of the queries, on Kinesis."""

    def __init__(self, client: "KinesisClient", name: str) -> None:
        self._client = client
        self._name = name

    def list_shards(self) -> list[Shard]:
        """List the shards that the stream still knows, closed ones too.

        Raises: TransientError when Kinesis did not answer.
        """
        with transient_errors():
            pages = self._client.get_paginator("list_shards").paginate(StreamName=self._name)
            shards = [shard for page in pages for shard in page["Shards"]]
        return [
            Shard(
                shard["ShardId"],
                "EndingSequenceNumber" not in shard["SequenceNumberRange"],
                tuple(filter(None, (shard.get("ParentShardId"), shard.get("AdjacentParentShardId")))),
            )
            for shard in shards
        ]
