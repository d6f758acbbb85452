"""Signatures of AWS (version 4), as API Gateway checks them for `IAMAuthorizer`: against the local stage's credentials.

Source: AWS Identity and Access Management User Guide, "Create a signed AWS API request".
"""

import hashlib
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from hmac import compare_digest
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localstage.aws import ACCESS_KEY, ACCOUNT_ID, REGION
from localstage.responses import AskedRequest, RefusedError

SERVICE = "execute-api"
SKEW_SECONDS_MAX = 15 * 60
DATE_FORMAT = "%Y%m%dT%H%M%SZ"
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=(?P<credential>[^, ]+), *SignedHeaders=(?P<headers>[^, ]+), *"
    r"Signature=(?P<signature>[0-9a-f]{64})"
)


class SignatureCheck:
    """Lets requests in that are signed with the stage's credentials."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._signer = SigV4Auth(Credentials(ACCESS_KEY, ACCESS_KEY), SERVICE, REGION)
        self._clock = clock

    def authorize(self, asked: AskedRequest) -> dict[str, Any]:
        """Let a request in: what `requestContext` of it tells of the caller.

        Raises: RefusedError: MISSING_AUTHENTICATION_TOKEN without a signature, INVALID_SIGNATURE for one that does not
                hold.
        """
        if "authorization" not in asked.headers:
            raise RefusedError("MISSING_AUTHENTICATION_TOKEN")
        if not self._holds(asked):
            raise RefusedError("INVALID_SIGNATURE")
        caller = {"accessKey": ACCESS_KEY, "accountId": ACCOUNT_ID, "caller": ACCESS_KEY, "user": ACCESS_KEY}
        return {"identity": {**caller, "userArn": f"arn:aws:iam::{ACCOUNT_ID}:user/{ACCESS_KEY}"}}

    def _holds(self, asked: AskedRequest) -> bool:
        given = AUTHORIZATION.fullmatch(asked.headers["authorization"][-1])
        signed_at = (asked.headers.get("x-amz-date") or [""])[-1]
        if given is None or not self._is_of_now(signed_at):
            return False
        scope = f"{ACCESS_KEY}/{signed_at[:8]}/{REGION}/{SERVICE}/aws4_request"
        signed = given["headers"].split(";")
        has_what_must_be_signed = {"host", "x-amz-date"} <= set(signed) <= asked.headers.keys()
        if given["credential"] != scope or not has_what_must_be_signed:
            return False
        if asked.headers.get("x-amz-content-sha256", [digest := hashlib.sha256(asked.body).hexdigest()])[-1] != digest:
            return False
        return compare_digest(self._signature_of(asked, signed, signed_at), given["signature"])

    def _is_of_now(self, signed_at: str) -> bool:
        try:
            at = datetime.strptime(signed_at, DATE_FORMAT).replace(tzinfo=UTC).timestamp()
        except ValueError:
            return False
        return abs(self._clock() - at) <= SKEW_SECONDS_MAX

    def _signature_of(self, asked: AskedRequest, signed: list[str], signed_at: str) -> str:
        """What the signature of the request has to be; botocore writes the canonical form of it."""
        url = f"http://{asked.headers['host'][-1]}{asked.target}"
        request = AWSRequest(method=asked.method, url=url, data=asked.body)
        for name in signed:
            for value in asked.headers[name]:
                request.headers[name] = value
        request.context["timestamp"] = signed_at
        text = self._signer.string_to_sign(request, self._signer.canonical_request(request))
        signature: str = self._signer.signature(text, request)
        return signature
