"""What API Gateway answers by itself, as it is and as a template has it."""

import json

from localstage.responses import gateway_response

DECLARED = {
    "DEFAULT_4XX": {"responseTemplates": {"text/plain": "$context.error.responseType: $context.error.message"}},
    "UNAUTHORIZED": {
        "statusCode": "418",
        "responseParameters": {
            "gatewayresponse.header.Content-Type": "'application/problem+json'",
            "gatewayresponse.header.Content-Security-Policy": "'default-src 'none''",
        },
        "responseTemplates": {"application/json": '{"detail":$context.error.messageString}'},
    },
}


def test_its_own_are_messages() -> None:
    response = gateway_response("UNAUTHORIZED", {})
    assert (response.status, json.loads(response.body)) == (401, {"message": "Unauthorized"})
    assert dict(response.headers)["Content-Type"] == "application/json"
    response = gateway_response("AUTHORIZER_FAILURE", {})
    assert (response.status, json.loads(response.body)) == (500, {"message": None})


def test_a_template_has_its_own_status_headers_and_body() -> None:
    response = gateway_response("UNAUTHORIZED", DECLARED)
    assert (response.status, json.loads(response.body)) == (418, {"detail": "Unauthorized"})
    headers = dict(response.headers)
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Content-Security-Policy"] == "default-src 'none'"


def test_the_rest_have_those_of_the_default_of_their_kind() -> None:
    response = gateway_response("ACCESS_DENIED", DECLARED)
    assert response.status == 403
    assert response.body == b"ACCESS_DENIED: User is not authorized to access this resource"
    assert dict(response.headers)["Content-Type"] == "text/plain"
    assert json.loads(gateway_response("DEFAULT_5XX", DECLARED).body) == {"message": "Internal server error"}
