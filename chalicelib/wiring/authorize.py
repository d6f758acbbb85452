"""`authorize`: API Gateway asks who has sent a token."""

from functools import cache

from chalice.app import AuthRequest, AuthResponse, AuthRoute

from chalicelib import telemetry
from chalicelib.access.errors import AccessUnavailableError, NotAuthenticatedError, UnauthorizedError
from chalicelib.access.grant import EVERY_PATH, context_of
from chalicelib.access.tokens import authenticate, bearer_token
from chalicelib.aws import clients
from chalicelib.aws.tokens_secret import TokensSecret
from chalicelib.wiring.discretion import discreet
from chalicelib.wiring.stage import now_ms, settings


@discreet(AccessUnavailableError, UnauthorizedError)
def answer(request: AuthRequest) -> AuthResponse:
    """Answer API Gateway's question who has sent a token: with all that it opens.

    Raises: UnauthorizedError, which API Gateway turns into its answer UNAUTHORIZED, for a token that does not hold;
            AccessUnavailableError, as any other its AUTHORIZER_FAILURE, when nobody can say.
    Source: API Gateway Developer Guide, "Use API Gateway Lambda authorizers".
    """
    try:
        token = bearer_token(request.token)
        grant = authenticate(make().read_tokens(), token, now_ms())
    except NotAuthenticatedError as error:
        telemetry.publish_refusal(error.reason)
        raise UnauthorizedError from None
    except AccessUnavailableError as error:
        telemetry.publish_access_unavailable(str(error))
        raise
    telemetry.publish_grant(grant.name)
    routes = [path if path == EVERY_PATH else AuthRoute(path, ["GET"]) for path in grant.paths()]
    return AuthResponse(routes, grant.name, context_of(grant))


@cache
def make() -> TokensSecret:
    """The digests of the API's tokens."""
    return TokensSecret(clients.secretsmanager(), settings().api_tokens_secret, settings().api_tokens_max_age_ms)
