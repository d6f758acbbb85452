"""The samples hold every form of a record, and a decoder that misreads one is told."""

import pytest

from chalicelib.consumers.tick import TickData
from chalicelib.records.decode import Decoder, EventType
from chalicelib.release.samples import LINES, PLAIN, SAMPLES, faults_of
from chalicelib.wiring.decoder import make_decoder
from chalicelib.wiring.stage import CATALOG
from tests.builders import record


class Broken:
    """A decoder that gets one sample wrong."""

    def __init__(self, sample):
        self.decoder = packaged()
        self.sample = sample

    def decode(self, given):
        return self.decoder.decode(record(b"nothing") if given.data == self.sample else given)


def packaged():
    return make_decoder(CATALOG, 0, 0)


def test_the_packaged_decoder_reads_every_sample():
    assert faults_of(packaged()) == []


def test_a_decoder_that_does_not_know_highwaters_own_events_reads_none():
    assert len(faults_of(Decoder({"other": EventType(TickData, 0)}, 0))) == len(SAMPLES)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_that_is_misread_is_named(name):
    data, _ = SAMPLES[name]
    assert faults_of(Broken(data)) == [f"a sample is not decoded: {name}"]


def test_a_decoder_that_takes_what_is_no_json_is_told():
    taking = packaged()
    broken = PLAIN[:-1]

    class Lax:
        def decode(self, given):
            return taking.decode(record(PLAIN) if given.data == broken else given)

    assert faults_of(Lax()) == ["a sample that is no JSON is not rejected"]


def test_the_forms_are_told_apart_by_their_first_bytes():
    assert SAMPLES["gzip"][0].startswith(b"\x1f\x8b")
    assert SAMPLES["zstd"][0].startswith(b"\x28\xb5\x2f\xfd")
    assert SAMPLES["KPL aggregate"][0].startswith(b"\xf3\x89\x9a\xc2")
    assert SAMPLES["JSON Lines"][0] == LINES
