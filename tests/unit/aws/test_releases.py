"""What CodeDeploy and Lambda are asked, and what their answers are taken for."""

import io
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from botocore.config import Config
from botocore.response import StreamingBody
from botocore.stub import Stubber

from chalicelib.aws import clients
from chalicelib.aws.releases import TRIES, CodeDeployReleases
from chalicelib.errors import TransientError
from chalicelib.release.questions import Reply
from chalicelib.release.shift import AppSpecError, Shift

DIGEST = "0" * 64
APP_SPEC = json.dumps(
    {
        "version": 0.0,
        "Resources": [
            {
                "IngestAliaslive": {
                    "Type": "AWS::Lambda::Function",
                    "Properties": {"Name": "f", "Alias": "live", "CurrentVersion": "1", "TargetVersion": "2"},
                }
            }
        ],
    }
)


@pytest.fixture
def codedeploy():
    with Stubber(boto3.client("codedeploy")) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def functions():
    with Stubber(boto3.client("lambda")) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def versions():
    with Stubber(boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}))) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def releases(codedeploy, functions, versions, pauses):
    return CodeDeployReleases(codedeploy.client, functions.client, versions.client, pauses.append)


def deployment(revision):
    told = {"applicationName": "app", "deploymentConfigName": "CodeDeployDefault.LambdaAllAtOnce", "revision": revision}
    return {"deploymentInfo": told}


@pytest.mark.parametrize(("form", "kind"), [("string", "String"), ("appSpecContent", "AppSpecContent")])
def test_the_app_spec_is_that_of_the_revision_by_its_digest(releases, codedeploy, form, kind):
    by_digest = {"revisionType": kind, form: {"sha256": DIGEST}}
    codedeploy.add_response("get_deployment", deployment(by_digest), {"deploymentId": "d-1"})
    codedeploy.add_response(
        "get_application_revision",
        {"applicationName": "app", "revision": {"revisionType": kind, form: {"content": APP_SPEC, "sha256": DIGEST}}},
        {"applicationName": "app", "revision": by_digest},
    )
    assert releases.shift("d-1") == Shift("f", "1", "2", "CodeDeployDefault.LambdaAllAtOnce")


def test_an_app_spec_that_the_deployment_tells_itself_is_not_asked_for(releases, codedeploy):
    told = deployment({"revisionType": "AppSpecContent", "appSpecContent": {"content": APP_SPEC}})
    codedeploy.add_response("get_deployment", told)
    assert releases.shift("d-1").target == "2"


def test_a_deployment_without_an_app_spec_cannot_be_read(releases, codedeploy):
    codedeploy.add_response("get_deployment", deployment({"revisionType": "S3"}))
    codedeploy.add_response("get_application_revision", {"applicationName": "app", "revision": {"revisionType": "S3"}})
    with pytest.raises(AppSpecError):
        releases.shift("d-1")


def test_a_version_is_invoked_and_its_error_told_from_its_answer(releases, versions):
    asked = {"FunctionName": "f", "Qualifier": "2", "Payload": b'{"Records":[]}'}
    versions.add_response("invoke", {"StatusCode": 200, "Payload": body(b"{}")}, asked)
    versions.add_response("invoke", {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": body(b"[]")}, asked)
    assert releases.invoke("f", "2", {"Records": []}) == Reply(b"{}")
    assert releases.invoke("f", "2", {"Records": []}) == Reply(b"[]", is_error=True)


def body(payload):
    return StreamingBody(io.BytesIO(payload), len(payload))


def test_a_variable_is_that_of_the_version(releases, functions):
    asked = {"FunctionName": "f", "Qualifier": "1"}
    functions.add_response("get_function_configuration", {"Environment": {"Variables": {"DECISIONS": "a"}}}, asked)
    functions.add_response("get_function_configuration", {}, asked)
    assert releases.variable("f", "1", "DECISIONS") == "a"
    assert releases.variable("f", "1", "DECISIONS") is None


@pytest.mark.parametrize(("succeeded", "status"), [(True, "Succeeded"), (False, "Failed")])
def test_codedeploy_is_told(releases, codedeploy, succeeded, status):
    told = {"deploymentId": "d-1", "lifecycleEventHookExecutionId": "h-1", "status": status}
    codedeploy.add_response("put_lifecycle_event_hook_execution_status", {}, told)
    releases.tell("d-1", "h-1", succeeded=succeeded)


def test_what_a_service_refuses_is_told_by_its_name_alone(releases, versions, pauses):
    versions.add_client_error("invoke", "AccessDeniedException", "user arn:aws:iam::1:role/secret may not")
    with pytest.raises(TransientError, match=r"^AccessDeniedException$"):
        releases.invoke("f", "2", {})
    assert pauses == []


def test_a_version_that_is_busy_is_asked_again_for_it_has_not_begun(releases, versions, pauses):
    versions.add_client_error("invoke", "TooManyRequestsException", http_status_code=429)
    versions.add_response("invoke", {"StatusCode": 200, "Payload": body(b"{}")})
    assert releases.invoke("f", "2", {}) == Reply(b"{}")
    assert len(pauses) == 1


def test_a_version_that_stays_busy_is_given_up(releases, versions):
    for _ in range(TRIES):
        versions.add_client_error("invoke", "TooManyRequestsException", http_status_code=429)
    with pytest.raises(TransientError, match=r"^TooManyRequestsException$"):
        releases.invoke("f", "2", {})


@contextmanager
def slow_lambda(answers_after_s):
    """A Lambda whose functions take their time. Yields its URL, and the paths asked for so far."""
    asked = []

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(self.path)
            time.sleep(answers_after_s)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as serving:
        serving.handle_error = lambda *_: None  # who asked is gone
        threading.Thread(target=serving.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}", asked
        serving.shutdown()


@pytest.mark.parametrize(("answers_after_s", "waits_s"), [(0.5, 10), (1, 0.3)])
def test_a_version_that_takes_its_time_is_asked_once(codedeploy, functions, answers_after_s, waits_s):
    """A second tick beside the first would be one too many."""
    with slow_lambda(answers_after_s) as (url, asked):
        config = clients.INVOKING.merge(Config(read_timeout=waits_s))
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
        patient = boto3.client("lambda", endpoint_url=url, config=config, **keys)
        releases = CodeDeployReleases(codedeploy.client, functions.client, patient, lambda _: None)
        if waits_s > answers_after_s:
            assert releases.invoke("tick", "2", {}) == Reply(b"{}")
        else:
            with pytest.raises(TransientError, match=r"^ReadTimeoutError$"):
                releases.invoke("tick", "2", {})
            time.sleep(1)  # by then it would have been asked again
    assert asked == ["/2015-03-31/functions/tick/invocations?Qualifier=2"]
