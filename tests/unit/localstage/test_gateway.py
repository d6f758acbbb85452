"""From a request to the event of a proxy integration, and from its answer to the response."""

import base64
from typing import Any

import orjson
import pytest
from chalice.local import LambdaEventConverter, RouteMatcher

from localstage.declarations import Api
from localstage.gateway import Gateway, below_prefix, complete_event, response_of
from localstage.responses import AskedRequest, RefusedError, Response
from localstage.runtime import Answer

ROUTES = ["/v1/{metric}/windows", "/v1/{other}/shards"]


def event_of(target: str, body: bytes = b"", headers: dict[str, list[str]] | None = None) -> dict[str, Any]:
    headers = headers or {}
    converter = LambdaEventConverter(RouteMatcher(ROUTES), ["application/gzip"])
    event = converter.create_lambda_event("GET", target, {name: values[-1] for name, values in headers.items()}, body)
    return complete_event(event, headers, stage="local", now_ms=1_000)


def test_an_event_names_its_route_and_its_place() -> None:
    event = event_of("/v1/orders/windows?step=1m")
    assert (event["resource"], event["path"], event["httpMethod"]) == (ROUTES[0], "/v1/orders/windows", "GET")
    assert event["requestContext"]["stage"] == "local"
    assert event["requestContext"]["requestTimeEpoch"] == 1_000


@pytest.mark.parametrize(
    ("target", "below"),
    [
        ("/api/v1/metrics?a=1", "/v1/metrics?a=1"),
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?a=1", "/?a=1"),
        ("/apiary", None),
        ("/v1/metrics", None),
    ],
)
def test_routes_are_below_the_prefix(target: str, below: str | None) -> None:
    assert below_prefix("/api", target) == below
    assert below_prefix("", target) == target


def test_a_prefix_is_a_part_of_the_contexts_path_alone() -> None:
    event = LambdaEventConverter(RouteMatcher(ROUTES), []).create_lambda_event("GET", "/v1/orders/windows", {})
    complete = complete_event(event, {}, stage="local", now_ms=1_000, prefix="/api")
    assert (complete["path"], complete["requestContext"]["path"]) == ("/v1/orders/windows", "/api/v1/orders/windows")


def test_path_parameters_are_those_of_the_route_alone() -> None:
    assert event_of("/v1/orders/shards")["pathParameters"] == {"other": "orders"}


def test_a_query_is_there_in_both_forms_and_none_is_null() -> None:
    event = event_of("/v1/orders/windows?where=a&where=b&empty=")
    assert event["multiValueQueryStringParameters"] == {"where": ["a", "b"], "empty": [""]}
    assert event["queryStringParameters"] == {"where": "b", "empty": ""}
    assert event_of("/v1/orders/windows")["queryStringParameters"] is None
    assert event_of("/v1/orders/windows")["multiValueQueryStringParameters"] is None


def test_headers_are_there_in_both_forms() -> None:
    event = event_of("/v1/orders/windows", headers={"accept": ["text/csv", "application/json"]})
    assert event["headers"] == {"accept": "application/json"}
    assert event["multiValueHeaders"] == {"accept": ["text/csv", "application/json"]}


def test_text_is_passed_as_text_and_a_binary_type_in_base64() -> None:
    text = event_of("/v1/orders/windows", body="é".encode())
    assert (text["body"], text["isBase64Encoded"]) == ("é", False)
    binary = event_of("/v1/orders/windows", body=b"\x1f\x8b", headers={"content-type": ["application/gzip"]})
    assert (base64.b64decode(binary["body"]), binary["isBase64Encoded"]) == (b"\x1f\x8b", True)
    assert event_of("/v1/orders/windows")["body"] is None


def test_an_answer_becomes_a_response() -> None:
    answer = {"statusCode": 201, "headers": {"A": 1}, "multiValueHeaders": {"B": ["2", "3"]}, "body": "é"}
    assert response_of(answer) == Response(201, (("A", "1"), ("B", "2"), ("B", "3")), "é".encode())


def test_a_binary_answer_is_decoded() -> None:
    assert response_of({"statusCode": 200, "body": "H4s=", "isBase64Encoded": True}).body == b"\x1f\x8b"


@pytest.mark.parametrize(
    "answer", [None, "text", {}, {"statusCode": "x"}, {"statusCode": 200, "body": {"not": "text"}}]
)
def test_an_answer_of_another_form_is_a_bad_gateway(answer: Any) -> None:
    with pytest.raises(RefusedError, match="DEFAULT_5XX"):
        response_of(answer)


class Echo:
    """A function that answers with the context that it is given."""

    def invoke(self, event: bytes) -> Answer:
        context = orjson.loads(event)["requestContext"]
        return Answer(orjson.dumps({"statusCode": 200, "body": orjson.dumps(context).decode()}), "1")


class LetIn:
    def __init__(self) -> None:
        self.arns: list[str] = []

    def authorize(self, asked: AskedRequest) -> dict[str, Any]:
        self.arns.append(asked.method_arn)
        return {"authorizer": {"principalId": "ada"}, "identity": {"userArn": "arn:ada"}}


def gateway(guards: dict[str, Any], **more: Any) -> Gateway:
    api = Api(
        routes={"/open": ["GET"], "/v1/{name}": ["GET"]},
        guards={"/v1/{name}": {"GET": "check"}},
        preflight_headers={"/v1/{name}": {"Access-Control-Allow-Origin": "https://example.org"}},
    )
    return Gateway(api, Echo(), "test", guards=guards, **more)  # type: ignore[arg-type]


def test_a_guard_is_asked_about_its_routes_and_what_it_tells_is_in_the_context() -> None:
    guard = LetIn()
    answered = gateway({"check": guard}, prefix="/api").answer("GET", "/api/v1/a?b=c", {}, b"")
    context = orjson.loads(answered.body)
    assert context["authorizer"] == {"principalId": "ada"}
    assert context["identity"] == {"sourceIp": "127.0.0.1", "userArn": "arn:ada"}
    assert guard.arns == ["arn:aws:execute-api:us-east-1:000000000000:local/test/GET/v1/a"]
    assert "authorizer" not in orjson.loads(gateway({"check": guard}).answer("GET", "/open", {}, b"").body)
    assert gateway({"check": guard}).answer("OPTIONS", "/v1/a", {}, b"").status == 200
    assert len(guard.arns) == 1, "a preflight request carries no credentials"


def test_a_guard_of_a_kind_that_is_not_served_lets_nobody_in() -> None:
    responses = {"DEFAULT_5XX": {"statusCode": "503"}}
    assert gateway({}, gateway_responses=responses).answer("GET", "/v1/a", {}, b"").status == 503


@pytest.mark.parametrize(
    ("headers", "type_"), [({}, "MISSING_AUTHENTICATION_TOKEN"), ({"authorization": ["Bearer x"]}, "INVALID_SIGNATURE")]
)
def test_what_has_no_route_is_answered_by_what_the_request_carries(headers: dict[str, list[str]], type_: str) -> None:
    responses = {type_: {"statusCode": "418"}}
    assert gateway({}, gateway_responses=responses).answer("GET", "/nowhere", headers, b"").status == 418
