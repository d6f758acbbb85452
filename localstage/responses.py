"""What API Gateway answers without the function, or in its place: its "gateway responses".

The template can replace each by status, headers and body (`x-amazon-apigateway-gateway-responses` of the API); what it
leaves out is API Gateway's own. Bodies are texts with a few variables; of these the ones below are served.

Source: API Gateway Developer Guide, "Gateway response types for API Gateway".
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

# By type, the status that API Gateway gives and its message, null where it gives none.
DEFAULTS: Mapping[str, tuple[HTTPStatus, str | None]] = {
    "ACCESS_DENIED": (HTTPStatus.FORBIDDEN, "User is not authorized to access this resource"),
    "AUTHORIZER_CONFIGURATION_ERROR": (HTTPStatus.INTERNAL_SERVER_ERROR, None),
    "AUTHORIZER_FAILURE": (HTTPStatus.INTERNAL_SERVER_ERROR, None),
    "DEFAULT_5XX": (HTTPStatus.BAD_GATEWAY, "Internal server error"),  # what a failing function comes to
    "INVALID_SIGNATURE": (HTTPStatus.FORBIDDEN, "The request signature we calculated does not match the signature"),
    "MISSING_AUTHENTICATION_TOKEN": (HTTPStatus.FORBIDDEN, "Missing Authentication Token"),
    "REQUEST_TOO_LARGE": (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Request Too Long"),
    "UNAUTHORIZED": (HTTPStatus.UNAUTHORIZED, "Unauthorized"),
}
DEFAULT_TEMPLATES = {"application/json": '{"message":$context.error.messageString}'}
HEADER = "gatewayresponse.header."


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response; a header may be there more than once."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class AskedRequest:
    """A request as whoever checks its credentials sees it; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, list[str]]
    body: bytes
    method_arn: str


class RefusedError(Exception):
    """API Gateway answers by itself, with the response of this type."""

    def __init__(self, response_type: str) -> None:
        super().__init__(response_type)
        self.response_type = response_type


def gateway_response(response_type: str, declared: Mapping[str, Any]) -> Response:
    """Make one of the responses that API Gateway gives by itself.

    Shapes: declared, what the template says of some of them, by type.
    """
    status, message = DEFAULTS[response_type]
    for_the_rest = "DEFAULT_4XX" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "DEFAULT_5XX"
    ours: Mapping[str, Any] = declared.get(response_type) or declared.get(for_the_rest) or {}
    ((content_type, template), *_) = (ours.get("responseTemplates") or DEFAULT_TEMPLATES).items()
    variables = {
        # The longer name first: each is a plain replacement.
        "$context.error.messageString": json.dumps(message),
        "$context.error.message": message or "",
        "$context.error.responseType": response_type,
    }
    for name, value in variables.items():
        template = template.replace(name, value)
    headers = {"Content-Type": content_type, "x-amzn-RequestId": str(uuid.uuid4())}
    for name, text in (ours.get("responseParameters") or {}).items():
        headers[name.removeprefix(HEADER)] = text[1:-1]  # a fixed text stands in single quotes
    return Response(int(ours.get("statusCode") or status), tuple(headers.items()), template.encode())
