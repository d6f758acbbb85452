"""Events to fingerprints: of their identity (source, id) and of their content. Only this file knows the hashes.

Fingerprints are stored, so they must come out the same on every machine and in every release: XXH3 and XXH32 are fixed
algorithms. They are not meant to withstand an attacker; what two identities that collide come to is a dead letter (the
contents differ), never a silent loss.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from operator import attrgetter

from xxhash import xxh3_64_intdigest, xxh32_intdigest

from chalicelib.records.cloudevents import CloudEvent

SOURCES_CACHED = 1_024

_id_of = attrgetter("id")
_source_of = attrgetter("source")


def identities(events: Sequence[CloudEvent]) -> list[int]:
    """The 64-bit fingerprint of each event's (source, id).

    Why so: nearly all batches have one source, and then no line of Python runs for each event.
    """
    sources = list(map(_source_of, events))
    encoded_ids = map(str.encode, map(_id_of, events))
    if len(set(sources)) <= 1:
        return list(map(xxh3_64_intdigest, encoded_ids, repeat(_seed(sources[0]) if sources else 0)))
    return list(map(xxh3_64_intdigest, encoded_ids, map(_seed, sources)))


def contents(texts: Sequence[bytes]) -> list[int]:
    """The 32-bit fingerprint of each event's JSON text; blanks around it mean nothing."""
    return list(map(xxh32_intdigest, map(bytes.strip, texts)))


@lru_cache(SOURCES_CACHED)
def _seed(source: str) -> int:
    return xxh3_64_intdigest(source.encode())
