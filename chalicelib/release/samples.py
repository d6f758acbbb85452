"""Records in each form that the wire has, which the packaged decoder has to read.

They are fixed bytes, written by the encoders that producers use, of events of Highwater's own type: so they hold
whatever an adopter counts, and what they become does not depend on when they are tried.
"""

from base64 import b64decode
from collections.abc import Mapping

from chalicelib.records.batch import Record
from chalicelib.records.decode import Decoder
from chalicelib.records.sequence import position

SOURCE = "/highwater/release"
ARRIVED_AT_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z, the time of the events too
PLAIN = (
    b'{"specversion":"1.0","id":"check/1","source":"/highwater/release","type":"highwater.tick",'
    b'"time":"2026-01-01T00:00:00Z","data":{}}'
)
LINES = PLAIN + b"\n" + PLAIN.replace(b"check/1", b"check/2")
SAMPLES: Mapping[str, tuple[bytes, int]] = {  # by name: the bytes, and how many events they are
    "plain": (PLAIN, 1),
    "JSON Lines": (LINES, 2),
    "gzip": (
        b64decode(
            "H4sIAAAAAAACA6tWKi5ITS5LLSrOzM9TslIy1DNQ0lHKTAEykzNSk7P1DYHc4vzSouRUoJB+RmZ6RnliSWqRflFqTmpicSpQtqSyACQHl9Ir"
            "yUzOBoln5oLEjQyMzHQNDIEoxMDACoyigLIpiSWJSlbVtbVc1YScYERrJwAAOGWsxQUBAAA="
        ),
        2,
    ),
    "zstd": (
        b64decode(
            "KLUv/WAFAI0DAKLGFhuAuTn9Bj6la/8tSnRJVDHGNDKYkJAVdbASPQEK0DRMer2F+HiQiIKERkIjoFAZNtF9x7J4Pr5bL7yh9rcUjLAMOX1t"
            "CMX5OKFEz9RpZH2MR3L6oKxrT+gXZyYHAA2TYDBD0YkCgXcG9VlhfDDN"
        ),
        2,
    ),
    "KPL aggregate": (  # of two user records, the second of them in gzip
        b64decode(
            "84mawgoBYRqHAQgAGoIBeyJzcGVjdmVyc2lvbiI6IjEuMCIsImlkIjoiY2hlY2svMSIsInNvdXJjZSI6Ii9oaWdod2F0ZXIvcmVsZWFzZSIs"
            "InR5cGUiOiJoaWdod2F0ZXIudGljayIsInRpbWUiOiIyMDI2LTAxLTAxVDAwOjAwOjAwWiIsImRhdGEiOnt9fRp/CAAaex+LCAAAAAAAAgM9"
            "iTEOgzAMRe/iGYjJ0CHn6MQWGaux0jYoCSCEuDtOh0pv+P+9E8rCtHEukr7gYBwQOpBZJwWmaKzektZMrMoEeYXdV84m85t9Ya31WFr7p6EK"
            "xebl07xF++hxVJ6I7sekdfbVgzuv6wa/W2BzggAAAClWn8qPGEWPvKnIaoxp5M0="
        ),
        2,
    ),
}


def faults_of(decoder: Decoder) -> list[str]:
    """What the decoder makes of the samples that it should not; nothing, if all is well."""
    faults = [name for name, (data, events) in SAMPLES.items() if not _is_read(decoder, data, events)]
    told = [f"a sample is not decoded: {name}" for name in faults]
    if not decoder.decode(_record(PLAIN[:-1])).rejected:
        told.append("a sample that is no JSON is not rejected")
    return told


def _is_read(decoder: Decoder, data: bytes, events: int) -> bool:
    decoded = decoder.decode(_record(data))
    ids = [event.id for event in decoded.events if event.source == SOURCE]
    return ids == ["check/1", "check/2"][:events] and not decoded.rejected


def _record(data: bytes) -> Record:
    return Record("1", position("1"), "check", ARRIVED_AT_MS, data)
