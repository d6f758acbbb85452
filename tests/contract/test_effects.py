"""What ingest relies on where handlers run: the fake in memory, moto in process and MiniStack all have to hold it.

Time passes in the tables by moving the times that they hold back. Not to be had from the emulators, and so unproved
here: real throttling of SNS, and its delivery policies.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from threading import Barrier, Event

import boto3
import orjson
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError
from moto import mock_aws

from chalicelib.aws.idempotent_effects import IdempotentEffects
from chalicelib.aws.results_topic import ResultsTopic
from chalicelib.consumers.ports import Done, EffectRunner, Failed, Refused
from chalicelib.definitions import OrderPlaced, announce_large_order
from chalicelib.effects import Effect, RefusedError, handles
from chalicelib.errors import InvariantError, TransientError
from localstage import aws
from ops import resources
from tests.builders import DAY_MS, json_line, make_decoder, order
from tests.fakes import MemoryEffects

PLENTY_MS = 30_000
INVOCATION_MS = 60_000
REMEMBER_MS = 7 * DAY_MS + 15 * 60_000
DECODE = make_decoder().decode_event
stages = count()


class Killed(BaseException):
    """The process ends here."""


class Context:
    def get_remaining_time_in_millis(self):
        return INVOCATION_MS


@dataclass
class Stage:
    """An empty stage: a runner as one container has it, another container's, and the world around."""

    runner: EffectRunner
    another: EffectRunner
    sent: Callable  # what a subscriber of `large-order` and `greeting` has got so far, in any order
    pass_time: Callable[[int], None]
    lose_answer: Callable[[], None]  # from here on a success cannot be recorded
    items: Callable[[], list]


def memory_stage():
    now_ms = [0]
    effects = MemoryEffects(lambda: now_ms[0], remember_ms=REMEMBER_MS, invocation_ms=INVOCATION_MS)

    def pass_time(ms):
        now_ms[0] += ms

    def lose_answer():
        effects.after_act = lambda effect: "InternalServerError"

    def sent():
        return [message for message in effects.published if message["kind"] in ("large-order", "greeting")]

    return Stage(effects, effects, sent, pass_time, lose_answer, lambda: list(effects.records))


def subscribe(sns, sqs, topic_arn, name):
    """Subscribe a queue to two kinds of message. Returns: what the queue has got so far, as a function."""
    queue_url = sqs.create_queue(QueueName=name)["QueueUrl"]
    queue_arn = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = orjson.dumps({"kind": ["large-order", "greeting"]}).decode()
    attributes = {"RawMessageDelivery": "true", "FilterPolicy": policy}
    sns.subscribe(TopicArn=topic_arn, Protocol="sqs", Endpoint=queue_arn, Attributes=attributes)
    got = []

    def sent():
        while messages := sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"], WaitTimeSeconds=0
        ).get("Messages"):
            for message in messages:
                body = orjson.loads(message["Body"])
                attribute = message["MessageAttributes"]["kind"]
                assert (attribute["DataType"], attribute["StringValue"]) == ("String", body["kind"])
                got.append(body)
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
        return got

    return sent


def aws_stage(name, dynamodb, sns, sqs, topic_arn):
    table = f"highwater-{name}-idempotency"
    sent = subscribe(sns, sqs, topic_arn, f"{name}-subscriber")

    def runner():
        made = IdempotentEffects(dynamodb, table, lambda: ResultsTopic(sns, topic_arn), REMEMBER_MS)
        made.register_lambda_context(Context())
        return made

    def items():
        return dynamodb.scan(TableName=table, ConsistentRead=True)["Items"]

    def pass_time(ms):
        for item in items():
            item["expiration"]["N"] = str(int(item["expiration"]["N"]) - ms // 1000)
            item["in_progress_expiration"]["N"] = str(int(item["in_progress_expiration"]["N"]) - ms)
            dynamodb.put_item(TableName=table, Item=item)

    def lose_answer():
        def fail(**_):
            raise EndpointConnectionError(endpoint_url="https://nowhere.example")

        dynamodb.meta.events.register("before-call.dynamodb.UpdateItem", fail)

    return Stage(runner(), runner(), sent, pass_time, lose_answer, items)


@pytest.fixture(params=["memory", "moto", "ministack"])
def stage(request):
    name = f"effects{next(stages)}"
    if request.param == "memory":
        yield memory_stage()
    elif request.param == "moto":
        with mock_aws():
            dynamodb, sns, sqs = map(boto3.client, ("dynamodb", "sns", "sqs"))
            dynamodb.create_table(
                TableName=f"highwater-{name}-idempotency",
                BillingMode="PAY_PER_REQUEST",
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            )
            topic_arn = sns.create_topic(Name=f"highwater-{name}-results")["TopicArn"]
            yield aws_stage(name, dynamodb, sns, sqs, topic_arn)
    else:
        endpoint_url = request.getfixturevalue("endpoint_url")
        resources.ensure(name, endpoint_url=endpoint_url, session=aws.session(), shards=1)
        clients = [aws.client(service, endpoint_url) for service in ("dynamodb", "sns", "sqs")]
        topics = clients[1].list_topics()["Topics"]
        (topic_arn,) = [topic["TopicArn"] for topic in topics if topic["TopicArn"].endswith(f"-{name}-results")]
        yield aws_stage(name, *clients, topic_arn)


def effect(handler, number=1, **changes):
    return Effect(handler, DECODE(json_line(order(number, **changes))))


@handles(OrderPlaced)
def greet(event, results):
    results.publish("greeting", event.id, {"to": event.data.user_id})


def greeting_then(raises):
    """A handler that greets, and then raises whatever the list gives next, if anything."""

    @handles(OrderPlaced)
    def greet_and(event, results):
        greet.act(event, results)
        if raises:
            raise raises.pop(0)

    return greet_and


def run(runner, *effects):
    return runner.run_all(effects, PLENTY_MS)


def test_a_large_order_is_announced_to_whoever_subscribed_to_its_kind(stage):
    assert run(stage.runner, effect(announce_large_order, 7, amount=9999.125, currency="EUR")) == [Done()]
    (message,) = stage.sent()
    assert len(message.pop("id")) == 32
    assert Decimal(str(message.pop("amount"))) == Decimal("9999.125")
    assert str(message.pop("time")).startswith("2026-11-24")
    assert message == {
        "kind": "large-order",
        "order_id": "order-7",
        "user_id": "ada",
        "currency": "EUR",
        "source": "/tests",
        "event_id": "event-7",
    }


def test_who_filters_by_kind_gets_no_other(stage):
    @handles(OrderPlaced)
    def whisper(event, results):
        results.publish("whisper", event.id, {})

    assert run(stage.runner, effect(whisper), effect(greet)) == [Done(), Done()]
    assert [message["kind"] for message in stage.sent()] == ["greeting"]


def test_an_effect_happens_once_however_often_its_event_comes(stage):
    for runner in (stage.runner, stage.runner, stage.another):
        assert run(runner, effect(greet)) == [Done()]
    assert stage.sent() == [{"id": "event-1", "kind": "greeting", "to": "ada"}]


def test_nor_does_it_happen_again_when_the_whole_stream_is_replayed(stage):
    run(stage.runner, effect(greet))
    stage.pass_time(7 * DAY_MS)
    assert run(stage.another, effect(greet)) == [Done()]
    assert len(stage.sent()) == 1


def test_it_is_forgotten_once_no_stream_can_bring_it_again(stage):
    run(stage.runner, effect(greet))
    stage.pass_time(REMEMBER_MS + 2_000)
    assert run(stage.another, effect(greet)) == [Done()]
    assert len(stage.sent()) == 2


def test_each_handler_and_each_event_has_effects_of_its_own(stage):
    effects = [effect(greet, 1), effect(greet, 2), effect(greeting_then([]), 1)]
    assert run(stage.runner, *effects) == [Done()] * 3
    assert sorted(message["id"] for message in stage.sent()) == ["event-1", "event-1", "event-2"]


def test_outcomes_come_in_the_order_of_the_effects(stage):
    @handles(OrderPlaced)
    def refuse_odd(event, results):
        if event.data.amount % 2:
            raise RefusedError(event.id)

    outcomes = run(stage.runner, *(effect(refuse_odd, number, amount=number + 1) for number in range(40)))
    assert outcomes == [Done() if number % 2 else Refused(f"event-{number}") for number in range(40)]


@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (RefusedError("no such customer"), Refused("no such customer")),
        (ZeroDivisionError("division by zero"), Refused("ZeroDivisionError: division by zero")),
        (RefusedError("x" * 400), Refused("x" * 299 + "…")),
        (TransientError("the shop is closed"), Failed("the shop is closed")),
    ],
)
def test_what_a_handler_raises_decides_and_it_may_run_again(stage, raised, outcome):
    handler = greeting_then([raised])
    assert run(stage.runner, effect(handler)) == [outcome]
    assert stage.items() == []
    assert run(stage.runner, effect(handler)) == [Done()]


def test_a_request_that_cannot_be_made_is_the_handlers_own_refusal(stage):
    raised = ParamValidationError(report="TopicArn is missing")
    (outcome,) = run(stage.runner, effect(greeting_then([raised])))
    assert isinstance(outcome, Refused)
    assert outcome.error.startswith("ParamValidationError: ")


def test_a_process_that_dies_amid_an_effect_leaves_it_in_progress_until_its_time_would_have_been_over(stage):
    handler = greeting_then([Killed()])
    with pytest.raises(Killed):
        run(stage.runner, effect(handler))
    assert run(stage.another, effect(handler)) == [Failed("already in progress")]
    stage.pass_time(INVOCATION_MS + 1_000)
    assert run(stage.another, effect(handler)) == [Done()]
    assert run(stage.another, effect(handler)) == [Done()]
    assert stage.sent() == [{"id": "event-1", "kind": "greeting", "to": "ada"}] * 2  # one id, so that repeats can go


def test_a_success_that_cannot_be_recorded_has_failed(stage):
    stage.lose_answer()
    (outcome,) = run(stage.runner, effect(greet))
    assert isinstance(outcome, Failed)
    assert run(stage.another, effect(greet)) == [Failed("already in progress")]


def test_a_failure_never_forgets_what_succeeded_elsewhere_meanwhile(stage):
    @handles(OrderPlaced)
    def stall(event, results):
        if not stage.sent():
            stage.pass_time(INVOCATION_MS + 1_000)
            greet.act(event, results)
            assert run(stage.another, Effect(stall, event)) == [Done()]
            raise TransientError("thawed too late")

    assert run(stage.runner, effect(stall)) == [Failed("thawed too late")]
    assert len(stage.items()) == 1
    assert run(stage.runner, effect(stall)) == [Done()]


def test_of_two_at_once_one_runs_and_the_other_comes_again(stage):
    begun, may_end = Event(), Event()

    @handles(OrderPlaced)
    def linger(event, results):
        begun.set()
        assert may_end.wait(30)
        greet.act(event, results)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(run, stage.runner, effect(linger))
        assert begun.wait(30)
        assert run(stage.another, effect(linger)) == [Failed("already in progress")]
        may_end.set()
        assert first.result() == [Done()]
    assert run(stage.another, effect(linger)) == [Done()]
    assert len(stage.sent()) == 1


def test_out_of_time_nothing_is_begun(stage):
    assert stage.runner.run_all([effect(greet)], 0) == [Failed("out of time")]
    assert stage.items() == []


def test_nothing_asked_nothing_done(stage):
    assert stage.runner.run_all([], PLENTY_MS) == []


# The fake has one thread, needs no context, and knows no AWS.
on_aws_only = pytest.mark.parametrize("stage", ["moto", "ministack"], indirect=True)


@on_aws_only
@pytest.mark.parametrize(
    ("raised", "outcome"),
    [
        (EndpointConnectionError(endpoint_url="https://x.example"), Failed("EndpointConnectionError")),
        (ClientError({"Error": {"Code": "ThrottlingException"}}, "Put"), Failed("ThrottlingException")),
        (
            ClientError({"Error": {"Code": "Throttled"}, "ResponseMetadata": {"HTTPStatusCode": 429}}, "Publish"),
            Failed("Throttled"),
        ),
    ],
)
def test_what_aws_answers_a_handler_is_judged_as_everywhere(stage, raised, outcome):
    assert run(stage.runner, effect(greeting_then([raised]))) == [outcome]


@on_aws_only
def test_effects_run_at_once_and_one_that_lingers_has_failed(stage):
    barrier, may_end = Barrier(4), Event()

    @handles(OrderPlaced)
    def meet(event, results):
        barrier.wait(30)
        if event.id == "event-0":
            may_end.wait(30)

    effects = [effect(meet, number) for number in range(4)]
    assert stage.runner.run_all(effects, 3_000) == [Failed("out of time"), Done(), Done(), Done()]
    may_end.set()


@on_aws_only
def test_what_is_stored_tells_nothing_of_the_event(stage, caplog):
    caplog.set_level(logging.DEBUG, logger="aws_lambda_powertools")
    run(stage.runner, effect(greet, user_id="a-secret"))
    run(stage.runner, effect(greeting_then([RefusedError("a-secret")]), user_id="a-secret"))
    (item,) = stage.items()
    assert item.keys() == {"id", "status", "expiration", "in_progress_expiration", "data"}
    assert item["id"]["S"].startswith("effect#")
    assert (len(item["id"]["S"]), item["data"]["S"]) == (len("effect#") + 64, "null")
    assert "a-secret" not in str(item) + caplog.text
    assert "event-1" not in str(item) + caplog.text


@on_aws_only
def test_without_the_invocations_context_nothing_is_run(stage):
    made = IdempotentEffects(None, "nowhere", lambda: None, REMEMBER_MS)
    with pytest.raises(InvariantError):
        run(made, effect(greet))
