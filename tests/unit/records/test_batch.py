import pytest

from chalicelib.errors import OutOfOrderError
from chalicelib.records.batch import parse_batch
from tests.builders import NOON_MS, SHARD, STREAM, lambda_event


def test_a_lambda_event_becomes_records_of_one_shard():
    batch = parse_batch(lambda_event([b"first", b"second"], first=9))
    assert (batch.stream, batch.shard_id, batch.writer) == (STREAM, SHARD, f"{STREAM}/{SHARD}")
    assert [(record.sequence_number, record.data) for record in batch.records] == [("9", b"first"), ("10", b"second")]
    assert {record.arrived_at_ms for record in batch.records} == {NOON_MS}


def test_records_out_of_order_are_our_fault_and_raise():
    event = lambda_event([b"first", b"second"])
    event["Records"].reverse()
    with pytest.raises(OutOfOrderError, match="1 comes after 2"):
        parse_batch(event)


def test_records_of_two_shards_in_one_batch_raise():
    event = lambda_event([b"first"])
    event["Records"] += lambda_event([b"second"], first=2, shard="shardId-000000000001")["Records"]
    with pytest.raises(OutOfOrderError, match="another shard"):
        parse_batch(event)
