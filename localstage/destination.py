"""Where an event source mapping reports the batches that it gave up: an S3 bucket, an SNS topic or an SQS queue.

Source: AWS Lambda Developer Guide, "Retain discarded batch records for Kinesis event sources in Lambda".
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from localstage.aws import client
from localstage.source import EncodedRecord, event_of


@dataclass(frozen=True, slots=True)
class Discarded:
    """A batch, or the front of one, that will not be delivered any more."""

    records: Sequence[EncodedRecord]
    condition: str
    invocations: int
    function_arn: str
    batch_info: str
    stream_arn: str
    shard_id: str
    request_id: str


def report(discarded: Discarded, now: datetime) -> dict[str, Any]:
    """The message of Lambda about such a batch, without the records themselves."""
    first, last = discarded.records[0], discarded.records[-1]
    return {
        "requestContext": {
            "requestId": discarded.request_id,
            "functionArn": discarded.function_arn,
            "condition": discarded.condition,
            "approximateInvokeCount": discarded.invocations,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": _iso(now),
        discarded.batch_info: {
            "shardId": discarded.shard_id,
            "startSequenceNumber": first.sequence_number,
            "endSequenceNumber": last.sequence_number,
            "approximateArrivalOfFirstRecord": _iso(datetime.fromtimestamp(first.arrived_ms / 1000, UTC)),
            "approximateArrivalOfLastRecord": _iso(datetime.fromtimestamp(last.arrived_ms / 1000, UTC)),
            "batchSize": len(discarded.records),
            "streamArn": discarded.stream_arn,
        },
    }


class Destination:
    """Sends such messages to one destination, by its ARN."""

    def __init__(self, arn: str, endpoint_url: str) -> None:
        self._arn = arn
        self._service, self._name = arn.split(":")[2], arn.split(":")[5]
        if self._service not in ("s3", "sns", "sqs"):
            raise ValueError(f"{arn} is not an on-failure destination of a stream")
        self._client: Any = client(self._service, endpoint_url)

    def send(self, discarded: Discarded) -> None:
        """Send word of a batch; only S3 gets the batch itself, as `payload`."""
        now = datetime.now(UTC)
        message = report(discarded, now)
        if self._service == "sns":
            self._client.publish(TopicArn=self._arn, Message=orjson.dumps(message).decode())
        elif self._service == "sqs":
            queue = self._client.get_queue_url(QueueName=self._name)["QueueUrl"]
            self._client.send_message(QueueUrl=queue, MessageBody=orjson.dumps(message).decode())
        else:
            payload = event_of(discarded.records).decode()
            key = f"aws/lambda/{discarded.shard_id}/{now:%Y/%m/%d}/{now:%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"
            self._client.put_object(Bucket=self._name, Key=key, Body=orjson.dumps({**message, "payload": payload}))


def _iso(instant: datetime) -> str:
    return instant.strftime("%Y-%m-%dT%H:%M:%S.") + f"{instant.microsecond // 1000:03d}Z"
