"""The packaged template: what Chalice makes of app.py, merged with .chalice/resources.yaml.

Chalice would install every requirement for the zip, which says nothing of the template; so a copy of the project with
no requirements is packaged.
"""

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from cfnlint.api import lint
from chalice.deploy.packager import DependencyBuilder
from chalice.utils import OSUtils
from packaging.requirements import Requirement

from chalicelib.access.errors import NotAllowedError, NotAuthenticatedError, Refusal
from chalicelib.http import NEVER_STORED, SECURITY_HEADERS
from chalicelib.query.http import respond

PROJECT = Path(__file__).parents[2]
LOSES_NOTHING = {
    "StartingPosition": "TRIM_HORIZON",
    "ParallelizationFactor": 1,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "BisectBatchOnFunctionError": True,
    "MaximumRetryAttempts": -1,
    "MaximumRecordAgeInSeconds": -1,
    "DestinationConfig": {"OnFailure": {"Type": "S3", "Destination": {"Fn::GetAtt": ["DeadLettersBucket", "Arn"]}}},
}


def required():
    """The packages that the functions need, of this Python."""
    lines = (line.partition(" #")[0] for line in (PROJECT / "requirements.txt").read_text().splitlines()[1:])
    return [each.name for each in map(Requirement, lines) if not each.marker or each.marker.evaluate()]


def package(copy, stage, **variables):
    """Package a copy of the project, with variables that its config sets; the template."""
    for name in ("app.py", "chalicelib", ".chalice"):
        copied = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copied(PROJECT / name, copy / name)
    (copy / "requirements.txt").touch()
    config = copy / ".chalice" / "config.json"
    read = json.loads(config.read_text())
    config.write_text(json.dumps({**read, "environment_variables": read["environment_variables"] | variables}))
    command = ["package", "--stage", stage, "--merge-template", ".chalice/resources.yaml"]
    # The environment of whoever has a local stage running: none of it may get into the package.
    environment = {"API_AUTH": "none", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}
    subprocess.run(
        [Path(sys.executable).with_name("chalice"), *command, "--template-format", "yaml", "out"],
        cwd=copy,
        check=True,
        capture_output=True,
        env={"PATH": "", "AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": str(copy), **environment},
    )
    return (copy / "out" / "sam.yaml").read_text()


@pytest.fixture(scope="module", params=["dev", "prod"])
def packaged(request, tmp_path_factory):
    """The template, and the archive of the functions' code."""
    copy = tmp_path_factory.mktemp("project")
    return package(copy, request.param), copy / "out" / "deployment.zip"


@pytest.fixture(scope="module")
def template_text(packaged):
    return packaged[0]


@pytest.fixture(scope="module")
def resources(template_text):
    return yaml.safe_load(template_text)["Resources"]


def test_cfn_lint_finds_nothing(template_text):
    assert not lint(template_text)


def security_of(resources):
    """By path, what a GET request needs."""
    paths = resources["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
    return {
        path: [name for each in methods["get"].get("security", []) for name in each] for path, methods in paths.items()
    }


DATA_ROUTES = {
    "/v1/dead-letters",
    "/v1/metrics",
    "/v1/metrics/{metric}",
    "/v1/metrics/{metric}/windows",
    "/v1/stream",
}


def test_strangers_are_throttled(resources):
    (settings,) = resources["RestAPI"]["Properties"]["MethodSettings"]
    assert (settings["HttpMethod"], settings["ResourcePath"]) == ("*", "/*")
    assert settings["ThrottlingRateLimit"] == {"Ref": "ApiRateLimit"}


@pytest.mark.skipif(sys.platform != "linux", reason="wheels of another system say nothing of Lambda's")
@pytest.mark.parametrize("name", required())
def test_every_requirement_has_a_wheel_that_lambda_can_load(name):
    """By Chalice's own judgement; without one it builds the package on this machine, whose C library may be newer."""
    wheel = importlib.metadata.distribution(name).read_text("WHEEL")
    tags = re.findall(r"(?m)^Tag: (.*)$", wheel)
    builder = DependencyBuilder(OSUtils())
    abi = f"cp3{sys.version_info.minor}"
    assert any(builder._is_compatible_wheel_filename(abi, f"{name}-1-{tag}.whl") for tag in tags), tags


def test_every_data_route_needs_a_token_that_the_authorizer_knows(resources):
    security = security_of(resources)
    assert {path for path, names in security.items() if names == ["authorize"]} == DATA_ROUTES
    assert all(not names for path, names in security.items() if path not in DATA_ROUTES)
    definitions = resources["RestAPI"]["Properties"]["DefinitionBody"]["securityDefinitions"]
    authorizer = definitions["authorize"]["x-amazon-apigateway-authorizer"]
    assert (authorizer["type"], authorizer["authorizerResultTtlInSeconds"]) == ("token", 60)
    assert "${Authorize.Arn}" in authorizer["authorizerUri"]["Fn::Sub"]
    for function in ("APIHandler", "Authorize"):
        assert resources[function]["Properties"]["Environment"]["Variables"]["API_AUTH"] == "token"


def test_no_other_origin_is_told_anything(resources):
    paths = resources["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
    assert all("options" not in methods for methods in paths.values())


def test_with_aws_identities_every_data_route_needs_a_signature_and_an_origin_can_be_let_in(tmp_path):
    text = package(tmp_path, "dev", API_AUTH="iam", API_CORS_ORIGIN="https://example.org")
    resources = yaml.safe_load(text)["Resources"]
    security = security_of(resources)
    assert {path for path, names in security.items() if names == ["sigv4"]} == DATA_ROUTES
    assert all(not names for path, names in security.items() if path not in DATA_ROUTES)
    paths = resources["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
    assert {path for path, methods in paths.items() if "options" in methods} == {*DATA_ROUTES, "/openapi.json"}
    preflight = paths["/v1/metrics"]["options"]["x-amazon-apigateway-integration"]["responses"]["default"]
    assert preflight["responseParameters"]["method.response.header.Access-Control-Allow-Origin"] == (
        "'https://example.org'"
    )
    assert not lint(text)


def test_the_tokens_are_kept_and_only_their_functions_may_read_them(resources):
    secret = resources["ApiTokens"]
    assert secret["Properties"]["Name"] == {"Fn::Sub": "highwater-${Stage}-api-tokens"}
    assert secret["Properties"]["SecretString"] == '{"tokens": []}', "another text would be written over the tokens"
    assert (secret["DeletionPolicy"], secret["UpdateReplacePolicy"]) == ("Retain", "Retain")
    roles = {name: str(each) for name, each in resources.items() if each["Type"] == "AWS::IAM::Role"}
    assert [name for name, role in roles.items() if "secretsmanager:" in role] == ["AuthorizeRole"]


def test_what_api_gateway_answers_by_itself_is_a_problem_with_the_headers_of_every_answer(resources):
    responses = resources["RestAPI"]["Properties"]["DefinitionBody"]["x-amazon-apigateway-gateway-responses"]
    assert {name: each.get("statusCode") for name, each in responses.items()} == {
        "DEFAULT_4XX": None,
        "DEFAULT_5XX": None,
        "UNAUTHORIZED": "401",
        "ACCESS_DENIED": "403",
        "INVALID_SIGNATURE": "403",
        "EXPIRED_TOKEN": "403",
        "MISSING_AUTHENTICATION_TOKEN": "404",
        "REQUEST_TOO_LARGE": "413",
        "THROTTLED": "429",
        "QUOTA_EXCEEDED": "429",
        "INTEGRATION_TIMEOUT": "504",
        "AUTHORIZER_FAILURE": "503",
        "AUTHORIZER_CONFIGURATION_ERROR": "503",
    }
    headers = {**SECURITY_HEADERS, **NEVER_STORED, "Content-Type": "application/problem+json"}
    for response in responses.values():
        given = {
            name.removeprefix("gatewayresponse.header."): text for name, text in response["responseParameters"].items()
        }
        assert {name: text[1:-1] for name, text in given.items() if name in headers} == headers
        assert all(text[0] == text[-1] == "'" for text in given.values())
        (template,) = response["responseTemplates"].values()
        assert "$context" not in template, "it would quote the request"
        problem = json.loads(template)
        assert problem["type"].startswith("urn:highwater:problem:")
        assert {*problem} | {"status"} == {"type", "title", "status", "detail"}
        assert problem.get("status") == (int(response["statusCode"]) if "statusCode" in response else None)


@pytest.mark.parametrize(
    ("name", "error"), [("UNAUTHORIZED", NotAuthenticatedError(Refusal.UNKNOWN)), ("ACCESS_DENIED", NotAllowedError())]
)
def test_api_gateway_and_the_function_refuse_in_the_same_words(resources, name, error):
    def ask():
        raise error

    response = resources["RestAPI"]["Properties"]["DefinitionBody"]["x-amazon-apigateway-gateway-responses"][name]
    answer = respond(ask)
    assert json.loads(response["responseTemplates"]["application/json"]) == json.loads(answer.body)
    assert int(response["statusCode"]) == answer.status
    challenge = response["responseParameters"].get("gatewayresponse.header.WWW-Authenticate")
    assert challenge == (f"'{answer.headers['WWW-Authenticate']}'" if name == "UNAUTHORIZED" else None)


def test_long_answers_of_the_api_are_compressed(resources):
    assert resources["RestAPI"]["Properties"]["MinimumCompressionSize"] == 1_024


def test_the_ingest_mapping_keeps_counts_exact(resources):
    mapping = resources["Ingest"]["Properties"]["Events"]["IngestKinesisEventSource"]["Properties"]
    assert mapping["ParallelizationFactor"] == 1
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["BisectBatchOnFunctionError"] is True
    assert (mapping["MaximumRetryAttempts"], mapping["MaximumRecordAgeInSeconds"]) == (-1, -1)
    assert mapping["DestinationConfig"]["OnFailure"]["Type"] == "S3"
    assert mapping["StartingPosition"] == "TRIM_HORIZON"


def test_the_ingest_mapping_is_made_after_its_stream(resources):
    mapping = resources["Ingest"]["Properties"]["Events"]["IngestKinesisEventSource"]["Properties"]
    assert mapping["Stream"] == {"Fn::Sub": "${EventsStream.Arn}"}


def test_the_capture_of_orders_loses_no_change(resources):
    (mapping,) = resources["Capture"]["Properties"]["Events"].values()
    assert mapping["Type"] == "DynamoDB"
    assert mapping["Properties"] == {
        "Stream": {"Fn::GetAtt": ["OrdersTable", "StreamArn"]},
        "BatchSize": 1_000,
        "MaximumBatchingWindowInSeconds": 1,
        **LOSES_NOTHING,
    }
    view = resources["OrdersTable"]["Properties"]["StreamSpecification"]["StreamViewType"]
    assert view == "NEW_AND_OLD_IMAGES", "a change takes both"


@pytest.mark.parametrize(("function", "window_seconds"), [("Rollup", 30), ("FanOut", 1)])
def test_no_change_of_the_aggregates_is_lost_to_those_who_follow_them(resources, function, window_seconds):
    ((name, mapping),) = resources[function]["Properties"]["Events"].items()
    assert (name, mapping["Type"]) == (f"{function}DynamodbEventSource", "DynamoDB")
    assert mapping["Properties"] == {
        "Stream": {"Fn::GetAtt": ["AggregatesTable", "StreamArn"]},
        "BatchSize": 10_000,
        "MaximumBatchingWindowInSeconds": window_seconds,
        **LOSES_NOTHING,
    }
    view = resources["AggregatesTable"]["Properties"]["StreamSpecification"]["StreamViewType"]
    assert view == "KEYS_ONLY", "both read what is stored; images would make up to 6 MB a batch"


@pytest.mark.parametrize("function", ["Ingest", "FanOut", "Tick"])
def test_whoever_publishes_knows_the_topic_and_its_stage(resources, function):
    variables = resources[function]["Properties"]["Environment"]["Variables"]
    assert variables["RESULTS_TOPIC_ARN"] == {"Ref": "ResultsTopic"}
    assert "STAGE" in variables, "the amendment adds to what the config sets"


def test_the_tick_comes_every_minute(resources):
    (rule,) = resources["Tick"]["Properties"]["Events"].values()
    assert (rule["Type"], rule["Properties"]["Schedule"]) == ("Schedule", "rate(1 minute)")


def test_handlers_are_attributes_of_app(resources):
    functions = {name: r for name, r in resources.items() if r["Type"] == "AWS::Serverless::Function"}
    assert functions["Ingest"]["Properties"]["Handler"] == "app.ingest"
    assert functions["Capture"]["Properties"]["Handler"] == "app.capture"
    assert functions["Rollup"]["Properties"]["Handler"] == "app.rollup"
    assert functions["FanOut"]["Properties"]["Handler"] == "app.fan_out"
    assert functions["Tick"]["Properties"]["Handler"] == "app.tick"
    assert functions["Redrive"]["Properties"]["Handler"] == "app.redrive"
    assert functions["APIHandler"]["Properties"]["Handler"] == "app.app"


def test_tables_keep_and_expire_what_they_should(resources):
    table = resources["AggregatesTable"]["Properties"]
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert [key["AttributeName"] for key in table["KeySchema"]] == ["pk", "sk"]
    for name in ("AggregatesTable", "OrdersTable", "DeadLettersBucket"):
        assert resources[name]["DeletionPolicy"] == "Retain"


def test_the_redrive_queue_outlasts_its_function_and_keeps_what_fails(resources):
    queue, failed = (resources[name]["Properties"] for name in ("RedriveQueue", "RedriveFailedQueue"))
    timeout_s, horizon_s = resources["Redrive"]["Properties"]["Timeout"], 15 * 60
    assert queue["VisibilityTimeout"] >= 2 * timeout_s
    last_try_s = queue["VisibilityTimeout"] * (queue["RedrivePolicy"]["maxReceiveCount"] - 1)
    assert last_try_s + timeout_s < horizon_s, "what was sent before a death comes again while the id log knows it"
    assert queue["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": ["RedriveFailedQueue", "Arn"]},
        "maxReceiveCount": 5,
    }
    assert failed["MessageRetentionPeriod"] == 14 * 86_400
    assert [each["SqsManagedSseEnabled"] for each in (queue, failed)] == [True, True]


def test_redrive_is_told_its_queue_and_reports_the_messages_that_failed(resources):
    redrive = resources["Redrive"]["Properties"]
    assert redrive["Environment"]["Variables"]["REDRIVE_QUEUE_URL"] == {"Ref": "RedriveQueue"}
    (mapping,) = redrive["Events"].values()
    assert mapping["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["Properties"]["Queue"] == {"Fn::Sub": "${RedriveQueue.Arn}"}, "so that it is made after it"
    assert mapping["Properties"]["ScalingConfig"] == {"MaximumConcurrency": 2}, "it shares the stream with producers"
    assert "STAGE" in redrive["Environment"]["Variables"], "the amendment adds to what the config sets"


def test_the_dashboards_files_are_in_the_package(packaged):
    with ZipFile(packaged[1]) as archive:
        names = set(archive.namelist())
    files = (PROJECT / "chalicelib" / "dashboard" / "static").rglob("*.*")
    assert {str(path.relative_to(PROJECT)) for path in files} <= names
