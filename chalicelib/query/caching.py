"""How long an answer holds, in the words of HTTP caches. Only this file knows them.

An answer holds for good when its range is complete and closed: each event that counts in it is older than
`complete_until` by the metric's lateness. Until then a cache has to ask again, and is told 304 where nothing was
counted and nothing more is known to be complete.
"""

from collections.abc import Mapping

import msgspec

from chalicelib.http import etag_of
from chalicelib.query.request import WindowsRequest

# Not for ever: the metric's retention ends, and an operator may raise the lateness.
CLOSED = "private, max-age=3600"
OPEN = "private, no-cache"
VARY = "Accept, Accept-Encoding, Authorization"


def caching_of_document(body: str) -> Mapping[str, str]:
    """The headers of an answer that changes with a deployment, or with what its asker may read."""
    return {"Cache-Control": OPEN, "ETag": etag_of([body.encode()]), "Vary": VARY}


def caching_of_windows(
    request: WindowsRequest, form: str, revision: int, complete_until_ms: int | None, lateness_ms: int
) -> Mapping[str, str]:
    """The headers of a windows answer.

    Shapes: form is the name of the answer's format; revision grows with every change of what was read.
    Why not a digest of the rows: a quantile of the same sketches may be another, within its error, each time that they
            are merged. What an answer cost differs each time, so the validator is a weak one.
    """
    closed_ms = request.end_ms + lateness_ms
    known_ms = None if complete_until_ms is None else min(complete_until_ms, closed_ms)
    asked = (request.digest, request.limit, request.after, form)
    return {
        "Cache-Control": CLOSED if known_ms == closed_ms else OPEN,
        "ETag": etag_of([msgspec.msgpack.encode((asked, revision, known_ms))]),
        "Vary": VARY,
    }
