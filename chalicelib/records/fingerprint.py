"""Events to fingerprints: of their identity (source, id) and of their content. Only this file knows the hashes.

Fingerprints are stored, so they must come out the same on every machine and in every release: XXH3 is a fixed
algorithm. They are not meant to withstand an attacker; what two identities that collide come to is a dead letter (the
contents differ), never a silent loss.
"""

from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import repeat
from operator import attrgetter

from xxhash import xxh3_64_intdigest

from chalicelib.records.cloudevents import CloudEvent

SOURCES_CACHED = 1_024

_id_of = attrgetter("id")
_source_of = attrgetter("source")


def identities(events: Sequence[CloudEvent]) -> "array[int]":
    """The 64-bit fingerprint of each event's (source, id).

    Why so: the events of a record nearly always have one source, and then no line of Python runs for each event. As an
            array they are numbers beside each other, and not objects that whoever looks at them later waits for.
    """
    encoded_ids = map(str.encode, map(_id_of, events))
    sources = list(map(_source_of, events))
    if sources and sources.count(sources[0]) == len(sources):  # a set would hash each of them
        return array("Q", map(xxh3_64_intdigest, encoded_ids, repeat(_seed(sources[0]))))
    return array("Q", map(xxh3_64_intdigest, encoded_ids, map(_seed, sources)))


def contents(texts: Sequence[bytes]) -> "array[int]":
    """The 64-bit fingerprint of each event's JSON text, blanks around it apart."""
    return array("Q", map(xxh3_64_intdigest, map(bytes.strip, texts)))


def joined(fingerprints: Iterable["array[int]"]) -> "array[int]":
    """All of these, one behind the other."""
    return array("Q", b"".join(map(array.tobytes, fingerprints)))


def lower_halves(fingerprints: "array[int]") -> "array[int]":
    """The lower 32 bits of 64-bit fingerprints."""
    return array("I", fingerprints.tobytes())[::2]


@lru_cache(SOURCES_CACHED)
def _seed(source: str) -> int:
    return xxh3_64_intdigest(source.encode())
