"""What CodeDeploy and Lambda are asked, and what their answers are taken for."""

import io
import json

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from chalicelib.aws.releases import CodeDeployReleases
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
def releases(codedeploy, functions):
    return CodeDeployReleases(codedeploy.client, functions.client)


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


def test_a_version_is_invoked_and_its_error_told_from_its_answer(releases, functions):
    asked = {"FunctionName": "f", "Qualifier": "2", "Payload": b'{"Records":[]}'}
    functions.add_response("invoke", {"StatusCode": 200, "Payload": body(b"{}")}, asked)
    functions.add_response("invoke", {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": body(b"[]")}, asked)
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


def test_what_a_service_refuses_is_told_by_its_name_alone(releases, functions):
    functions.add_client_error("invoke", "AccessDeniedException", "user arn:aws:iam::1:role/secret may not")
    with pytest.raises(TransientError, match=r"^AccessDeniedException$"):
        releases.invoke("f", "2", {})
