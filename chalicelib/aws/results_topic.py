"""The topic of results. Only this file knows what a message on it looks like: JSON, with attributes to filter by."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from chalicelib.aws.failures import transient_errors
from chalicelib.effects import result_message

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import MessageAttributeValueTypeDef

_encoder = msgspec.json.Encoder(decimal_format="number")  # exact, digit by digit


class ResultsTopic:
    """The Results of the handlers, on SNS."""

    def __init__(self, client: "SNSClient", topic_arn: str) -> None:
        self._client = client
        self._topic_arn = topic_arn

    def publish(self, kind: str, message_id: str, message: Mapping[str, Any]) -> None:
        """Publish a message; a subscription's filter policy can name its `kind`.

        Raises: TransientError when SNS fails, throttles or cannot be reached; ClientError when it refuses the message.
        """
        body = _encoder.encode(result_message(kind, message_id, message)).decode()
        attributes: Mapping[str, MessageAttributeValueTypeDef] = {"kind": {"DataType": "String", "StringValue": kind}}
        with transient_errors():
            self._client.publish(TopicArn=self._topic_arn, Message=body, MessageAttributes=attributes)
