"""A subscriber to a stage's results for a while: a queue and its subscription, both gone when the while is over."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import uuid4

import orjson

WAIT_SECONDS_MAX = 20  # SQS's own limit for one receive, as the next one is
MESSAGES_AT_ONCE_MAX = 10
# Whoever dies before the end (SIGKILL) leaves a queue behind that holds no more than this, and costs nothing.
RETENTION_SECONDS = 3_600


class NoTopicError(Exception):
    """The stage has no results topic: it is not deployed here, or its name is another. The text is one line."""


class Messages:
    """What the subscription has been sent; SQS may give a message twice, and in any order: `id` and `revision` tell."""

    def __init__(self, sqs: Any, queue_url: str) -> None:
        self._sqs = sqs
        self._queue_url = queue_url

    def receive(self, wait_seconds: int = WAIT_SECONDS_MAX, count_max: int = MESSAGES_AT_ONCE_MAX) -> list[str]:
        """Take the next messages, as they were published; none when none came within the wait.

        Units: wait_seconds 0..20; count_max 1..10.
        """
        messages = self._sqs.receive_message(
            QueueUrl=self._queue_url, WaitTimeSeconds=wait_seconds, MaxNumberOfMessages=count_max
        ).get("Messages", [])
        if messages:
            entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
            self._sqs.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)
        return [message["Body"] for message in messages]


@contextmanager
def subscription(
    sns: Any, sqs: Any, stage: str, wanted: Mapping[str, Sequence[str]] | None = None
) -> Iterator[Messages]:
    """Subscribe to a stage's results between `with` and its end.

    Shapes:  sns, sqs, boto3 clients; wanted, by message attribute (`kind`, `metric`, `step`, `final`), the values of
             which a message has to have one. Without any, each message comes.
    Raises:  NoTopicError; botocore's errors.
    Why:     the filter policy is SNS's to apply: what is not wanted is neither sent nor paid for.
    """
    topic_arn = _find_topic(sns, f"highwater-{stage}-results")
    queue = f"highwater-{stage}-results-{uuid4().hex}"
    queue_arn = f"{topic_arn.rpartition(':')[0].replace(':sns:', ':sqs:')}:{queue}"
    # With the policy from the beginning: a change takes up to a minute, and what SNS is refused meanwhile is lost.
    attributes = {
        "MessageRetentionPeriod": str(RETENTION_SECONDS),
        "Policy": orjson.dumps(_policy(topic_arn, queue_arn)).decode(),
    }
    delivery = {"RawMessageDelivery": "true"}
    if wanted:
        delivery["FilterPolicy"] = orjson.dumps(wanted).decode()
    with ExitStack() as temporary:
        queue_url = sqs.create_queue(QueueName=queue, Attributes=attributes)["QueueUrl"]
        temporary.callback(sqs.delete_queue, QueueUrl=queue_url)
        subscribed = sns.subscribe(
            TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn, Attributes=delivery, ReturnSubscriptionArn=True
        )
        temporary.callback(sns.unsubscribe, SubscriptionArn=subscribed["SubscriptionArn"])
        yield Messages(sqs, queue_url)


def _find_topic(sns: Any, name: str) -> str:
    """Find a topic by name: whether the stage is one stack or two, and whose output its ARN is, does not matter."""
    for page in sns.get_paginator("list_topics").paginate():
        for topic in page["Topics"]:
            arn: str = topic["TopicArn"]
            if arn.rpartition(":")[2] == name:
                return arn
    raise NoTopicError(f"there is no topic {name}")


def _policy(topic_arn: str, queue_arn: str) -> dict[str, Any]:
    """Let this one topic send, and nobody else."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "sns.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue_arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": topic_arn}},
            }
        ],
    }
