"""HTTP answers, whoever gives them: what each carries besides its content, what a problem is, and when 304 is enough.

Chalice is not met here: `api.py` hands its requests and answers on.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

NOT_MODIFIED = 304
OK = 200

# Of an answer that is data a browser may load nothing and run nothing; the dashboard's page has its own policy.
# Source: OWASP REST Security Cheat Sheet, "Security Headers".
SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": "max-age=31536000; includeSubDomains",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
NEVER_STORED = {"Cache-Control": "no-store"}  # what holds for an answer that says nothing else
PROBLEM_MEDIA_TYPE = "application/problem+json"


class HttpAnswer(Struct, frozen=True):
    """An answer as HTTP carries it."""

    status: int
    headers: Mapping[str, str]
    body: str


class ProblemAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What went wrong, as RFC 9457 has it; parameter is the one at fault, if one is."""

    type: str
    title: str
    status: int | UnsetType = UNSET  # API Gateway's answers to whatever has no answer of its own do not know it
    detail: str
    parameter: str | UnsetType = UNSET


class Problem(Struct, frozen=True):
    """A kind of problem, and the headers of an answer that is one."""

    type: str
    title: str
    status: int
    headers: Mapping[str, str] = {}

    def answer(self, detail: str, parameter: str | UnsetType = UNSET) -> HttpAnswer:
        """Answer with a problem of this kind."""
        document = ProblemAnswer(
            type=f"urn:highwater:problem:{self.type}",
            title=self.title,
            status=self.status,
            detail=detail,
            parameter=parameter,
        )
        headers = {"Content-Type": PROBLEM_MEDIA_TYPE, **self.headers}
        return HttpAnswer(self.status, headers, f"{msgspec.json.encode(document).decode()}\n")


def etag_of(parts: Iterable[bytes]) -> str:
    """A validator of what these parts are, weak: two answers with the same one say the same, not byte for byte."""
    digest = blake2b(digest_size=12)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return f'W/"{digest.hexdigest()}"'


def finish(answer: HttpAnswer, if_none_match: str | None) -> HttpAnswer:
    """Give an answer the headers that every one has, and leave out a body that the asker has already.

    Shapes: if_none_match, the request's header.
    Source: RFC 9110, 13.1.2 and 15.4.5.
    """
    headers = {**SECURITY_HEADERS, **NEVER_STORED, **answer.headers}
    etag = headers.get("ETag")
    if answer.status == OK and etag and _matches(if_none_match, etag):
        return HttpAnswer(NOT_MODIFIED, {name: text for name, text in headers.items() if name != "Content-Type"}, "")
    return replace(answer, headers=headers)


def _matches(if_none_match: str | None, etag: str) -> bool:
    """Whether one of the validators is this one, compared weakly: what is compressed on the way keeps its own."""
    if if_none_match is None:
        return False
    given = [validator.strip().removeprefix("W/") for validator in if_none_match.split(",")]
    return "*" in given or etag.removeprefix("W/") in given
