"""Events to fingerprints: of their identity (source, id) and of their content. Only this file knows the hashes.

Fingerprints are stored, so they must come out the same on every machine and in every release: XXH3 is a fixed
algorithm. They are not meant to withstand an attacker; what two identities that collide come to is a dead letter (the
contents differ), never a silent loss.
"""

from array import array
from collections.abc import Sequence
from functools import lru_cache
from itertools import repeat
from operator import attrgetter

from xxhash import xxh3_64_intdigest

from chalicelib.records.cloudevents import CloudEvent

SOURCES_CACHED = 1_024

_id_of = attrgetter("id")
_source_of = attrgetter("source")


def identities(events: Sequence[CloudEvent]) -> list[int]:
    """The 64-bit fingerprint of each event's (source, id).

    Why so: the events of a record nearly always have one source, and then no line of Python runs for each event.
    """
    encoded_ids = map(str.encode, map(_id_of, events))
    sources = set(map(_source_of, events))
    if len(sources) == 1:
        return list(map(xxh3_64_intdigest, encoded_ids, repeat(_seed(sources.pop()))))
    return list(map(xxh3_64_intdigest, encoded_ids, map(_seed, map(_source_of, events))))


def contents(texts: Sequence[bytes]) -> list[int]:
    """The 64-bit fingerprint of each event's JSON text, blanks around it apart."""
    return list(map(xxh3_64_intdigest, map(bytes.strip, texts)))


def lower_halves(fingerprints: Sequence[int]) -> "array[int]":
    """The lower 32 bits of 64-bit fingerprints, packed."""
    return array("I", array("Q", fingerprints).tobytes())[::2]


@lru_cache(SOURCES_CACHED)
def _seed(source: str) -> int:
    return xxh3_64_intdigest(source.encode())
