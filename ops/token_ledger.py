"""A stage's tokens in their secret, edited so that no edit undoes another one: a lost one might be a revocation.

Secrets Manager has no conditional put. But the label that makes a version the current one can be moved on the condition
of where it is, so an edit is put under another label first, and made current if what it was made of still is.

Source: AWS Secrets Manager API Reference, "UpdateSecretVersionStage".
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from chalicelib.access.tokens import IssuedToken, parse_tokens, write_tokens

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

CURRENT = "AWSCURRENT"
EDIT = "HIGHWATER_EDIT"
TRIES = 5
SECRET_BYTES_MAX = 65_536  # Secrets Manager's limit
OVERTAKEN = {"InvalidParameterException", "InvalidRequestException"}


class LedgerError(Exception):
    """The edit cannot be made; the text is one line for the operator."""


class TokenLedger:
    """The tokens of one secret."""

    def __init__(self, client: "SecretsManagerClient", secret: str) -> None:
        self._client = client
        self._secret = secret

    def read(self) -> list[IssuedToken]:
        """Read the tokens.

        Raises: MalformedTokensError; ClientError, ResourceNotFoundException for a secret that is not there.
        """
        return parse_tokens(self._current()[0])

    def edit(self, change: Callable[[Sequence[IssuedToken]], Sequence[IssuedToken]]) -> None:
        """Change the tokens; the change is asked again when another edit came between.

        Raises: LedgerError when there is no end of other edits, or no room; whatever the change raises; as `read`.
        """
        for _ in range(TRIES):
            text, base = self._current()
            document = write_tokens(change(parse_tokens(text)))
            if len(document.encode()) > SECRET_BYTES_MAX:
                raise LedgerError("the secret has no room for more; revoke the tokens that have expired")
            put = self._client.put_secret_value(SecretId=self._secret, SecretString=document, VersionStages=[EDIT])
            if self._make_current(put["VersionId"], base):
                return
        raise LedgerError(f"other edits came between {TRIES} times; try again")

    def _current(self) -> tuple[str, str]:
        """The document, and its version."""
        read = self._client.get_secret_value(SecretId=self._secret, VersionStage=CURRENT)
        return read.get("SecretString", ""), read["VersionId"]

    def _make_current(self, version: str, base: str) -> bool:
        """Make a version the current one if its base still is; say whether it was."""
        try:
            self._client.update_secret_version_stage(
                SecretId=self._secret, VersionStage=CURRENT, MoveToVersionId=version, RemoveFromVersionId=base
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in OVERTAKEN:
                raise
            # botocore repeats a call whose answer was lost; the repeat of one that was done is refused too.
            return self._current()[1] == version
        return True
