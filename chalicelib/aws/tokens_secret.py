"""The secret that keeps the tokens' digests, by Powertools Parameters.

Only the authorizer needs it, so this file is imported when the first request asks: it takes some milliseconds.
"""

from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.parameters import GetParameterError, SecretsProvider

from chalicelib.access.errors import AccessUnavailableError, MalformedTokensError
from chalicelib.access.tokens import IssuedToken, parse_tokens
from chalicelib.aws.concurrent import call_in_time
from chalicelib.aws.failures import name_of
from chalicelib.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

TIMEOUT_MS_MAX = 5_000  # without a way to Secrets Manager every call hangs, and the caller waits as long


class TokensSecret:
    """The tokens of a stage, in Secrets Manager; what was read is kept for `max_age_ms`, whole seconds."""

    def __init__(self, client: "SecretsManagerClient", secret: str, max_age_ms: int) -> None:
        self._provider = SecretsProvider(boto3_client=client)
        self._secret = secret
        self._max_age_seconds = max_age_ms // 1000

    def read_tokens(self) -> list[IssuedToken]:
        """Read the tokens that hold.

        Raises: AccessUnavailableError, naming the cause, when they cannot be had: what was read longer ago than
                `max_age_ms` does not stand in for them, for one of them may have been revoked since.
        """
        try:
            return parse_tokens(call_in_time(self._get, TIMEOUT_MS_MAX))
        except (GetParameterError, TransientError, MalformedTokensError) as error:
            # Powertools puts whatever happened into a text, which may quote more than the error's name.
            cause = error.__context__ if isinstance(error, GetParameterError) else error
            raise AccessUnavailableError(name_of(cause if isinstance(cause, Exception) else error)) from None

    def _get(self) -> str:
        # The label is Secrets Manager's own choice, too; moto, which the tests ask, has to be told.
        return str(self._provider.get(self._secret, max_age=self._max_age_seconds, VersionStage="AWSCURRENT"))
