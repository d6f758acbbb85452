"""How the commands reach AWS: the session that they take, their clients, and one line when it cannot be had."""

import os
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ReadTimeoutError,
    SSOError,
    TokenRetrievalError,
)

from chalicelib.errors import TransientError
from chalicelib.settings import LOOPBACK

UNREACHABLE = (EndpointConnectionError, ConnectTimeoutError, ReadTimeoutError, ConnectionClosedError)
SIGNED_OUT = "the AWS credentials have ended: sign in again, or set AWS_PROFILE"
TOLD = {
    NoCredentialsError: "there are no AWS credentials: sign in, or set AWS_PROFILE",
    NoRegionError: "there is no AWS region: set AWS_REGION",
    SSOError: SIGNED_OUT,
    TokenRetrievalError: SIGNED_OUT,
}
INVALID_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
DENIED = {"403", "AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedOperation"}
NO_MESSAGE = {"", "Forbidden", "Access Denied"}  # S3's, to a HEAD and to a GET: they say no more than the code


def session(environment: Mapping[str, str] = os.environ) -> boto3.Session:
    """Make a session of what is configured.

    Why: boto3 does not read AWS_REGION, which Lambda, AWS's newer SDKs and this project's own words go by.
    Source: AWS SDKs and Tools Reference Guide, "AWS Region".
    """
    return boto3.Session(region_name=environment.get("AWS_REGION") or None)


def client(service: str, endpoint_url: str | None = None) -> Any:
    """Make a client of one service. Shapes: endpoint_url, where it is; as botocore finds it, if None."""
    (made,) = clients([service], endpoint_url)
    return made


def clients(services: Iterable[str], endpoint_url: str | None = None) -> list[Any]:
    """Make clients of one session, which reads its models once."""
    connected: Any = session()  # typed, it would take none but literal names
    return [connected.client(service, endpoint_url=endpoint_url) for service in services]


def is_local(endpoint_url: str | None) -> bool:
    """Whether an endpoint is on this machine: an emulator's, then."""
    return endpoint_url is not None and urlsplit(endpoint_url).hostname in LOOPBACK


def reason(error: BaseException) -> str:
    """Tell in one line why something could not be done; what somebody can mend, by how to.

    Shapes: an error of botocore's, or a TransientError that was raised from one; any other is told by its own text.
    """
    named = isinstance(error, TransientError) and isinstance(error.__cause__, BotoCoreError | ClientError)
    return " ".join(_reason(error.__cause__ if named and error.__cause__ else error).split())


def _reason(error: BaseException) -> str:
    if isinstance(error, ClientError):
        return _refusal(error)
    if isinstance(error, UNREACHABLE):
        where = urlsplit(error.kwargs.get("endpoint_url", ""))
        return f"nothing answers at {where.scheme}://{where.netloc}"
    for kind, told in TOLD.items():
        if isinstance(error, kind):
            return told
    return str(error)


def _refusal(error: ClientError) -> str:
    code, message = (error.response["Error"].get(name, "") for name in ("Code", "Message"))
    if code in INVALID_CREDENTIALS:
        return f"the AWS credentials are not valid, or not any more ({code}): sign in again, or set AWS_PROFILE"
    said = "" if message in NO_MESSAGE else f": {message}"
    if code in DENIED:
        return f"AWS denies {error.operation_name}{said}"
    return f"{error.operation_name} fails with {code}{said}"
