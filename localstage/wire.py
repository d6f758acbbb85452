"""How the mappings read streams: AWS's JSON protocol over kept connections, and what is on the wire left as it is.

Blobs stay base64 and timestamps numbers: Lambda hands them on in this form. A mapping asks some times a second, mostly
for nothing, and botocore takes a millisecond and a half of a core for each question; this takes a fifth of that.

Nothing is signed: the credentials are the stage's own, and open nothing (`localstage.aws`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
import urllib3
from botocore.exceptions import ClientError, EndpointConnectionError

from localstage.aws import ACCESS_KEY, REGION

CONNECTIONS_MAX = 64
BAD_REQUEST = 400
TRIES = urllib3.Retry(total=2, allowed_methods=None, redirect=False)  # they are questions: to ask twice does no harm
TIMEOUT = urllib3.Timeout(connect=5, read=60)
DATE, NO_SIGNATURE = "20260101", "0" * 64  # nobody checks


class Wire:
    """A client of one service; its methods are the service's operations, named as boto3 names them.

    Shapes: target, the service's prefix in `X-Amz-Target`; signing_name, of the service in a signature; version, of the
            JSON protocol.
    Raises: ClientError, from every method, for what the service refuses; EndpointConnectionError when it is not there.
    """

    def __init__(self, endpoint_url: str, *, target: str, signing_name: str, version: str) -> None:
        self._endpoint_url = endpoint_url
        self._target = target
        self._pool = urllib3.connection_from_url(
            endpoint_url, maxsize=CONNECTIONS_MAX, block=False, retries=TRIES, timeout=TIMEOUT
        )
        scope = f"{ACCESS_KEY}/{DATE}/{REGION}/{signing_name}/aws4_request"
        self._headers = {
            "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={NO_SIGNATURE}",
            "Content-Type": f"application/x-amz-json-{version}",
            "X-Amz-Date": f"{DATE}T000000Z",
        }

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        operation = "".join(word.capitalize() for word in name.split("_"))
        return lambda **request: self._ask(operation, request)

    def _ask(self, operation: str, request: Mapping[str, Any]) -> dict[str, Any]:
        headers = {**self._headers, "X-Amz-Target": f"{self._target}.{operation}"}
        try:
            response = self._pool.urlopen("POST", "/", body=orjson.dumps(request), headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise EndpointConnectionError(endpoint_url=self._endpoint_url, error=error) from error
        answer: dict[str, Any] = orjson.loads(response.data or b"{}")
        if response.status >= BAD_REQUEST:
            code = str(answer.get("__type", response.status)).rpartition("#")[2]
            message = answer.get("message", answer.get("Message", ""))
            raise ClientError({"Error": {"Code": code, "Message": message}}, operation)
        return answer


def kinesis(endpoint_url: str) -> Wire:
    """A client of Kinesis."""
    return Wire(endpoint_url, target="Kinesis_20131202", signing_name="kinesis", version="1.1")


def dynamodb_streams(endpoint_url: str) -> Wire:
    """A client of DynamoDB Streams."""
    return Wire(endpoint_url, target="DynamoDBStreams_20120810", signing_name="dynamodb", version="1.0")
