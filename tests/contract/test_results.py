"""What fan_out relies on where it publishes: the fake in memory, moto in process and MiniStack all have to hold it.

Not to be had from the emulators, and so unproved here: SNS' throttling, and that it counts a message's bytes as we do
(moto leaves the attributes out).
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count

import boto3
import orjson
import pytest
from moto import mock_aws

from chalicelib.aws.results_topic import ResultsTopic
from chalicelib.consumers.ports import Failed, Message, MessageTopic, Published, Refused
from chalicelib.consumers.result_message import MESSAGE_BYTES_MAX, write_message
from localstage import aws
from ops.subscription import subscription
from tests.fakes import MemoryTopic

PLENTY_MS = 30_000
FINAL_HOURS = {"kind": ["window"], "metric": ["orders"], "step": ["1h"], "final": ["true"]}
stages = count()


@dataclass
class Stage:
    """A topic, and what those who subscribed to all, and to the final hours of `orders`, have got since last asked."""

    topic: MessageTopic
    all: Callable[[], list]
    final_hours: Callable[[], list]


def memory_stage():
    topic = MemoryTopic()
    taken = {"all": 0, "final hours": 0}

    def sent(to, wanted):
        messages, taken[to] = topic.messages[taken[to] :], len(topic.messages)
        passed = [each for each in messages if all(each.attributes.get(name) in of for name, of in wanted.items())]
        return [orjson.loads(message.body) for message in passed]

    return Stage(topic, lambda: sent("all", {}), lambda: sent("final hours", FINAL_HOURS))


def aws_stage(name, sns, sqs, subscriptions):
    def subscribe(wanted):
        messages = subscriptions.enter_context(subscription(sns, sqs, name, wanted))

        def received():
            got = []
            while some := messages.receive(wait_seconds=0):
                got += map(orjson.loads, some)
            return got

        return received

    (topic_arn,) = [
        topic["TopicArn"]
        for topic in sns.list_topics()["Topics"]
        if topic["TopicArn"].endswith(f":highwater-{name}-results")
    ]
    return Stage(ResultsTopic(sns, topic_arn), subscribe(None), subscribe(FINAL_HOURS))


@pytest.fixture(params=["memory", "moto", "ministack"])
def stage(request):
    name = f"results{next(stages)}"
    with ExitStack() as stack:
        if request.param == "memory":
            yield memory_stage()
            return
        if request.param == "moto":
            stack.enter_context(mock_aws())
            sns, sqs = map(boto3.client, ("sns", "sqs"))
        else:
            endpoint_url = request.getfixturevalue("endpoint_url")
            sns, sqs = (aws.client(service, endpoint_url) for service in ("sns", "sqs"))
        sns.create_topic(Name=f"highwater-{name}-results")
        yield aws_stage(name, sns, sqs, stack)


def message(number, *, step="1m", final="false", metric="orders", **content):
    return write_message("window", {"number": number, **content}, {"metric": metric, "step": step, "final": final})


def numbers(bodies):
    return sorted(body["number"] for body in bodies)


def test_what_is_published_reaches_who_subscribed_as_it_is(stage):
    messages = [message(number, rows=[{"name": "“é”\u2028\n\x01", "n": 1}]) for number in range(25)]
    assert stage.topic.publish_messages(messages, PLENTY_MS) == [Published()] * 25
    got = stage.all()
    assert numbers(got) == list(range(25))
    assert {body["id"] for body in got} == {orjson.loads(each.body)["id"] for each in messages}
    assert all(body["rows"] == [{"name": "“é”\u2028\n\x01", "n": 1}] for body in got)


def test_filter_policies_see_the_attributes(stage):
    messages = [
        message(0),
        message(1, step="1h"),
        message(2, final="true"),
        message(3, step="1h", final="true"),
        message(4, step="1h", final="true", metric="customers"),
    ]
    assert stage.topic.publish_messages(messages, PLENTY_MS) == [Published()] * 5
    assert numbers(stage.final_hours()) == [3]
    assert numbers(stage.all()) == [0, 1, 2, 3, 4]


def test_one_that_is_too_large_is_refused_and_the_others_are_taken(stage):
    messages = [message(number, rows="x" * (MESSAGE_BYTES_MAX if number == 3 else 1)) for number in range(10)]
    outcomes = stage.topic.publish_messages(messages, PLENTY_MS)
    assert isinstance(outcomes[3], Refused)
    assert "too long" in outcomes[3].error
    assert [place for place, outcome in enumerate(outcomes) if outcome != Published()] == [3]
    assert numbers(stage.all()) == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_messages_as_large_as_they_may_be_are_taken_however_many(stage):
    attributes = {"kind": "window", "metric": "orders"}
    room = MESSAGE_BYTES_MAX - Message(b"", attributes).payload_bytes
    body = b'{"number":1,"rows":"' + b"x" * (room - 22) + b'"}'
    messages = [Message(body, attributes)] * 3
    assert [each.payload_bytes for each in messages] == [MESSAGE_BYTES_MAX] * 3
    assert stage.topic.publish_messages(messages, PLENTY_MS) == [Published()] * 3


def test_nothing_asked_nothing_done(stage):
    assert stage.topic.publish_messages([], PLENTY_MS) == []


def test_out_of_time_nothing_is_published(stage):
    assert stage.topic.publish_messages([message(1)], 0) == [Failed("out of time")]
    assert stage.all() == []


NOWHERE_ARN = "arn:aws:sns:us-east-1:000000000000:highwater-nowhere-results"


def fails_without_refusing(sns, topic_arn):
    (outcome,) = ResultsTopic(sns, topic_arn).publish_messages([message(1)], PLENTY_MS)
    return isinstance(outcome, Failed)


@mock_aws
def test_on_moto_without_its_topic_all_fails_and_nothing_is_refused():
    assert fails_without_refusing(boto3.client("sns"), NOWHERE_ARN)


@pytest.mark.parametrize("topic_arn", [NOWHERE_ARN, ""])
def test_on_ministack_too_and_with_none_configured(endpoint_url, topic_arn):
    assert fails_without_refusing(aws.client("sns", endpoint_url), topic_arn)
