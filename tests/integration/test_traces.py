"""What X-Ray's daemon is told: by a function in a process of its own, as Lambda starts it, on an emulated AWS."""

import socket
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest

import app
from localstage import aws
from localstage.runtime import Function, FunctionSpec
from ops import resources
from tests.builders import json_line, lambda_event, order
from tests.lambda_process import RESULTS_TOPIC_ARN

STAGE = "traced"
STREAM = f"highwater-{STAGE}-events"
SECRET = "a-payload-that-must-not-be-traced"
DAEMON_SECONDS = 5  # by then a datagram to loopback has long come


@pytest.fixture(scope="module")
def stage(endpoint_url):
    resources.ensure(STAGE, endpoint_url=endpoint_url, session=aws.session(), shards=2)
    return endpoint_url


@pytest.fixture
def daemon():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        yield listening


@contextmanager
def started(tmp_path, endpoint_url, handler, daemon, *, is_traced=True, **environment):
    host, port = daemon.getsockname()
    spec = FunctionSpec(
        name="traced",
        handler=f"app.{handler}",
        arn="arn:aws:lambda:us-east-1:000000000000:function:traced",
        project_dir=Path(app.__file__).parent,
        environment={
            **aws.environment_variables(endpoint_url),
            "STAGE": STAGE,
            "RESULTS_TOPIC_ARN": RESULTS_TOPIC_ARN,
            "AWS_XRAY_DAEMON_ADDRESS": f"{host}:{port}",
            "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",  # as Lambda sets it
            **environment,
        },
        is_traced=is_traced,
    )
    function = Function(spec, tmp_path / "function.log")
    try:
        yield function
    finally:
        function.close()


def invoke(function, event):
    answer = function.invoke(orjson.dumps(event))
    return orjson.loads(answer.payload)


def received(daemon):
    """The subsegments that have come, those within others too; and all the bytes."""
    daemon.settimeout(DAEMON_SECONDS)
    datagrams = [daemon.recv(65_536)]
    daemon.settimeout(0.3)
    try:
        while True:
            datagrams.append(daemon.recv(65_536))
    except TimeoutError:
        pass
    sent = [orjson.loads(datagram.split(b"\n", 1)[1]) for datagram in datagrams]
    return [each for document in sent for each in unfolded(document)], b"".join(datagrams)


def unfolded(subsegment, parent=None, trace=None):
    parent, trace = subsegment.get("parent_id", parent), subsegment.get("trace_id", trace)
    yield {**subsegment, "parent_id": parent, "trace_id": trace}
    for each in subsegment.get("subsegments", ()):
        yield from unfolded(each, subsegment["id"], trace)


def test_an_invocation_and_each_of_its_calls_is_traced_and_nothing_of_the_events(tmp_path, stage, daemon):
    batch = lambda_event(
        [json_line(order(number, user_id=SECRET)) for number in range(20)] + [orjson.dumps({"type": SECRET})],
        stream=STREAM,
    )
    with started(tmp_path, stage, "ingest", daemon) as function:
        assert invoke(function, batch) == {"batchItemFailures": []}
        subsegments, text = received(daemon)
        log = function.log_path.read_text()

    (invocation,) = [each for each in subsegments if each["name"] == "## ingest"]
    assert invocation["annotations"] == {"ColdStart": True, "Service": "highwater", "Stage": STAGE}
    calls = [each for each in subsegments if each["namespace"] == "aws"]
    assert {(each["name"], each["aws"]["operation"]) for each in calls} >= {
        ("dynamodb", "PutItem"),
        ("dynamodb", "Query"),
        ("kinesis", "ListShards"),
        ("s3", "PutObject"),
    }
    # Those of other threads too: concurrent puts, and what has a time-out.
    assert {each["parent_id"] for each in calls} == {invocation["id"]}
    assert {each["trace_id"] for each in subsegments} == {invocation["trace_id"]}
    assert SECRET.encode() not in text
    assert "metadata" not in invocation
    assert not [line for line in log.splitlines() if "segment" in line or "X-Ray" in line or '"ERROR"' in line], log


def test_an_invocation_is_traced_after_another_and_says_it_started_warm(tmp_path, stage, daemon):
    with started(tmp_path, stage, "ingest", daemon) as function:
        traced = []
        for number in range(2):
            invoke(function, lambda_event([json_line(order(number))], first=number + 1, stream=STREAM))
            traced.append(received(daemon)[0])
    invocations = [[each for each in subsegments if each["name"] == "## ingest"] for subsegments in traced]
    assert [[each["annotations"]["ColdStart"] for each in one] for one in invocations] == [[True], [False]]
    for (invocation,), subsegments in zip(invocations, traced, strict=True):
        assert {each["trace_id"] for each in subsegments} == {invocation["trace_id"]}


def logged(function, message):
    lines = [orjson.loads(line) for line in function.log_path.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] == message]


def test_an_exception_is_traced_logged_and_answered_without_what_it_says(tmp_path, stage, daemon):
    event = lambda_event([json_line(order(1))], stream=STREAM)
    event["Records"][0]["kinesis"]["sequenceNumber"] = SECRET
    with started(tmp_path, stage, "ingest", daemon) as function:
        answer = function.invoke(orjson.dumps(event))
        subsegments, text = received(daemon)
        (line,) = logged(function, "invocation failed")
        log = function.log_path.read_bytes()
    (invocation,) = [each for each in subsegments if each["name"] == "## ingest"]
    (exception,) = invocation["cause"]["exceptions"]
    assert (invocation["fault"], exception["type"]) == (True, "ValueError")
    assert "message" not in exception

    told = orjson.loads(answer.payload)
    assert (told["errorType"], told["errorMessage"]) == ("UnexpectedError", "ValueError")
    (of_lambda,) = orjson.loads(answer.trace_cause)["exceptions"]
    assert (of_lambda["type"], of_lambda["message"]) == ("UnexpectedError", "ValueError")
    assert of_lambda["stack"][-1]["label"] == "position", "types and places remain"
    assert line["error"] == "ValueError"
    assert line["where"][-1].endswith(" position")
    for told_to_others in (text, log, answer.payload, answer.trace_cause.encode()):
        assert SECRET.encode() not in told_to_others


def test_a_call_that_aws_refuses_is_traced_and_logged_without_what_it_says(tmp_path, stage, daemon):
    missing = "no-such-table"
    with started(tmp_path, stage, "ingest", daemon, IDS_TABLE=missing) as function:
        told = invoke(function, lambda_event([json_line(order(1))], stream=STREAM))
        subsegments, _ = received(daemon)
        (line,) = logged(function, "invocation failed")
        log = function.log_path.read_text()
    refused = [each for each in subsegments if each.get("fault") and each["name"] == "dynamodb"]
    assert refused
    for each in refused:
        (exception,) = each["cause"]["exceptions"]
        assert exception["type"] == "ResourceNotFoundException"
        assert "message" not in exception
    assert line["code"] == "ResourceNotFoundException"
    assert told["errorMessage"] == "ResourceNotFoundException"
    assert "An error occurred" not in log, "as botocore's texts begin"


def test_an_error_of_ours_says_what_is_wrong(tmp_path, stage, daemon):
    event = lambda_event([json_line(order(number)) for number in range(2)], stream=STREAM)
    event["Records"].reverse()
    with started(tmp_path, stage, "ingest", daemon) as function:
        answer = function.invoke(orjson.dumps(event))
        (line,) = logged(function, "invocation failed")
    told = orjson.loads(answer.payload)
    assert told["errorType"] == "OutOfOrderError"
    assert line["error"] == "OutOfOrderError"
    assert " comes after " in told["errorMessage"]
    assert told["errorMessage"] == orjson.loads(answer.trace_cause)["exceptions"][0]["message"]


def test_a_request_of_the_api_is_traced_under_a_name_of_its_own(tmp_path, stage, daemon):
    request = {
        "requestContext": {"httpMethod": "GET", "resourcePath": "/v1/health", "path": "/v1/health"},
        "headers": {"authorization": SECRET},
        "multiValueQueryStringParameters": {"where": [SECRET]},
        "pathParameters": None,
        "body": None,
        "stageVariables": None,
        "isBase64Encoded": False,
    }
    with started(tmp_path, stage, "app", daemon) as function:
        assert invoke(function, request)["statusCode"] == 200
        subsegments, text = received(daemon)
    assert [each["name"] for each in subsegments] == ["## api"]
    assert SECRET.encode() not in text


@pytest.mark.parametrize(
    ("is_traced", "environment"),
    [(False, {}), (True, {"POWERTOOLS_TRACE_DISABLED": "true"}), (True, {"AWS_XRAY_DAEMON_ADDRESS": ""})],
)
def test_what_is_not_to_be_traced_is_not(tmp_path, stage, daemon, is_traced, environment):
    with started(tmp_path, stage, "ingest", daemon, is_traced=is_traced, **environment) as function:
        answer = invoke(function, lambda_event([json_line(order(1))], stream=STREAM))
        assert answer == {"batchItemFailures": []}
        log = function.log_path.read_text()
    daemon.settimeout(0.3)
    with pytest.raises(TimeoutError):
        daemon.recv(65_536)
    assert "egment" not in log
