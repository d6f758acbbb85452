"""A queue as a trigger: messages are received, the function invoked, and what did not fail is deleted.

Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS" and "Handling errors for an SQS event source".
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from localstage.aws import ACCOUNT_ID, REGION, client
from localstage.plan import QueuePlan
from localstage.runtime import Answer, Function, FunctionClosedError

logger = logging.getLogger(__name__)

POLL_SECONDS = 1  # of one long poll; Lambda's is longer, but then the end of the stage would wait for it
PAUSE_SECONDS = 0.5  # after a call that failed
RETRY_SECONDS = 1  # Lambda leaves it to the queue's own time-out, half an hour; nobody waits for that at a desk
MESSAGES_MAX = 10  # that one receive gives


class QueuePoller(threading.Thread):
    """Invokes the function with one batch after the other until `stop`; for more at once, run several."""

    def __init__(self, plan: QueuePlan, function: Function, endpoint_url: str) -> None:
        super().__init__(name=f"{function.spec.name}-queue", daemon=True)
        self._plan = plan
        self._function = function
        self._sqs = client("sqs", endpoint_url)
        self._url: str = self._sqs.get_queue_url(QueueName=plan.queue)["QueueUrl"]
        self._stopping = threading.Event()

    def run(self) -> None:
        """Invoke until stopped; messages that fail are there again after a moment."""
        while not self._stopping.is_set():
            try:
                self._step()
            except FunctionClosedError:
                return
            except (BotoCoreError, ClientError) as error:
                logger.warning("%s: %s", self.name, error)
                self._stopping.wait(PAUSE_SECONDS)

    def stop(self) -> None:
        """Invoke no more."""
        self._stopping.set()

    def _step(self) -> None:
        messages = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=min(self._plan.batch_size, MESSAGES_MAX),
            WaitTimeSeconds=POLL_SECONDS,
            AttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        if not messages:
            return
        answer = self._function.invoke(orjson.dumps({"Records": [self._record(message) for message in messages]}))
        failed = self._failed(answer, [message["MessageId"] for message in messages])
        for message in messages:
            receipt = {"QueueUrl": self._url, "ReceiptHandle": message["ReceiptHandle"]}
            if message["MessageId"] in failed:
                self._sqs.change_message_visibility(**receipt, VisibilityTimeout=RETRY_SECONDS)
            else:
                self._sqs.delete_message(**receipt)

    def _record(self, message: Mapping[str, Any]) -> dict[str, Any]:
        return lambda_record(message, queue_arn=f"arn:aws:sqs:{REGION}:{ACCOUNT_ID}:{self._plan.queue}")

    def _failed(self, answer: Answer, message_ids: Sequence[str]) -> set[str]:
        response = orjson.loads(answer.payload)
        if answer.function_error:
            logger.warning("%s: %s: %s", self.name, response["errorType"], response["errorMessage"])
            return set(message_ids)
        return failed_messages(response, message_ids) if self._plan.report_batch_item_failures else set()


def failed_messages(response: Any, message_ids: Sequence[str]) -> set[str]:
    """The messages that a partial batch response says have failed: all, when it names what is none of them."""
    failures = response.get("batchItemFailures") if isinstance(response, dict) else None
    every = set(message_ids)
    try:
        named = {failure["itemIdentifier"] for failure in failures or ()}
    except (KeyError, TypeError):
        return every
    is_known = named.issubset(every)
    return named if is_known else every


def lambda_record(message: Mapping[str, Any], *, queue_arn: str) -> dict[str, Any]:
    """Turn a message of ReceiveMessage into the record that a function gets.

    Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS", example event.
    """
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()},
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": REGION,
    }


def _attribute(value: Mapping[str, Any]) -> dict[str, Any]:
    """Lambda begins these names in lower case, and always gives the two lists."""
    named = {f"{name[0].lower()}{name[1:]}": content for name, content in value.items()}
    return {"stringListValues": [], "binaryListValues": [], **named}
