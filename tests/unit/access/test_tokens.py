"""The document of tokens, and which token is let in."""

import json
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.access.errors import MalformedTokensError, NotAuthenticatedError, Refusal
from chalicelib.access.grant import EVERYTHING, Grant, context_of, grant_of, signed_grant
from chalicelib.access.tokens import (
    TOKEN_BYTES,
    IssuedToken,
    authenticate,
    bearer_token,
    digest_of,
    parse_tokens,
    token_of,
    write_tokens,
)
from chalicelib.aggregates.windows import format_instant, parse_instant

END_MS = parse_instant("2027-01-01T00:00:00Z")
TOKENS = {name: token_of(secrets.token_bytes(TOKEN_BYTES)) for name in ("ada", "bob", "eve")}
ADA = IssuedToken(Grant("ada", ("orders", "customers"), END_MS), digest_of(TOKENS["ada"]))
BOB = IssuedToken(Grant("bob", ("*",), END_MS + 1), digest_of(TOKENS["bob"]))
ENTRY = {"name": "ada", "sha256": ADA.sha256, "metrics": ["orders"], "expires_at": "2027-01-01T00:00:00Z"}


def document(**changes):
    return json.dumps({"tokens": [{**ENTRY, **changes}]})


def refusal_of(act):
    with pytest.raises(NotAuthenticatedError) as refused:
        act()
    assert str(refused.value) == "the request carries no valid credentials"
    return refused.value.reason


# ---- the document


def test_a_document_that_is_written_is_read_back():
    assert parse_tokens(write_tokens([ADA, BOB])) == [ADA, BOB]
    assert parse_tokens('{"tokens": []}') == []
    assert parse_tokens(document()) == [IssuedToken(Grant("ada", ("orders",), END_MS), ADA.sha256)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[]",
        "{}",
        '{"tokens": null}',
        '{"tokens": [], "more": 1}',
        document(more=1),
        document(name="Ada"),
        document(name="ada\n"),
        document(name=""),
        document(sha256=ADA.sha256[1:]),
        document(sha256=ADA.sha256.upper()),
        document(sha256=ADA.sha256 + "\n"),
        document(metrics=[]),
        document(metrics="orders"),
        document(metrics=["orders/*"]),
        document(metrics=["*", "orders"]),
        document(expires_at="2027-01-01T00:00:00"),
        document(expires_at="soon"),
        json.dumps({"tokens": [{name: text for name, text in ENTRY.items() if name != "expires_at"}]}),
        json.dumps({"tokens": [ENTRY, {**ENTRY, "sha256": BOB.sha256}]}),
        json.dumps({"tokens": [ENTRY, {**ENTRY, "name": "bob"}]}),
    ],
)
def test_a_document_that_is_not_wholly_as_it_should_be_is_refused_and_not_quoted(text):
    with pytest.raises(MalformedTokensError) as refused:
        parse_tokens(text)
    assert str(refused.value) == "the secret is no document of tokens"
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


# ---- tokens


def test_a_token_is_let_in_up_to_its_end():
    assert authenticate([ADA, BOB], TOKENS["ada"], END_MS - 1) == ADA.grant
    assert authenticate([ADA, BOB], TOKENS["bob"], END_MS) == BOB.grant
    assert refusal_of(lambda: authenticate([ADA, BOB], TOKENS["ada"], END_MS)) is Refusal.EXPIRED


def test_a_token_that_was_not_issued_or_was_revoked_is_unknown():
    assert refusal_of(lambda: authenticate([ADA, BOB], TOKENS["eve"], 0)) is Refusal.UNKNOWN
    assert refusal_of(lambda: authenticate([BOB], TOKENS["ada"], 0)) is Refusal.UNKNOWN
    assert refusal_of(lambda: authenticate([], TOKENS["ada"], 0)) is Refusal.UNKNOWN


@given(st.binary(min_size=TOKEN_BYTES, max_size=TOKEN_BYTES))
def test_no_other_token_is_let_in(random_bytes):
    token = token_of(random_bytes)
    assert bearer_token(f"Bearer {token}") == token
    assert refusal_of(lambda: authenticate([ADA, BOB], token, 0)) is Refusal.UNKNOWN


def test_a_token_is_taken_out_of_its_header():
    token = TOKENS["ada"]
    for header in (f"Bearer {token}", f"bearer {token}", f"BEARER  {token} "):
        assert bearer_token(header) == token


@pytest.mark.parametrize(
    "form",
    ["", "Bearer", "Bearer ", "{token}", "Basic {token}", "Bearer {token}x", "Bearer highwater_",
     "Bearer {cut}", "Bearer {cut}é", "Bearer {token} {token}"],
)  # fmt: skip
def test_what_cannot_be_a_token_is_malformed(form):
    header = form.format(token=TOKENS["ada"], cut=TOKENS["ada"][:-1])
    assert refusal_of(lambda: bearer_token(header)) is Refusal.MALFORMED


@given(st.text())
def test_whatever_is_sent_is_refused_and_nothing_else(header):
    assert refusal_of(lambda: bearer_token(header)) is Refusal.MALFORMED


# ---- grants


def test_a_grant_opens_its_metrics_and_what_is_of_none():
    assert ADA.grant.paths() == [
        "/v1/metrics",
        "/v1/stream",
        "/v1/metrics/orders",
        "/v1/metrics/orders/windows",
        "/v1/metrics/customers",
        "/v1/metrics/customers/windows",
    ]
    assert BOB.grant.paths() == ["*"]
    assert [ADA.grant.allows(name) for name in ("orders", "order_status", "nothing", "*")] == [
        True,
        False,
        False,
        False,
    ]
    assert BOB.grant.allows("nothing")


def test_a_grant_is_carried_to_the_function_and_ends_there_too():
    context = {**context_of(ADA.grant), "principalId": "ada", "integrationLatency": 7}
    assert grant_of(context, END_MS - 1) == ADA.grant
    assert refusal_of(lambda: grant_of(context, END_MS)) is Refusal.EXPIRED


@pytest.mark.parametrize(
    "context",
    [None, {}, "text", {"name": "ada", "metrics": "*"}, {"name": "ada", "metrics": "*", "expires_at": "never"},
     {"name": "ada", "metrics": ["*"], "expires_at": format_instant(END_MS)}],
)  # fmt: skip
def test_a_request_that_came_by_no_authorizer_of_ours_is_refused(context):
    assert refusal_of(lambda: grant_of(context, 0)) is Refusal.MALFORMED


def test_a_signed_request_names_its_caller():
    assert signed_grant({"userArn": "arn:aws:iam::0:user/ada"}) == EVERYTHING
    assert refusal_of(lambda: signed_grant({"userArn": None, "sourceIp": "127.0.0.1"})) is Refusal.MALFORMED
