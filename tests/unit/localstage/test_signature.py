"""Signatures of AWS: what botocore signs is let in, and nothing else."""

import hashlib
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localstage.aws import ACCESS_KEY
from localstage.responses import AskedRequest, RefusedError
from localstage.signature import SignatureCheck

TARGET = "/api/v1/metrics/orders/windows?where=b&where=a%20c&step=1m&empty="


def signed(
    target: str = TARGET,
    key: str = ACCESS_KEY,
    region: str = "us-east-1",
    service: str = "execute-api",
    body: bytes = b"",
) -> AskedRequest:
    headers = {"Host": "127.0.0.1:8000", "X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
    request = AWSRequest(method="GET", url=f"http://127.0.0.1:8000{target}", data=body, headers=headers)
    SigV4Auth(Credentials(ACCESS_KEY, key), service, region).add_auth(request)
    given = {name.lower(): [value] for name, value in request.headers.items()}
    return AskedRequest("GET", target, given, body, "arn")


def changed(asked: AskedRequest, **changes: Any) -> AskedRequest:
    parts = {"method": asked.method, "target": asked.target, "headers": asked.headers, "body": asked.body}
    return AskedRequest(**{**parts, **changes}, method_arn="arn")


def refusal_of(asked: AskedRequest, check: SignatureCheck | None = None) -> str:
    with pytest.raises(RefusedError) as refused:
        (check or SignatureCheck()).authorize(asked)
    return refused.value.response_type


def test_a_signed_request_is_let_in_and_names_its_caller() -> None:
    for target in (TARGET, "/v1/metrics", "/v1/metrics?b=2&a=1"):
        told = SignatureCheck().authorize(signed(target))
        assert told["identity"]["userArn"] == "arn:aws:iam::000000000000:user/local"


def test_a_request_without_a_signature_is_told_apart() -> None:
    assert refusal_of(AskedRequest("GET", TARGET, {}, b"", "arn")) == "MISSING_AUTHENTICATION_TOKEN"


def test_what_was_signed_cannot_be_changed() -> None:
    asked = signed()
    for change in (
        {"target": TARGET + "x"},
        {"target": TARGET.replace("where=b&", "")},
        {"method": "POST"},
        {"body": b"more"},
        {"headers": {**asked.headers, "host": ["elsewhere"]}},
        {"headers": {**asked.headers, "x-amz-date": ["20260101T000000Z"]}},
        {"headers": {name: values for name, values in asked.headers.items() if name != "x-amz-date"}},
        {"headers": {name: values for name, values in asked.headers.items() if name != "host"}},
        {"headers": {**asked.headers, "authorization": ["Bearer x"]}},
        {"headers": {**asked.headers, "authorization": [asked.headers["authorization"][0].replace("host;", "")]}},
    ):
        assert refusal_of(changed(asked, **change)) == "INVALID_SIGNATURE"


@pytest.mark.parametrize("other", [{"key": "another"}, {"region": "eu-west-1"}, {"service": "lambda"}])
def test_a_signature_by_another_key_or_for_another_place_does_not_hold(other: dict[str, str]) -> None:
    assert refusal_of(signed(**other)) == "INVALID_SIGNATURE"


@pytest.mark.parametrize("skew_seconds", [-16 * 60, 16 * 60])
def test_a_signature_is_of_now(skew_seconds: int) -> None:
    asked, real = signed(), SignatureCheck()._clock
    check = SignatureCheck(clock=lambda: real() + skew_seconds)
    assert refusal_of(asked, check) == "INVALID_SIGNATURE"
