import pytest

from chalicelib.consumers.tick import Tick, tick_on
from chalicelib.errors import TransientError
from chalicelib.records.shard import Shard
from tests.builders import NOON_MS, make_decoder, record

SHARDS = [
    Shard("closed", is_open=False, starting_hash_key="0"),
    Shard("low", is_open=True, parents=("closed",), starting_hash_key="0"),
    Shard("high", is_open=True, parents=("closed",), starting_hash_key="170141183460469231731687303715884105728"),
]


class Stream:
    def __init__(self, refuses=()):
        self.refuses = refuses
        self.records = []

    def list_shards(self, timeout_ms):
        if not timeout_ms:
            raise TransientError("out of time")
        return SHARDS

    def put_records(self, records, timeout_ms):
        self.records += records
        return self.refuses


def test_every_open_shard_gets_one_tick_by_its_hash_key():
    stream = Stream()
    report = Tick(stream)(NOON_MS, lambda: 60_000)
    assert (report.shards, report.failed) == (2, 0)
    assert [each.explicit_hash_key for each in stream.records] == [shard.starting_hash_key for shard in SHARDS[1:]]


def test_ticks_that_the_stream_did_not_take_are_told():
    assert Tick(Stream(refuses=[1]))(NOON_MS, lambda: 60_000).failed == 1


def test_out_of_time_no_tick_is_put():
    with pytest.raises(TransientError):
        Tick(Stream())(NOON_MS, lambda: 900)


def test_a_tick_is_taken_by_ingest_and_is_no_dead_letter():
    decoded = make_decoder().decode(record(tick_on(SHARDS[1], NOON_MS).data))
    assert (len(decoded.events), decoded.rejected) == (1, ())


def test_ticks_of_two_minutes_are_two_events():
    ids = {
        make_decoder().decode(record(tick_on(SHARDS[1], at).data)).events[0].id for at in (NOON_MS, NOON_MS - 60_000)
    }
    assert len(ids) == 2
