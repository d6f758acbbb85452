"""What editing tokens relies on in Secrets Manager: moto in process and MiniStack have to hold it.

Not to be had from the emulators, and so unproved here: an edit that sees an older version than the current one.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import count

import boto3
import pytest
from moto import mock_aws

from chalicelib.access.grant import Grant
from chalicelib.access.tokens import IssuedToken, digest_of
from localstage import aws
from ops import tokens
from ops.token_ledger import LedgerError, TokenLedger

names = count()
END_MS = 4_000_000_000_000


@pytest.fixture(params=["moto", "ministack"])
def secret(request):
    """A client and a secret without tokens."""
    name = f"tokens{next(names)}"
    if request.param == "moto":
        with mock_aws():
            client = boto3.client("secretsmanager")
            client.create_secret(Name=name, SecretString='{"tokens": []}')
            yield client, name
    else:
        client = aws.client("secretsmanager", request.getfixturevalue("endpoint_url"))
        client.create_secret(Name=name, SecretString='{"tokens": []}')
        yield client, name


def issued(ledger):
    return [each.grant.name for each in ledger.read()]


def test_an_edit_is_the_current_version_and_the_one_before_is_kept(secret):
    client, name = secret
    ledger = TokenLedger(client, name)
    token = tokens.issue(ledger, "ada", ["orders"], END_MS)
    assert ledger.read() == [IssuedToken(Grant("ada", ("orders",), END_MS), digest_of(token))]
    assert client.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS")["SecretString"] == '{"tokens": []}'
    tokens.revoke(ledger, "ada")
    assert issued(ledger) == []


def test_an_edit_that_another_came_before_is_made_anew_of_what_is_there_then(secret):
    client, name = secret
    ledger, other = TokenLedger(client, name), TokenLedger(client, name)
    tokens.issue(ledger, "ada", ["orders"], END_MS)
    seen = []

    def late(present):
        if not seen:
            tokens.revoke(other, "ada")
        seen.append([each.grant.name for each in present])
        return [*present, IssuedToken(Grant("bob", ("*",), END_MS), digest_of("bob's"))]

    ledger.edit(late)
    assert seen == [["ada"], []]
    assert issued(ledger) == ["bob"], "ada stays revoked"


class AnswersLost:
    """A client whose calls that move a label are done, and repeated because the answer was lost."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        return getattr(self._client, name)

    def update_secret_version_stage(self, **asked):
        self._client.update_secret_version_stage(**asked)
        return self._client.update_secret_version_stage(**asked)


def test_an_edit_whose_answer_was_lost_is_done_once(secret):
    client, name = secret
    ledger = TokenLedger(AnswersLost(client), name)
    token = tokens.issue(ledger, "ada", ["orders"], END_MS)
    assert ledger.read() == [IssuedToken(Grant("ada", ("orders",), END_MS), digest_of(token))]
    tokens.revoke(ledger, "ada")
    assert issued(ledger) == []


def test_an_edit_that_others_always_come_before_is_given_up(secret):
    client, name = secret
    ledger, other, numbers = TokenLedger(client, name), TokenLedger(client, name), count()

    def overtaken(present):
        tokens.issue(other, f"other-{next(numbers)}", ["orders"], END_MS)
        return present

    with pytest.raises(LedgerError, match="other edits came between 5 times"):
        ledger.edit(overtaken)
    assert len(issued(ledger)) == 5


def test_edits_at_once_are_all_made(secret):
    client, name = secret
    tokens.issue(TokenLedger(client, name), "old", ["orders"], END_MS)

    def edit(number):
        ledger = TokenLedger(client, name)
        for _ in range(100):
            try:
                if number:
                    tokens.issue(ledger, f"new-{number}", ["orders"], END_MS)
                else:
                    tokens.revoke(ledger, "old")
            except LedgerError as error:
                assert "try again" in str(error)  # noqa: PT017
            else:
                return
        pytest.fail("no edit was made")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(edit, range(4)))
    assert sorted(issued(TokenLedger(client, name))) == ["new-1", "new-2", "new-3"]
