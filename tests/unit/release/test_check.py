"""What the release check lets through, what it refuses, and that CodeDeploy is told in every case."""

import json

import pytest

from chalicelib.errors import TransientError
from chalicelib.release.check import CheckRelease
from chalicelib.release.questions import Reply, questions
from chalicelib.release.shift import AppSpecError, Shift, parse_app_spec
from tests.builders import NOON_MS

EVENT = {"DeploymentId": "d-1", "LifecycleEventHookExecutionId": "h-1"}
LINEAR, ALL_AT_ONCE = "CodeDeployDefault.LambdaLinear10PercentEvery1Minute", "CodeDeployDefault.LambdaAllAtOnce"
RIGHT = {
    "ingest": b'{"batchItemFailures": []}',
    "capture": b'{"batchItemFailures": []}',
    "rollup": b'{"batchItemFailures": []}',
    "fan_out": b'{"batchItemFailures": []}',
    "redrive": b'{"batchItemFailures": []}',
    "tick": b'{"shards": 2, "failed": 0}',
    "api": json.dumps({"statusCode": 200, "body": '{"data": []}'}).encode(),
}
NOBODY = Reply(b'{"errorType": "Exception", "errorMessage": "Unauthorized"}', is_error=True)


class FakeReleases:
    """CodeDeploy and Lambda: one deployment, and a version that answers the same whatever it is asked."""

    def __init__(self, function="ingest", reply=None, release=LINEAR, decisions=("same", "same")):
        self.name = f"highwater-test-{function}"
        self.reply = reply or Reply(RIGHT.get(function, b""))
        self.release = release
        self.decisions = dict(zip(("1", "2"), decisions, strict=True))
        self.invoked = []
        self.told = []

    def shift(self, deployment_id):
        assert deployment_id == "d-1"
        return Shift(self.name, "1", "2", self.release)

    def variable(self, function, version, name):
        assert (function, name) == (self.name, "DECISIONS")
        return self.decisions[version]

    def invoke(self, function, version, event):
        self.invoked.append((function, version))
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    def tell(self, deployment_id, execution_id, *, succeeded):
        self.told.append((deployment_id, execution_id, succeeded))


def at_once(call, timeout_ms):
    if timeout_ms == 0:
        raise TransientError("out of time")
    call()


def check(releases, event=EVENT, *, decoder_faults=(), remaining_ms=60_000):
    return CheckRelease(
        releases,
        ingest="highwater-test-ingest",
        decoder_faults=lambda: list(decoder_faults),
        questions=lambda: questions("test", "orders", NOON_MS),
        in_time=at_once,
    )(event, lambda: remaining_ms)


@pytest.mark.parametrize("function", RIGHT)
def test_a_version_that_answers_as_its_function_does_may_take_traffic(function):
    releases = FakeReleases(function)
    report = check(releases)
    assert report.response == {"succeeded": True, "function": releases.name, "version": "2", "faults": []}
    assert releases.invoked == [(releases.name, "2")]
    assert releases.told == [("d-1", "h-1", True)]


def test_an_authorizer_that_turns_away_a_token_nobody_was_issued_may_take_traffic():
    assert check(FakeReleases("authorize", NOBODY)).succeeded


@pytest.mark.parametrize(
    ("function", "reply", "fault"),
    [
        ("ingest", Reply(b'{"batchItemFailures": [{"itemIdentifier": "1"}]}'), "it did not answer that nothing failed"),
        ("ingest", Reply(b"null"), "it did not answer that nothing failed"),
        ("ingest", Reply(b"no JSON"), "it did not answer that nothing failed"),
        (
            "rollup",
            Reply(b'{"errorType": "Runtime.ImportModuleError", "errorMessage": "secret"}', is_error=True),
            "it did not answer that nothing failed, but failed: Runtime.ImportModuleError",
        ),
        (
            "capture",
            Reply(b'{"errorType": "UnexpectedError", "errorMessage": "ClientError: AccessDenied"}', is_error=True),
            "it did not answer that nothing failed, but failed: ClientError: AccessDenied",
        ),
        ("api", Reply(b'{"statusCode": 500, "body": "{}"}'), "it did not answer the windows of a metric"),
        ("api", Reply(b'{"statusCode": 200, "body": "<html>"}'), "it did not answer the windows of a metric"),
        ("tick", Reply(b'{"shards": 2, "failed": 1}'), "it did not answer a tick on every shard"),
        ("tick", Reply(b'{"shards": 0, "failed": 0}'), "it did not answer a tick on every shard"),
        ("authorize", Reply(b'{"principalId": "ada"}'), "it did not answer that a token does not hold"),
        (
            "authorize",
            Reply(b'{"errorType": "AccessUnavailableError", "errorMessage": "x"}', is_error=True),
            "it did not answer that a token does not hold, but failed: AccessUnavailableError",
        ),
        ("unheard_of", Reply(b"{}"), "nothing is known that this function could be asked"),
        (
            "ingest",
            TransientError("AccessDeniedException"),
            "the check has not come to an end: Tr",
        ),
    ],
)
def test_any_other_is_refused_and_told_without_what_it_answered(function, reply, fault):
    releases = FakeReleases(function, reply)
    (told,) = check(releases).faults
    assert told.startswith(fault)
    assert releases.told == [("d-1", "h-1", False)]
    assert "secret" not in told


def test_a_package_whose_decoder_reads_no_sample_is_refused():
    assert check(FakeReleases(), decoder_faults=["a sample is not decoded: zstd"]).faults == [
        "a sample is not decoded: zstd"
    ]


@pytest.mark.parametrize("decisions", [("old", "new"), (None, "new"), ("old", None), (None, None)])
def test_a_version_of_ingest_that_may_decide_otherwise_does_not_take_turns(decisions):
    (fault,) = check(FakeReleases(decisions=decisions)).faults
    assert "ConsumerRelease=LambdaAllAtOnce" in fault


def test_all_at_once_it_may_decide_otherwise():
    assert check(FakeReleases(decisions=("old", "new"), release=ALL_AT_ONCE)).succeeded


def test_what_decides_nothing_may_take_turns_whatever_ingest_decides():
    assert check(FakeReleases("rollup", decisions=("old", "new"))).succeeded


def test_a_check_that_runs_out_of_time_says_so_while_there_is_time():
    releases = FakeReleases()
    (fault,) = check(releases, remaining_ms=9_000).faults
    assert fault == "the check has not come to an end: TransientError: out of time"
    assert releases.told == [("d-1", "h-1", False)]


def test_an_answer_that_does_not_reach_codedeploy_is_an_error():
    releases = FakeReleases()
    releases.tell = lambda *_, **__: (_ for _ in ()).throw(TransientError("unreachable"))
    with pytest.raises(TransientError, match="unreachable"):
        check(releases)


def test_whoever_asks_by_hand_is_answered_and_codedeploy_told_nothing():
    releases = FakeReleases("api")
    shift = {"function": "highwater-test-api", "current": "1", "target": "7", "release": ALL_AT_ONCE}
    assert check(releases, shift).response["version"] == "7"
    assert (releases.invoked, releases.told) == ([("highwater-test-api", "7")], [])


def test_an_app_spec_names_the_function_and_its_versions():
    properties = {"Name": "f", "Alias": "live", "CurrentVersion": "1", "TargetVersion": "2"}
    spec = {
        "version": 0.0,
        "Resources": [{"F": {"Type": "AWS::Lambda::Function", "Properties": properties}}],
        "Hooks": [],
    }
    assert parse_app_spec(json.dumps(spec), LINEAR) == Shift("f", "1", "2", LINEAR)


@pytest.mark.parametrize("content", ["", "version: 0.0", "{}", '{"Resources": []}', '{"Resources": [{"F": {}}]}'])
def test_an_app_spec_that_cannot_be_read_is_no_release_to_let_through(content):
    with pytest.raises(AppSpecError):
        parse_app_spec(content, LINEAR)


def test_the_functions_that_are_asked_are_those_that_there_are():
    assert {name.removeprefix("highwater-test-") for name in questions("test", "orders", NOON_MS)} == {
        *RIGHT,
        "authorize",
    }
