"""The form of a table's change, and what is asked of its stream."""

from collections.abc import Iterator
from typing import Any

import pytest

from localstage.dynamodb import DynamoDBSource, lambda_record, list_shards
from localstage.source import Shard
from tests.unit.localstage.scripted import Scripted

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/2026-11-24T12:00:00.000"
NOWHERE = "http://127.0.0.1:1"
SHARD = Shard("shardId-00000000000000000000-00000000", frozenset())
ITERATOR = {"StreamArn": ARN, "ShardId": SHARD.shard_id}
FROM_THE_BEGINNING = {**ITERATOR, "ShardIteratorType": "TRIM_HORIZON"}
BEHIND_ONE = {**ITERATOR, "ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": "1" * 21}


def change(sequence_number: str = "1" * 21, **more: Any) -> dict[str, Any]:
    return {
        "eventID": "c4ca4238a0b923820dcc509a6f75849b",
        "eventName": "REMOVE",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1545084650.0,
            "Keys": {"order_id": {"S": "o-1"}},
            "OldImage": {"order_id": {"S": "o-1"}, "amount": {"N": "12.50"}, "octets": {"B": "AP8="}},
            "SequenceNumber": sequence_number,
            "SizeBytes": 26,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        **more,
    }


def test_a_change_has_the_form_in_which_lambda_delivers_it() -> None:
    delivered = lambda_record(change(), ARN)
    assert delivered == {**change(), "eventSourceARN": ARN}
    assert repr(delivered["dynamodb"]["ApproximateCreationDateTime"]) == "1545084650", "whole seconds, no float"


def test_who_deleted_what_has_expired_is_told_in_lower_case() -> None:
    by_ttl = change(userIdentity={"Type": "Service", "PrincipalId": "dynamodb.amazonaws.com"})
    assert lambda_record(by_ttl, ARN)["userIdentity"] == {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


def page(*shards: dict[str, Any], **more: str) -> dict[str, Any]:
    return {"StreamDescription": {"StreamArn": ARN, "Shards": list(shards), **more}}


def test_all_pages_of_shards_are_asked_for() -> None:
    parent, child = (f"shardId-00000000000000000000-{number:08d}" for number in (1, 2))
    client = Scripted()
    first = page({"ShardId": parent}, LastEvaluatedShardId=parent)
    second = page({"ShardId": child, "ParentShardId": parent})
    client.answer("describe_stream", first, {"StreamArn": ARN})
    client.answer("describe_stream", second, {"StreamArn": ARN, "ExclusiveStartShardId": parent})
    assert list_shards(client, ARN) == [Shard(parent, frozenset()), Shard(child, frozenset({parent}))]


@pytest.fixture
def source() -> DynamoDBSource:
    return DynamoDBSource(NOWHERE, ARN, "TRIM_HORIZON")


@pytest.fixture
def stream(source: DynamoDBSource) -> Iterator[Scripted]:
    source._client = Scripted()
    yield source._client
    source._client.assert_all_was_asked()


def give_iterator(stream: Scripted, iterator: str, asked: dict[str, str]) -> None:
    stream.answer("get_shard_iterator", {"ShardIterator": iterator}, asked)


def give_records(stream: Scripted, iterator: str, *records: dict[str, Any], limit: int = 1_000, **more: str) -> None:
    asked = {"ShardIterator": iterator, "Limit": limit}
    stream.answer("get_records", {"Records": list(records), **more}, asked)


def test_a_shard_is_read_from_its_beginning_to_its_end(source: DynamoDBSource, stream: Scripted) -> None:
    give_iterator(stream, "i-1", FROM_THE_BEGINNING)
    give_records(stream, "i-1", change(), NextShardIterator="i-2")
    give_records(stream, "i-2", limit=7)
    reader = source.open(SHARD)
    (record,) = reader.read(10_000) or ()
    assert (record.sequence_number, record.arrived_ms) == ("1" * 21, 1_545_084_650_000)
    assert reader.read(7) is None


@pytest.mark.parametrize("error", ["ExpiredIteratorException", "TrimmedDataAccessException"])
def test_an_iterator_that_is_no_use_any_more_is_replaced_behind_what_was_read(
    source: DynamoDBSource, stream: Scripted, error: str
) -> None:
    give_iterator(stream, "i-1", FROM_THE_BEGINNING)
    give_records(stream, "i-1", change(), NextShardIterator="i-2")
    stream.refuse("get_records", error)
    give_iterator(stream, "i-3", BEHIND_ONE)
    give_records(stream, "i-3", change("2" * 21), NextShardIterator="i-4")
    reader = source.open(SHARD)
    read = [reader.read(1_000) for _ in range(3)]
    assert [[record.sequence_number for record in records or ()] for records in read] == [["1" * 21], [], ["2" * 21]]


def test_behind_records_that_are_gone_the_oldest_that_are_left_come_next(
    source: DynamoDBSource, stream: Scripted
) -> None:
    give_iterator(stream, "i-1", FROM_THE_BEGINNING)
    give_records(stream, "i-1", change(), NextShardIterator="i-2")
    stream.refuse("get_records", "ExpiredIteratorException")
    stream.refuse("get_shard_iterator", "TrimmedDataAccessException", BEHIND_ONE)
    give_iterator(stream, "i-3", FROM_THE_BEGINNING)
    give_records(stream, "i-3", NextShardIterator="i-4")
    reader = source.open(SHARD)
    assert [len(reader.read(1_000) or ()) for _ in range(3)] == [1, 0, 0]


def test_a_stream_that_is_gone_has_ended(source: DynamoDBSource, stream: Scripted) -> None:
    stream.refuse("get_shard_iterator", "ResourceNotFoundException")
    assert source.open(SHARD).read(1_000) is None
