"""API Gateway for one function: a request becomes the event of a REST API's proxy integration, its answer the response.

What a deployed stage would answer without asking the function is answered here likewise: a route or a method that is
not there, preflight requests of routes with CORS, callers that are not let in, a function that fails. A deployed API
stands under the name of its stage (`/api`); a gateway with a prefix does too.
"""

import base64
import re
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import orjson
from chalice.local import LambdaEventConverter, RouteMatcher

from localstage.aws import ACCOUNT_ID, REGION
from localstage.compression import CONTENT_ENCODING, compress
from localstage.declarations import Api
from localstage.responses import AskedRequest, RefusedError, Response, gateway_response
from localstage.runtime import Function, FunctionClosedError

API_ID = "local"
FUNCTION_FAILED = "DEFAULT_5XX"
NO_SUCH_STAGE = b'{"message": "Forbidden"}'  # of an API that is not there: no response of its own can be
PREFIX = re.compile(r"(/[A-Za-z0-9_-]{1,128})?")  # what API Gateway allows as a stage's name
REQUEST_BYTES_MAX = 6 * 1024 * 1024  # Lambda's limit for the event; API Gateway's own is ten


class Guard(Protocol):
    """Lets requests of some routes in."""

    def authorize(self, asked: AskedRequest) -> dict[str, Any]:
        """What `requestContext` of a request tells of its caller. Raises: RefusedError."""


class Gateway:
    """Answers HTTP requests by way of the function that serves the API.

    Shapes: compress_from, the size in bytes from which answers are compressed for whoever accepts that; None: none are.
            prefix, `/name` of what the API stands under, or empty; guards, by the names that routes know them by;
            gateway_responses, what the template says of answers that are not the function's.
    """

    def __init__(
        self,
        api: Api,
        function: Function,
        stage: str,
        *,
        guards: Mapping[str, Guard] | None = None,
        gateway_responses: Mapping[str, Any] | None = None,
        compress_from: int | None = None,
        prefix: str = "",
    ) -> None:
        self._api = api
        self._function = function
        self._stage = stage
        self._guards = guards or {}
        self._gateway_responses = gateway_responses or {}
        self._compress_from = compress_from
        self._prefix = prefix
        self._converter = LambdaEventConverter(RouteMatcher(list(api.routes)), list(api.binary_types))

    def answer(self, method: str, target: str, headers: Mapping[str, list[str]], body: bytes) -> Response:
        """Answer one request; `target` is path and query as they came, header names are in lower case."""
        below = below_prefix(self._prefix, target)
        if below is None:
            return _json(HTTPStatus.FORBIDDEN, NO_SUCH_STAGE)
        try:
            return self._answer_below(AskedRequest(method, target, headers, body, self._arn(method, below)), below)
        except RefusedError as refused:
            return gateway_response(refused.response_type, self._gateway_responses)

    def _answer_below(self, asked: AskedRequest, target: str) -> Response:
        """Raises RefusedError where the answer is API Gateway's own."""
        last_headers = {name: all_[-1] for name, all_ in asked.headers.items()}
        # Whatever stands in `Authorization` API Gateway takes for a signature where no route says what it is.
        no_such_route = "INVALID_SIGNATURE" if "authorization" in asked.headers else "MISSING_AUTHENTICATION_TOKEN"
        try:
            event = self._converter.create_lambda_event(asked.method, target, last_headers, asked.body)
        except ValueError:  # chalice's word for no such route
            raise RefusedError(no_such_route) from None
        route = event["requestContext"]["resourcePath"]
        methods = self._api.routes[route]
        if asked.method == "OPTIONS" and "OPTIONS" not in methods and self._api.preflight_headers.get(route):
            return Response(HTTPStatus.OK, tuple(self._api.preflight_headers[route].items()), b"")
        if asked.method not in methods:
            raise RefusedError(no_such_route)
        for name, part in self._caller(route, asked).items():
            event["requestContext"][name] = {**event["requestContext"].get(name, {}), **part}
        now_ms = int(time.time() * 1000)
        complete = complete_event(event, asked.headers, stage=self._stage, now_ms=now_ms, prefix=self._prefix)
        return self._compressed(self._invoke(complete), asked.headers)

    def _caller(self, route: str, asked: AskedRequest) -> dict[str, Any]:
        """What the route's guard tells of the caller, by member of the request's context."""
        name = self._api.guards.get(route, {}).get(asked.method)
        if name is None:
            return {}
        if name not in self._guards:  # of a kind that is not served: nobody is let in
            raise RefusedError("AUTHORIZER_CONFIGURATION_ERROR")
        return self._guards[name].authorize(asked)

    def _arn(self, method: str, target: str) -> str:
        path = target.partition("?")[0].removeprefix("/")
        return f"arn:aws:execute-api:{REGION}:{ACCOUNT_ID}:{API_ID}/{self._stage}/{method}/{path}"

    def _invoke(self, event: dict[str, Any]) -> Response:
        encoded = orjson.dumps(event)
        if len(encoded) > REQUEST_BYTES_MAX:
            raise RefusedError("REQUEST_TOO_LARGE")
        try:
            answer = self._function.invoke(encoded)
        except FunctionClosedError:
            raise RefusedError(FUNCTION_FAILED) from None
        if answer.function_error:
            raise RefusedError(FUNCTION_FAILED)
        return response_of(orjson.loads(answer.payload))

    def _compressed(self, response: Response, headers: Mapping[str, list[str]]) -> Response:
        if self._compress_from is None:
            return response
        accepted = ",".join(headers.get("accept-encoding", []))
        body = compress(response.body, response.headers, accepted, self._compress_from)
        if body is None:
            return response
        return replace(response, headers=(*response.headers, (CONTENT_ENCODING, "gzip")), body=body)


def below_prefix(prefix: str, target: str) -> str | None:
    """What of a target is below the prefix, and so what routes are matched with; None for one that is not under it."""
    if not target.startswith(prefix):
        return None
    below = target.removeprefix(prefix)
    if below.startswith("/"):
        return below
    return f"/{below}" if not below or below.startswith("?") else None


def complete_event(
    event: dict[str, Any], headers: Mapping[str, list[str]], *, stage: str, now_ms: int, prefix: str = ""
) -> dict[str, Any]:
    """Add to Chalice's event, which holds what Chalice reads, what the rest of the world may read.

    Shapes: prefix is a part of `requestContext.path` and not of `path`.
    Source: API Gateway Developer Guide, "Input format of a Lambda function for proxy integration".
    """
    context = event["requestContext"]
    route = context["resourcePath"]
    query = event["multiValueQueryStringParameters"]
    body = event["body"]
    return {
        **event,
        "resource": route,
        "path": context["path"],
        "httpMethod": context["httpMethod"],
        "multiValueHeaders": dict(headers),
        "queryStringParameters": {name: values[-1] for name, values in query.items()} if query else None,
        # The matcher also keeps what routes captured that matched half-way only.
        "pathParameters": {name: value for name, value in event["pathParameters"].items() if f"{{{name}}}" in route}
        or None,
        "body": (body.decode("utf-8", "replace") if isinstance(body, bytes) else body) or None,
        "isBase64Encoded": event.get("isBase64Encoded", False),
        "requestContext": {
            **context,
            "path": prefix + context["path"],
            "accountId": ACCOUNT_ID,
            "apiId": API_ID,
            "protocol": "HTTP/1.1",
            "requestId": str(uuid.uuid4()),
            "requestTimeEpoch": now_ms,
            "stage": stage,
        },
    }


def response_of(answer: Any) -> Response:
    """Turn the function's answer into the response.

    Raises: RefusedError for one that is not of the proxy integration's form.
    """
    try:
        body = answer.get("body") or ""
        headers = [(name, str(value)) for name, value in (answer.get("headers") or {}).items()]
        headers += [
            (name, str(value)) for name, values in (answer.get("multiValueHeaders") or {}).items() for value in values
        ]
        content = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
        return Response(int(answer["statusCode"]), tuple(headers), content)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise RefusedError(FUNCTION_FAILED) from None


class GatewayServer(ThreadingHTTPServer):
    """Serves a gateway on a loopback port; the port is taken at once, and served from `gateway` on.

    Raises: OSError when the port is taken.
    """

    gateway: Gateway
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _GatewayHandler)
        self.requests = 0
        self._counting = threading.Lock()

    def count(self) -> None:
        """Count a request, of whichever thread."""
        with self._counting:
            self.requests += 1

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """Say nothing: what ends here is a client that went away."""


class _GatewayHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "localstage"
    sys_version = ""
    wbufsize = -1  # head and body in one segment
    server: GatewayServer

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers: dict[str, list[str]] = {}
        for name, value in self.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        self.server.count()
        response = self.server.gateway.answer(self.command, self.path, headers, body)
        self.send_response(response.status)
        for name, value in response.headers:
            if name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def __getattr__(self, name: str) -> Any:
        """Handle every method there may be: which ones a route has is for the gateway to say."""
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: the function logs what it serves."""


def _json(status: HTTPStatus, body: bytes) -> Response:
    return Response(status, (("Content-Type", "application/json"), ("x-amzn-RequestId", str(uuid.uuid4()))), body)
