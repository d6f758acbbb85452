"""Thresholds in SSM, as moto has it; and an SSM that refuses, is not there, or never answers."""

import threading

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto import mock_aws

from chalicelib.aws.thresholds import MAX_AGE_SECONDS, SsmThresholds
from chalicelib.consumers.ports import ThresholdsRead

PLENTY_MS = 5_000
NAME = "/highwater/test/alerts/much/threshold"


class Clock:
    now_ms = 0

    def __call__(self):
        return self.now_ms


@pytest.fixture
def ssm():
    with mock_aws():
        client = boto3.client("ssm", region_name="us-east-1")
        client.get_parameters_by_path(Path="/")  # moto's first answer takes it seconds on a busy machine
        yield client


@pytest.fixture
def thresholds(ssm):
    return SsmThresholds(ssm, "test", Clock())


def forget(thresholds):
    """As after a minute: Powertools has its own clock."""
    thresholds._provider.clear_cache()
    thresholds._clock_ms.now_ms += MAX_AGE_SECONDS * 1000


def put(ssm, name, value, **more):
    ssm.put_parameter(Name=name, Value=value, **({"Type": "String"} | more))


def test_what_is_set_is_read_and_what_is_removed_is_gone(ssm, thresholds):
    assert thresholds.read_thresholds(PLENTY_MS) == ThresholdsRead({})
    put(ssm, NAME, "5")
    assert thresholds.read_thresholds(PLENTY_MS) == ThresholdsRead({})  # not asked again within the minute
    forget(thresholds)
    assert thresholds.read_thresholds(PLENTY_MS) == ThresholdsRead({"much": "5"})
    ssm.delete_parameter(Name=NAME)
    forget(thresholds)
    assert thresholds.read_thresholds(PLENTY_MS) == ThresholdsRead({})


def test_a_minute_costs_one_call(ssm, thresholds):
    calls = []
    ssm.meta.events.register("before-call.ssm.GetParametersByPath", lambda **_: calls.append(1))
    for _ in range(5):
        thresholds.read_thresholds(PLENTY_MS)
    assert len(calls) == 1


def test_all_are_read_and_another_stages_are_not(ssm, thresholds):
    for number in range(25):
        put(ssm, f"/highwater/test/alerts/alert_{number}/threshold", str(number))
    put(ssm, "/highwater/test2/alerts/much/threshold", "5")
    texts = thresholds.read_thresholds(PLENTY_MS).texts
    assert texts == {f"alert_{number}": str(number) for number in range(25)}


def test_what_is_no_threshold_is_no_alerts(ssm, thresholds):
    for name in ("much", "much/note", "much/threshold/old"):
        put(ssm, f"/highwater/test/alerts/{name}", "5")
    texts = thresholds.read_thresholds(PLENTY_MS).texts
    assert all(name.startswith("/highwater/test/alerts/much") for name in texts)
    assert len(texts) == 3


def test_a_secret_is_not_decrypted(ssm, thresholds):
    put(ssm, NAME, "5", Type="SecureString")
    assert thresholds.read_thresholds(PLENTY_MS).texts["much"] != "5"


def test_while_ssm_refuses_what_was_known_stays_and_it_is_left_alone_for_a_minute(ssm, thresholds):
    put(ssm, NAME, "5")
    thresholds.read_thresholds(PLENTY_MS)
    forget(thresholds)
    calls = []

    def refuse(**_):
        calls.append(1)
        error = {"Code": "AccessDeniedException", "Message": "User: arn:aws:sts::000000000000:a-name is not authorized"}
        raise ClientError({"Error": error}, "GetParametersByPath")

    ssm.meta.events.register("before-call.ssm.GetParametersByPath", refuse)
    for _ in range(3):
        assert thresholds.read_thresholds(PLENTY_MS) == ThresholdsRead({"much": "5"}, "AccessDeniedException")
    assert len(calls) == 1
    ssm.meta.events.unregister("before-call.ssm.GetParametersByPath", refuse)
    forget(thresholds)
    assert thresholds.read_thresholds(PLENTY_MS) == ThresholdsRead({"much": "5"})


def test_an_ssm_that_is_not_there_is_named():
    nowhere = boto3.client(
        "ssm",
        region_name="us-east-1",
        endpoint_url="http://127.0.0.1:9",  # discard: nothing listens there
        config=Config(connect_timeout=1, retries={"total_max_attempts": 1}),
    )
    read = SsmThresholds(nowhere, "test", Clock()).read_thresholds(PLENTY_MS)
    assert read == ThresholdsRead({}, "EndpointConnectionError")


def test_an_ssm_that_does_not_answer_in_time_is_named(ssm, thresholds):
    let_go = threading.Event()
    ssm.meta.events.register("before-call.ssm.GetParametersByPath", lambda **_: let_go.wait(5) and None)
    try:
        assert thresholds.read_thresholds(50) == ThresholdsRead({}, "out of time")
        assert thresholds.read_thresholds(0).error == "out of time"
    finally:
        let_go.set()
