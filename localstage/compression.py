"""Which answers API Gateway compresses, where the API has a `MinimumCompressionSize`: with gzip alone here.

Source: API Gateway Developer Guide, "Enable payload compression for an API" and "Receive an API response with a
compressed payload".
"""

import gzip
import re
from collections.abc import Sequence

CONTENT_ENCODING = "Content-Encoding"


def compress(body: bytes, headers: Sequence[tuple[str, str]], accept_encoding: str, minimum_size: int) -> bytes | None:
    """Compress a body as API Gateway would; None where it would leave it as it is.

    Shapes: accept_encoding, the request's header, empty without one: nothing is compressed then, though HTTP allows it.
    """
    is_encoded_already = any(name.lower() == CONTENT_ENCODING.lower() for name, _ in headers)
    if is_encoded_already or len(body) < minimum_size or "gzip" not in _liked_best(accept_encoding):
        return None
    return gzip.compress(body)


def _liked_best(accept_encoding: str) -> set[str]:
    """The codings of the highest quality: API Gateway looks at no other."""
    qualities: dict[str, float] = {}
    for part in accept_encoding.split(","):
        coding, *parameters = (text.strip().lower() for text in part.split(";"))
        weights = [match[1] for each in parameters if (match := re.fullmatch(r"q=([01](?:\.[0-9]{0,3})?)", each))]
        qualities[coding] = float(weights[0]) if weights else 1.0
    best = max(qualities.values())
    return {coding for coding, quality in qualities.items() if quality == best > 0}
