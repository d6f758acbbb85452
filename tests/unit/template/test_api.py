"""The API as it is packaged: who is let in, what API Gateway answers by itself."""

import json

import pytest

from chalicelib.access.errors import NotAllowedError, NotAuthenticatedError, Refusal
from chalicelib.http import NEVER_STORED, SECURITY_HEADERS
from chalicelib.query.http import respond
from tests.packaging import resources_of


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


def test_with_aws_identities_every_data_route_needs_a_signature_and_an_origin_can_be_let_in(with_identities):
    resources = with_identities["Resources"]
    security = security_of(resources)
    assert {path for path, names in security.items() if names == ["sigv4"]} == DATA_ROUTES
    assert all(not names for path, names in security.items() if path not in DATA_ROUTES)
    paths = resources["RestAPI"]["Properties"]["DefinitionBody"]["paths"]
    assert {path for path, methods in paths.items() if "options" in methods} == {*DATA_ROUTES, "/openapi.json"}
    preflight = paths["/v1/metrics"]["options"]["x-amazon-apigateway-integration"]["responses"]["default"]
    assert preflight["responseParameters"]["method.response.header.Access-Control-Allow-Origin"] == (
        "'https://example.org'"
    )


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


def test_the_api_has_the_name_that_its_metrics_go_by(resources):
    api = resources["RestAPI"]["Properties"]
    assert api["Name"] == api["DefinitionBody"]["info"]["title"] == {"Fn::Sub": "highwater-${Stage}"}
    assert api["StageName"] == "api"


def test_the_api_has_no_other_stage_which_nobody_would_throttle_or_watch(stage):
    (deployment,) = resources_of(stage, "AWS::ApiGateway::Deployment").values()
    assert "StageName" not in deployment
    (named,) = resources_of(stage, "AWS::ApiGateway::Stage").values()
    assert named["StageName"] == "api"
    assert resources_of(stage, "AWS::ApiGateway::RestApi")["RestAPI"]["Body"]["swagger"] == "2.0"


def test_the_function_ends_before_api_gateway_gives_up_and_after_it_has_stopped_reading(resources):
    assert 24 < resources["APIHandler"]["Properties"]["Timeout"] <= 29
