"""What browsers are told of the routes that pages of other origins may read."""

from chalice.app import CORSConfig

CORS_MAX_AGE_S = 3_600  # how long a browser need not ask again what it may do


def cors(origin: str | None) -> CORSConfig | None:
    """Let this origin's pages read; None lets no other origin's."""
    if origin is None:
        return None
    return CORSConfig(
        allow_origin=origin,
        allow_headers=["Authorization", "If-None-Match"],
        expose_headers=["ETag", "Highwater-Complete-Until", "Link"],
        max_age=CORS_MAX_AGE_S,
    )
