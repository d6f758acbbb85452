"""Tokens: their form, the document in which a secret keeps their digests, and whether one of them holds.

Only this file knows the document:

    {"tokens": [{"name": "ada", "sha256": "9f86…", "metrics": ["orders"], "expires_at": "2027-01-01T00:00:00Z"}]}

A token is 32 random bytes, so a plain SHA-256 keeps it as safe as a slow hash would: there is nothing to guess.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from chalicelib.access.errors import MalformedTokensError, NotAuthenticatedError, Refusal
from chalicelib.access.grant import ANY, Grant
from chalicelib.aggregates.windows import format_instant, parse_instant

TOKEN_BYTES = 32
TOKEN = re.compile(r"highwater_[A-Za-z0-9_-]{43}")  # the prefix lets scanners of leaked secrets find one
BEARER = "bearer"
NAME_RULE = "a name is 1..40 of a-z, 0-9 and -, a letter first"
NAME = r"^[a-z][a-z0-9-]{0,39}\Z"
METRIC = r"^(\*|[a-z][a-z0-9_]{0,62})\Z"  # nothing that would be more than a name in a policy's ARN


class IssuedToken(Struct, frozen=True):
    """A token as its issuer remembers it: not the token itself, but its digest, and what it grants."""

    grant: Grant
    sha256: str


class _Entry(Struct, frozen=True, forbid_unknown_fields=True):
    name: Annotated[str, Meta(pattern=NAME)]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    metrics: Annotated[tuple[Annotated[str, Meta(pattern=METRIC)], ...], Meta(min_length=1)]
    expires_at: str


class _Document(Struct, frozen=True, forbid_unknown_fields=True):
    tokens: list[_Entry]


def token_of(random_bytes: bytes) -> str:
    """Make a token of 32 random bytes."""
    if len(random_bytes) != TOKEN_BYTES:
        raise ValueError(f"a token is made of {TOKEN_BYTES} random bytes")
    return f"highwater_{urlsafe_b64encode(random_bytes).decode().rstrip('=')}"


def digest_of(token: str) -> str:
    """A token's SHA-256, in hexadecimal digits."""
    return sha256(token.encode()).hexdigest()


def is_name(text: str) -> bool:
    """Whether a token can have this name."""
    return bool(re.match(NAME, text))


def bearer_token(authorization: str) -> str:
    """Take the token out of an `Authorization` header.

    Raises: NotAuthenticatedError for what cannot be one of ours, before anything is asked of the secret.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != BEARER or not TOKEN.fullmatch(token.strip()):
        raise NotAuthenticatedError(Refusal.MALFORMED)
    return token.strip()


def parse_tokens(document: str) -> list[IssuedToken]:
    """Read the secret's document.

    Raises: MalformedTokensError for anything that is not wholly as it should be: with what it means left open, nobody
            is let in. It does not say what is wrong, for that might quote the secret.
    """
    try:
        entries = msgspec.json.decode(document, type=_Document).tokens
        tokens = [
            IssuedToken(Grant(each.name, each.metrics, parse_instant(each.expires_at)), each.sha256) for each in entries
        ]
    except (msgspec.DecodeError, ValueError):
        raise MalformedTokensError from None
    is_unclear = any(ANY in each.metrics and len(each.metrics) > 1 for each in entries)
    names, digests = {each.name for each in entries}, {each.sha256 for each in entries}
    if is_unclear or min(len(names), len(digests)) < len(entries):
        raise MalformedTokensError
    return tokens


def write_tokens(tokens: Sequence[IssuedToken]) -> str:
    """Write the secret's document."""
    entries = [
        _Entry(each.grant.name, each.sha256, each.grant.metrics, format_instant(each.grant.expires_at_ms))
        for each in tokens
    ]
    return msgspec.json.encode(_Document(entries)).decode()


def authenticate(tokens: Sequence[IssuedToken], token: str, now_ms: int) -> Grant:
    """Find what a token grants.

    Raises: NotAuthenticatedError when nobody was issued it, or it has expired.
    Why:    each digest is compared in a time that does not tell how much of it fits, and all of them are, so that the
            time does not tell which one it was either.
    """
    digest = digest_of(token)
    found: Grant | None = None
    for each in tokens:
        if compare_digest(each.sha256, digest):
            found = each.grant
    if found is None:
        raise NotAuthenticatedError(Refusal.UNKNOWN)
    if found.has_ended(now_ms):
        raise NotAuthenticatedError(Refusal.EXPIRED)
    return found
