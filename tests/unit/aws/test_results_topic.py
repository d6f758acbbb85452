from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from threading import Barrier, Event, Lock

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aws.breaker import Breaker
from chalicelib.aws.results_topic import ENTRIES_A_REQUEST, PAUSE_MS_FIRST, ResultsTopic
from chalicelib.consumers.ports import Failed, Message, Published, Refused
from chalicelib.consumers.result_message import MESSAGE_BYTES_MAX
from chalicelib.errors import TransientError

TOPIC_ARN = "arn:aws:sns:us-east-1:000000000000:highwater-test-results"


@pytest.fixture
def sns():
    client = boto3.client("sns")
    with Stubber(client) as stub:
        yield client, stub


def test_a_message_is_json_with_exact_numbers_and_its_kind_beside_it(sns):
    client, stub = sns
    stub.add_response(
        "publish",
        {"MessageId": "1"},
        {
            "TopicArn": TOPIC_ARN,
            "Message": '{"id":"7","kind":"large-order","amount":9999.999999999999999999,"time":"2026-11-24T12:00:00Z"}',
            "MessageAttributes": {"kind": {"DataType": "String", "StringValue": "large-order"}},
        },
    )
    message = {"amount": Decimal("9999.999999999999999999"), "time": datetime(2026, 11, 24, 12, tzinfo=UTC)}
    ResultsTopic(client, TOPIC_ARN).publish("large-order", "7", message)
    stub.assert_no_pending_responses()


@pytest.mark.parametrize(("code", "status"), [("Throttled", 429), ("KMSThrottling", 400), ("InternalError", 500)])
def test_a_topic_that_is_too_busy_is_transient(sns, code, status):
    client, stub = sns
    stub.add_client_error("publish", code, http_status_code=status)
    with pytest.raises(TransientError, match=code):
        ResultsTopic(client, TOPIC_ARN).publish("large-order", "7", {})


def test_a_message_that_sns_refuses_is_not(sns):
    client, stub = sns
    stub.add_client_error("publish", "InvalidParameter", "Message too long", http_status_code=400)
    with pytest.raises(ClientError, match="Message too long"):
        ResultsTopic(client, TOPIC_ARN).publish("large-order", "7", {})


PLENTY_MS = 30_000


class Sns:
    """SNS as far as PublishBatch goes. `answer(message)` tells what becomes of a message: None, it is taken; an
    exception, its request fails with it; or (code, whether it is the sender's fault).
    """

    def __init__(self):
        self.requests = []
        self.taken = []
        self.answer = lambda message: None
        self._lock = Lock()

    def publish(self, **_):
        raise AssertionError("SNS is to be left alone")

    def publish_batch(self, *, TopicArn, PublishBatchRequestEntries):  # noqa: N803  boto3's
        assert TopicArn == TOPIC_ARN
        entries = PublishBatchRequestEntries
        answers = {entry["Id"]: self.answer(entry["Message"]) for entry in entries}
        with self._lock:
            self.requests.append([entry["Message"] for entry in entries])
            for answer in answers.values():
                if isinstance(answer, Exception):
                    raise answer
            self.taken += [entry["Message"] for entry in entries if answers[entry["Id"]] is None]
        failed = [
            {"Id": number, "Code": answer[0], "Message": "because", "SenderFault": answer[1]}
            for number, answer in answers.items()
            if answer
        ]
        return {"Failed": failed, "Successful": [{"Id": number} for number, answer in answers.items() if not answer]}


class Topic:
    def __init__(self, **breaker):
        self.sns = Sns()
        self.pauses = []
        self.breaker = Breaker("results", **{"failures_max": 100, "open_seconds": 600, **breaker})
        self.topic = ResultsTopic(self.sns, TOPIC_ARN, self.breaker, self.pauses.append)

    def publish(self, *bodies, timeout_ms=PLENTY_MS):
        return self.topic.publish_messages([Message(body.encode(), {"kind": "k"}) for body in bodies], timeout_ms)


@pytest.fixture
def topic():
    return Topic()


def client_error(code, status=400, message="no"):
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, "x"
    )


def numbered(count):
    return [f"message {number}" for number in range(count)]


@given(st.lists(st.integers(0, MESSAGE_BYTES_MAX), max_size=40))
def test_requests_keep_to_snss_limits_and_outcomes_to_the_order(sizes):
    topic = Topic()
    assert topic.publish(*("x" * size for size in sizes)) == [Published()] * len(sizes)
    assert sorted(map(len, topic.sns.taken)) == sorted(sizes)
    attribute_bytes = len("kindStringk")
    for request in topic.sns.requests:
        assert 0 < len(request) <= ENTRIES_A_REQUEST
        assert len(request) == 1 or sum(map(len, request)) + len(request) * attribute_bytes <= MESSAGE_BYTES_MAX


def test_nothing_to_publish_nothing_done(topic):
    assert topic.publish() == []
    assert topic.sns.requests == []


def test_requests_are_made_at_once(topic):
    barrier = Barrier(3)
    topic.sns.answer = lambda message: message.endswith("0") and barrier.wait(20) and None
    assert topic.publish(*numbered(30)) == [Published()] * 30


def test_one_poisoned_entry_in_ten_is_refused_alone(topic):
    topic.sns.answer = lambda message: ("InvalidParameter", True) if message == "message 3" else None
    outcomes = topic.publish(*numbered(20))
    assert outcomes[3] == Refused("InvalidParameter: because")
    assert Counter(map(type, outcomes)) == {Published: 19, Refused: 1}
    assert topic.pauses == []


def test_a_request_that_is_refused_as_a_whole_is_sent_entry_by_entry(topic):
    topic.sns.answer = lambda message: client_error("InvalidParameter") if message == "message 3" else None
    outcomes = topic.publish(*numbered(10))
    assert outcomes[3] == Refused("InvalidParameter: no")
    assert Counter(map(type, outcomes)) == {Published: 9, Refused: 1}
    assert len(topic.sns.requests) == 1 + 10


def test_what_sns_had_no_room_for_is_sent_again_after_pauses_that_grow(topic):
    tries = Counter()

    def busy_twice(message):
        tries[message] += 1
        return ("InternalError", False) if message == "message 3" and tries[message] <= 2 else None

    topic.sns.answer = busy_twice
    assert topic.publish(*numbered(10)) == [Published()] * 10
    assert topic.pauses == [PAUSE_MS_FIRST, 2 * PAUSE_MS_FIRST]
    assert topic.sns.requests[1:] == [["message 3"]] * 2


def test_throttling_is_no_refusal_though_sns_calls_it_the_senders_fault(topic):
    topic.sns.answer = lambda message: ("KMSThrottling", True)
    topic.topic._pause = lambda pause_ms: setattr(topic.sns, "answer", lambda message: None)
    assert topic.publish("a", "b") == [Published(), Published()]


def test_what_is_not_taken_in_time_has_failed(topic):
    topic.sns.answer = lambda message: ("Throttled", False) if message == "b" else None
    assert topic.publish("a", "b", timeout_ms=3 * PAUSE_MS_FIRST) == [Published(), Failed("Throttled")]
    assert topic.publish("a", timeout_ms=0) == [Failed("out of time")]


def test_a_call_that_hangs_has_failed_and_the_others_have_not(topic):
    may_end = Event()
    topic.sns.answer = lambda message: may_end.wait(20) and None if message == "message 3" else None
    outcomes = topic.publish(*numbered(20), timeout_ms=300)
    may_end.set()
    assert outcomes == [Failed("out of time")] * 10 + [Published()] * 10


@pytest.mark.parametrize(
    "error",
    [
        client_error("NotFound", 404),
        client_error("AuthorizationError", 403),
        client_error("AccessDenied", 403),
        client_error("ExpiredToken", 403),
        client_error("KMSAccessDenied"),
        client_error("InvalidParameter", message="Invalid parameter: TopicArn"),
    ],
)
def test_a_stage_that_is_set_up_wrongly_refuses_no_message(topic, error):
    topic.sns.answer = lambda message: error
    assert topic.publish("a", "b") == [Failed(error.response["Error"]["Code"])] * 2
    assert len(topic.sns.requests) == 1, "another attempt would not help"
    topic.sns.answer = lambda message: ("KMSAccessDenied", True)
    assert topic.publish("a", "b") == [Failed("KMSAccessDenied")] * 2


def test_nor_does_a_request_that_cannot_be_made(topic):
    topic.sns.answer = lambda message: ParamValidationError(report="TopicArn is missing")
    assert topic.publish("a") == [Failed("ParamValidationError")]


@pytest.mark.parametrize(
    "error",
    [
        client_error("Throttling"),
        client_error("InternalError", 500),
        EndpointConnectionError(endpoint_url="https://nowhere.example"),
    ],
)
def test_failures_in_a_row_open_the_circuit_and_sns_is_left_alone(error):
    topic = Topic(failures_max=3)
    topic.sns.answer = lambda message: error
    (outcome,) = topic.publish("a")
    assert isinstance(outcome, Failed)
    assert len(topic.sns.requests) == 3
    assert topic.publish(*numbered(30)) == [Failed("circuit open")] * 30
    assert len(topic.sns.requests) == 3
    with pytest.raises(TransientError, match="circuit open"):
        topic.topic.publish("large-order", "7", {})


def test_entries_that_all_fail_count_as_a_failure_and_a_refusal_does_not():
    topic = Topic(failures_max=2)
    topic.sns.answer = lambda message: ("InvalidParameter", True)
    for _ in range(5):
        assert isinstance(topic.publish("a")[0], Refused)
    topic.sns.answer = lambda message: ("InternalError", False)
    assert topic.publish("a") == [Failed("InternalError")]
    assert not topic.breaker.is_closed


def test_once_the_circuit_is_tried_and_closes_what_waited_is_sent():
    topic = Topic(failures_max=1, open_seconds=0)
    topic.sns.answer = lambda message: client_error("Throttling")
    topic.publish("a")
    topic.sns.answer = lambda message: None
    assert topic.publish(*numbered(30)) == [Published()] * 30


def test_an_endpoint_that_cannot_be_reached_is_a_failure():
    config = Config(connect_timeout=1, retries={"total_max_attempts": 1})
    sns = boto3.client("sns", endpoint_url="http://127.0.0.1:9", config=config)
    topic = ResultsTopic(sns, TOPIC_ARN, Breaker("results", failures_max=1), pause=[].append)
    assert topic.publish_messages([Message(b"{}", {})], PLENTY_MS) == [Failed("EndpointConnectionError")]
