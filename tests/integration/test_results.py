"""Subscribers to a stage's results on the emulated AWS, and the command as a process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from localstage.aws import client, environment_variables, session
from ops.resources import ensure
from ops.subscription import subscription

PATIENCE_SECONDS = 15


class Topic:
    """The results topic of a stage, and what is attached to it."""

    def __init__(self, endpoint_url: str, stage: str) -> None:
        there = ensure(stage, endpoint_url=endpoint_url, session=session(), shards=1)
        self.sns, self.sqs = client("sns", endpoint_url), client("sqs", endpoint_url)
        self.stage = stage
        self.arn = there.outputs["ResultsTopicArn"]

    def publish(self, body: str, **attributes: str) -> None:
        typed = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        self.sns.publish(TopicArn=self.arn, Message=body, MessageAttributes=typed)

    def leftovers(self) -> list[Any]:
        queues = self.sqs.list_queues(QueueNamePrefix=f"highwater-{self.stage}-results-").get("QueueUrls", [])
        return queues + self.sns.list_subscriptions_by_topic(TopicArn=self.arn)["Subscriptions"]


def test_filter_policies_split_messages_between_two_subscribers(endpoint_url: str) -> None:
    topic = Topic(endpoint_url, "split")
    with (
        subscription(topic.sns, topic.sqs, "split", {"kind": ["window"], "final": ["true"]}) as final,
        subscription(topic.sns, topic.sqs, "split", {"kind": ["alert"]}) as alerts,
    ):
        topic.publish('{"n":1}', kind="window", metric="orders", step="1m", final="false")
        topic.publish('{"n":2}', kind="window", metric="orders", step="1m", final="true")
        topic.publish('{"n":3}', kind="alert", metric="orders", step="1m", final="true")
        assert (final.receive(5), alerts.receive(5)) == (['{"n":2}'], ['{"n":3}'])
        assert (final.receive(0), alerts.receive(0)) == ([], [])
    assert topic.leftovers() == []


@contextmanager
def command(endpoint_url: str, topic: Topic) -> Iterator[Any]:
    """The command as a process that has subscribed."""
    with subprocess.Popen(
        [sys.executable, "-m", "ops.results", "--stage", topic.stage, "--endpoint-url", endpoint_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment_variables(endpoint_url)},
    ) as process:
        try:
            assert process.stderr is not None
            assert f"subscribed to the results of stage {topic.stage}" in process.stderr.readline()
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_command_shows_messages_until_it_is_stopped_and_leaves_nothing_behind(
    endpoint_url: str, stop: signal.Signals
) -> None:
    topic = Topic(endpoint_url, "shown")
    with command(endpoint_url, topic) as process:
        topic.publish('{"n":1}', kind="window")
        assert process.stdout.readline() == '{"n":1}\n'
        process.send_signal(stop)
        assert process.wait(PATIENCE_SECONDS) == 0
    assert topic.leftovers() == []


def test_a_reader_who_has_enough_ends_the_command_without_a_complaint(endpoint_url: str) -> None:
    topic = Topic(endpoint_url, "piped")
    with command(endpoint_url, topic) as process:
        process.stdout.close()
        topic.publish('{"n":1}')
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stderr.read() == ""
    assert topic.leftovers() == []
