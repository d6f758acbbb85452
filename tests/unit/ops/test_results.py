"""The command that shows results, and the subscription behind it, on a stage by moto."""

import json
import math
import threading
import time

import boto3
import pytest
from moto import mock_aws

from ops import results
from ops.subscription import NoTopicError, subscription


class Stage:
    def __init__(self):
        self.sns, self.sqs = boto3.client("sns"), boto3.client("sqs")
        self.topic_arn = self.sns.create_topic(Name="highwater-test-results")["TopicArn"]

    def publish(self, body, **attributes):
        typed = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        self.sns.publish(TopicArn=self.topic_arn, Message=body, MessageAttributes=typed)

    def subscribe(self, **wanted):
        return subscription(self.sns, self.sqs, "test", wanted)

    def leftovers(self):
        return self.sqs.list_queues().get("QueueUrls", []) + self.sns.list_subscriptions()["Subscriptions"]


@pytest.fixture
def stage():
    with mock_aws():
        yield Stage()


def run(*arguments):
    return results.main(["--stage", "test", *arguments])


def test_a_subscriber_gets_each_message_once_as_it_was_published_and_leaves_nothing_behind(stage):
    with stage.subscribe() as messages:
        stage.publish('{"id": "a"}', kind="window")
        assert messages.receive(1) == ['{"id": "a"}']
        assert messages.receive(0) == []
    assert stage.leftovers() == []


def test_what_is_wanted_is_one_of_the_values_of_every_attribute_that_is_named(stage):
    with stage.subscribe(kind=["window", "alert"], step=["1m"]) as messages:
        stage.publish("1", kind="window", step="1m")
        stage.publish("2", kind="window", step="1h")
        stage.publish("3", kind="alert", step="1m")
        stage.publish("4", kind="large-order")
        assert sorted(messages.receive(1)) == ["1", "3"]


def test_only_the_stages_own_topic_may_send(stage):
    with stage.subscribe():
        (url,) = stage.sqs.list_queues()["QueueUrls"]
        attributes = stage.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    (statement,) = json.loads(attributes["Policy"])["Statement"]
    assert statement["Principal"] == {"Service": "sns.amazonaws.com"}
    assert statement["Resource"] == attributes["QueueArn"]
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": stage.topic_arn}}


def test_the_topic_is_found_behind_a_page_of_others_and_not_by_a_part_of_its_name(stage):
    for number in range(120):
        stage.sns.create_topic(Name=f"a-{number}")
    stage.sns.create_topic(Name="other-highwater-test-results")
    stage.sns.create_topic(Name="highwater-last-results")
    for name in ("test", "last"):
        with subscription(stage.sns, stage.sqs, name):
            (listed,) = stage.sns.list_subscriptions()["Subscriptions"]
            assert listed["TopicArn"].endswith(f":highwater-{name}-results")


def test_an_error_amid_the_subscription_leaves_nothing_behind(stage):
    with pytest.raises(ZeroDivisionError), stage.subscribe():
        raise ZeroDivisionError
    assert stage.leftovers() == []


def test_without_a_topic_nothing_is_made(stage):
    with pytest.raises(NoTopicError, match=r"^there is no topic highwater-nowhere-results$"):
        subscription(stage.sns, stage.sqs, "nowhere").__enter__()
    assert stage.leftovers() == []


class FakeMessages:
    """Gives these messages, as many at once as it is asked for, and notes how it is asked."""

    def __init__(self, *messages):
        self.left = list(messages)
        self.asked = []

    def receive(self, wait_seconds, count_max):
        self.asked.append((wait_seconds, count_max))
        given, self.left = self.left[:count_max], self.left[count_max:]
        return given


def test_a_message_is_one_line_whatever_its_own_lines():
    lines = []
    results.show(FakeMessages('{\r\n "a": 1.10,\n "b": "é\u2028"}'), 1, math.inf, lines.append)
    assert lines == ['{   "a": 1.10,  "b": "é\u2028"}\n']


def test_no_more_messages_are_taken_than_are_to_be_shown():
    messages, lines = FakeMessages(*map(str, range(20))), []
    results.show(messages, 12, math.inf, lines.append)
    assert "".join(lines).split() == [str(number) for number in range(12)]
    assert messages.asked == [(20, 10), (20, 2)]


def test_the_last_wait_ends_with_the_time():
    messages = FakeMessages()
    results.show(messages, math.inf, 0.01, lambda line: None)
    assert messages.asked[0] == (1, 10)


def test_the_command_shows_what_was_asked_for_a_line_each_and_leaves_nothing_behind(stage, capsys):
    def publish_when_somebody_has_subscribed():
        while not stage.sns.list_subscriptions()["Subscriptions"]:
            time.sleep(0.01)
        stage.publish('{"n": 1}', kind="window", metric="orders", step="1m", final="false")
        stage.publish('{"n": 2}', kind="window", metric="orders", step="1m", final="true")

    publisher = threading.Thread(target=publish_when_somebody_has_subscribed)
    publisher.start()
    assert run("--metric", "orders", "--final", "true", "--messages", "1") == 0
    publisher.join()
    captured = capsys.readouterr()
    assert captured.out == '{"n": 2}\n'
    assert "subscribed to the results of stage test" in captured.err
    assert stage.leftovers() == []


def test_it_ends_after_its_time(stage, capsys):
    assert run("--seconds", "0.1") == 0
    assert capsys.readouterr().out == ""


def test_a_stage_that_is_not_there_is_one_line_and_exit_code_2(stage, capsys):
    assert results.main(["--stage", "nowhere"]) == 2
    assert capsys.readouterr().err == (
        "ops.results: the results of stage nowhere cannot be had: there is no topic highwater-nowhere-results\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--final", "yes"], "invalid choice: 'yes'"),
        (["--messages", "0"], "'0' is no whole number above 0"),
        (["--messages", "few"], "'few' is no whole number above 0"),
        (["--seconds", "-1"], "'-1' is no number of seconds"),
        (["--endpoint-url", "localhost:4566"], "'localhost:4566' is no URL"),
        (["--colour", "red"], "--colour"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert error.startswith("ops.results: ")
    assert message in error
    assert error.count("\n") == 1
