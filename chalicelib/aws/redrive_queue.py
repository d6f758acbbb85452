"""The queue of redrive: messages sent to it, ten a request and the requests at once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chalicelib.aws.concurrent import call_all, result_in_time
from chalicelib.aws.failures import transient_errors
from chalicelib.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MESSAGES_A_REQUEST = 10  # SendMessageBatch's own limit


class RedriveQueue:
    """The MessageQueue of redrive, on SQS."""

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send_messages(self, bodies: Sequence[str], timeout_ms: int) -> None:
        """Send these messages.

        Raises: TransientError when not all could be sent in time; some may have been.
        """
        starts = range(0, len(bodies), MESSAGES_A_REQUEST)
        calls = call_all(self._send, [bodies[start : start + MESSAGES_A_REQUEST] for start in starts], timeout_ms)
        with transient_errors():
            for call in calls:
                result_in_time(call)

    def _send(self, bodies: Sequence[str]) -> None:
        answer = self._client.send_message_batch(
            QueueUrl=self._url,
            Entries=[{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)],
        )
        if failed := answer.get("Failed"):
            raise TransientError(failed[0]["Code"])
