"""What can be wrong with a request's credentials, or with the secret that they are held against.

No text here says more than whoever asks may know, and none quotes a token or the secret.
"""

from enum import StrEnum


class Refusal(StrEnum):
    """Why a request is refused, for the metric that counts it. Whoever asks is not told."""

    MALFORMED = "malformed"
    UNKNOWN = "unknown"  # a token that was revoked among them
    EXPIRED = "expired"


class NotAuthenticatedError(Exception):
    """The request carries no credentials that hold."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__("the request carries no valid credentials")
        self.reason = reason


class NotAllowedError(Exception):
    """The credentials hold, and do not allow this; the same whether what was asked for exists or not."""

    def __init__(self) -> None:
        super().__init__("the credentials do not allow this request")


class MalformedTokensError(Exception):
    """The secret is no document of tokens."""

    def __init__(self) -> None:
        super().__init__("the secret is no document of tokens")


class AccessUnavailableError(Exception):
    """Nobody can say who may read, so nobody may. The text names the cause and nothing of the secret."""


class UnauthorizedError(Exception):
    """What API Gateway is told of a token that does not hold; it knows by the text, and by no other.

    Source: API Gateway Developer Guide, "Use API Gateway Lambda authorizers".
    """

    def __init__(self) -> None:
        super().__init__("Unauthorized")
