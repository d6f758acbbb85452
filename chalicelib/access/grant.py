"""What a caller may read, and how API Gateway carries that from the authorizer to the function.

API Gateway keeps an authorizer's answer and gives it to later requests of the same token, so a grant brings its own end
along: whoever reads it back holds the end against the clock.
"""

from collections.abc import Mapping

from msgspec import Struct, ValidationError, convert

from chalicelib.access.errors import NotAuthenticatedError, Refusal
from chalicelib.aggregates.windows import format_instant, parse_instant

ANY = "*"
EVERY_PATH = "*"


class Grant(Struct, frozen=True):
    """What one caller may read.

    Shapes: metrics, by name, or just `*`: all of them, and the dead letters.
    Units:  expires_at_ms is epoch milliseconds.
    """

    name: str
    metrics: tuple[str, ...]
    expires_at_ms: int

    @property
    def is_of_everything(self) -> bool:
        """Whether nothing is kept from the caller."""
        return self.metrics == (ANY,)

    def allows(self, metric: str) -> bool:
        """Whether the caller may read this metric; asked of names that no metric has, too."""
        return self.is_of_everything or metric in self.metrics

    def has_ended(self, now_ms: int) -> bool:
        """Whether the grant is over: it holds up to its end, and not at it."""
        return now_ms >= self.expires_at_ms

    def paths(self) -> list[str]:
        """The paths that it opens.

        Why: API Gateway holds them against every request of the same token while it keeps the authorizer's answer, so
             they are all that the grant allows, and not the one that was asked for. In a policy's ARN `*` matches
             across slashes; a metric's name has none, for names are checked where they are read.
        """
        if self.is_of_everything:
            return [EVERY_PATH]
        of_metrics = [f"/v1/metrics/{metric}{rest}" for metric in self.metrics for rest in ("", "/windows")]
        return ["/v1/metrics", "/v1/stream", *of_metrics]


# Where somebody else has checked the caller, or nobody does.
EVERYTHING = Grant("", (ANY,), expires_at_ms=parse_instant("9999-12-31"))


class _Context(Struct, frozen=True):
    """API Gateway's form of a grant, a flat object of texts; it adds members of its own."""

    name: str
    metrics: str
    expires_at: str


def context_of(grant: Grant) -> dict[str, str]:
    """Write a grant for `requestContext.authorizer`."""
    return {
        "name": grant.name,
        "metrics": ",".join(grant.metrics),
        "expires_at": format_instant(grant.expires_at_ms),
    }


def grant_of(context: object, now_ms: int) -> Grant:
    """Read the grant that API Gateway hands on.

    Raises: NotAuthenticatedError when there is none, or it has ended: the request has come by no authorizer of ours,
            or by one that was asked before the end.
    """
    try:
        given = convert(context, _Context)
        grant = Grant(given.name, tuple(given.metrics.split(",")), parse_instant(given.expires_at))
    except (ValidationError, ValueError):
        raise NotAuthenticatedError(Refusal.MALFORMED) from None
    if grant.has_ended(now_ms):
        raise NotAuthenticatedError(Refusal.EXPIRED)
    return grant


def signed_grant(identity: Mapping[str, str | None]) -> Grant:
    """Read that API Gateway has checked the signature of somebody with an AWS identity, who may then read everything.

    Raises: NotAuthenticatedError when it has not.
    """
    if not identity.get("userArn"):
        raise NotAuthenticatedError(Refusal.MALFORMED)
    return EVERYTHING
