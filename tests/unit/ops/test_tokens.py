"""The command that issues, lists and revokes tokens, on a secret by moto."""

import boto3
import pytest
from moto import mock_aws

from chalicelib.access.grant import Grant
from chalicelib.access.tokens import TOKEN, IssuedToken, digest_of, parse_tokens, write_tokens
from chalicelib.aggregates.windows import parse_instant
from ops import tokens

NAME = "highwater-test-api-tokens"


@pytest.fixture
def secret():
    with mock_aws():
        client = boto3.client("secretsmanager")
        client.create_secret(Name=NAME, SecretString='{"tokens": []}')
        yield client


def run(*arguments):
    return tokens.main(["--stage", "test", *arguments])


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_token_is_shown_once_and_alone_and_only_its_digest_is_kept(secret, capsys):
    assert run("issue", "--name", "ada", "--metrics", "orders,customers", "--expires", "1d") == 0
    shown = capsys.readouterr()
    token = shown.out.removesuffix("\n")
    assert TOKEN.fullmatch(token)
    assert shown.err.startswith("ada may read orders, customers until 20")
    kept = secret.get_secret_value(SecretId=NAME, VersionStage="AWSCURRENT")["SecretString"]
    assert token not in kept
    assert token.removeprefix("highwater_") not in kept + shown.err
    ((issued),) = parse_tokens(kept)
    assert (issued.sha256, issued.grant.metrics) == (digest_of(token), ("orders", "customers"))

    assert run("list") == 0
    listed = capsys.readouterr().out
    assert all(text in listed for text in ("ada", "orders, customers", "valid", issued.sha256[:8]))
    assert issued.sha256[:9] not in listed
    assert token not in listed
    assert run("revoke", "--name", "ada") == 0
    capsys.readouterr()
    assert run("list") == 0
    assert capsys.readouterr().out == "There are no tokens.\n"


def test_two_tokens_differ_and_everything_can_be_granted(secret, capsys):
    for name in ("ada", "bob"):
        assert run("issue", "--name", name, "--metrics", "*") == 0
    first, second = capsys.readouterr().out.split()
    assert first != second
    issued = parse_tokens(secret.get_secret_value(SecretId=NAME, VersionStage="AWSCURRENT")["SecretString"])
    assert [each.grant.is_of_everything for each in issued] == [True, True]


def test_a_token_that_has_expired_is_listed_as_such(secret, capsys):
    old = IssuedToken(Grant("old", ("gone",), expires_at_ms=0), "0" * 64)
    secret.put_secret_value(SecretId=NAME, SecretString=write_tokens([old]))
    assert run("list") == 0
    assert "expired" in capsys.readouterr().out


def test_a_name_is_given_once_and_only_what_is_there_is_revoked(secret, capsys):
    assert run("issue", "--name", "ada", "--metrics", "orders") == 0
    capsys.readouterr()
    assert run("issue", "--name", "ada", "--metrics", "orders") == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "ops.tokens: there is a token named ada; revoke it, or take another name\n")
    assert run("revoke", "--name", "bob") == 2
    assert capsys.readouterr().err == "ops.tokens: there is no token named bob\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "Ada", "--metrics", "*"], "a name is 1..40 of a-z, 0-9 and -, a letter first, not 'Ada'"),
        (
            ["--name", "ada", "--metrics", "order"],
            "no metric is named 'order'; there are: orders",
        ),
        (["--name", "ada", "--metrics", ""], "no metric is named ''"),
        (["--name", "ada", "--metrics", "*,orders"], "no metric is named '*'"),
        (
            ["--name", "ada", "--metrics", "*", "--expires", "soon"],
            "--expires is a duration (90d), a date",
        ),
        (
            ["--name", "ada", "--metrics", "*", "--expires", "2020-01-01"],
            "a token ends later than now, and",
        ),
        (["--name", "ada", "--metrics", "*", "--expires", "401d"], "a token ends later than now, and"),
        (["--metrics", "*"], "required: --name"),
    ],
)
def test_a_bad_argument_is_one_line_with_exit_code_2(secret, capsys, arguments, message):
    assert message in refused(capsys, "issue", *arguments)


def test_a_date_is_its_midnight():
    now_ms = parse_instant("2026-11-25T21:00:00.500Z")
    end_of = lambda text: tokens._end(tokens._parser(), text, now_ms)  # noqa: E731
    assert end_of("2027-01-01") == parse_instant("2027-01-01T00:00:00Z")
    assert end_of("1d") == parse_instant("2026-11-26T21:00:00Z")


def test_a_secret_that_is_not_there_or_no_document_is_one_line_with_exit_code_2(secret, capsys):
    assert tokens.main(["--stage", "other", "list"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ops.tokens: there is no secret highwater-other-api-tokens;")
    secret.put_secret_value(SecretId=NAME, SecretString="what-it-is")
    for command in (["list"], ["issue", "--name", "ada", "--metrics", "*"], ["revoke", "--name", "ada"]):
        assert run(*command) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith(f"ops.tokens: {NAME}: the secret is no document of tokens;")
