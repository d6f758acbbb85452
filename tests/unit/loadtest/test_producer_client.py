"""Every event that is put is accepted, or handed back; what shares a record shares a shard; a key's order is kept."""

import base64
import gzip
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import zstandard
from aws_kinesis_agg import MAGIC
from aws_kinesis_agg.deaggregator import iter_deaggregate_records
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.producer import Encoding, Event, EventTooLargeError, Producer, Retry, UnacceptedError

THROTTLED = "ProvisionedThroughputExceededException"
AT_ONCE = Retry(attempts_max=4, sleep=lambda seconds: None)

encodings = st.sampled_from(Encoding)


def numbered(number: int, user: str = "user") -> Event:
    return Event(user, b'{"n":%d}' % number)


def events_in(entry: Mapping[str, Any]) -> list[bytes]:
    """What a consumer reads from a record."""
    data: bytes = entry["Data"]
    if data.startswith(MAGIC):
        boto3_record = {**entry, "SequenceNumber": "1", "ApproximateArrivalTimestamp": 0}
        user_records = iter_deaggregate_records([boto3_record], data_format="Boto3")
        return [base64.b64decode(user_record["kinesis"]["data"]) for user_record in user_records]
    if data.startswith(b"\x1f\x8b"):
        return gzip.decompress(data).split(b"\n")
    if data.startswith(b"\x28\xb5\x2f\xfd"):
        return zstandard.decompress(data).split(b"\n")
    return [data]


def events_on(stream: Any) -> list[bytes]:
    return [data for records in stream.records.values() for entry in records for data in events_in(entry)]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 30).map(str), encodings)), st.integers(1, 9))
def test_what_was_put_in_mixed_encodings_is_what_arrives(
    kinesis: Any, puts: list[tuple[str, Encoding]], shards: int
) -> None:
    stream = kinesis(shards)
    with Producer(stream, "events") as producer:
        for number, (user, encoding) in enumerate(puts):
            producer.put_event(numbered(number, user), encoding)
    assert sorted(events_on(stream)) == sorted(numbered(number).data for number in range(len(puts)))
    assert producer.receipt.events == len(puts)
    assert producer.receipt.last_sequence_numbers == {
        shard_id: f"{len(records):06d}" for shard_id, records in stream.records.items()
    }


@pytest.mark.parametrize("encoding", [Encoding.AGGREGATE, Encoding.GZIP, Encoding.ZSTD])
def test_events_that_share_a_record_hash_into_one_shard(kinesis: Any, encoding: Encoding) -> None:
    stream = kinesis(7)
    users = {numbered(number).data: f"user-{number}" for number in range(3_000)}
    with Producer(stream, "events", encoding=encoding) as producer:
        for data, user in users.items():
            producer.put_event(Event(user, data))
    assert sorted(events_on(stream)) == sorted(users)
    assert producer.receipt.records < 50
    for shard_id, records in stream.records.items():
        assert {stream.shard_of(users[data]) for entry in records for data in events_in(entry)} == {shard_id}


def test_a_keys_events_arrive_in_the_order_they_were_put(kinesis: Any) -> None:
    stream = kinesis(5)
    with Producer(stream, "events", requests_at_once=3) as producer:
        for number in range(6_000):
            producer.put_event(numbered(number, f"user-{number % 100}"))
    for records in stream.records.values():
        by_user: dict[str, list[int]] = {}
        for entry in records:
            by_user.setdefault(entry["PartitionKey"], []).append(int(entry["Data"][5:-1]))
        assert all(numbers == sorted(numbers) for numbers in by_user.values())


def test_large_events_split_requests_by_their_bytes(kinesis: Any) -> None:
    stream = kinesis()
    with Producer(stream, "events") as producer:
        for _ in range(12):
            producer.put_event(Event("user", bytes(1_000_000)))
        assert stream.requests, "12 MB wait in memory for a request to have 500 records"
    assert [len(request) for request in stream.requests] == [5, 5, 2]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 30).map(str), encodings)), st.integers(0, 2**32), st.floats(0, 1))
def test_an_event_is_accepted_or_handed_back(
    kinesis: Any, puts: list[tuple[str, Encoding]], seed: int, refused_share: float
) -> None:
    chance = random.Random(seed)
    stream = kinesis(3, lambda request, entry: THROTTLED if chance.random() < refused_share else None)
    handed_back: list[bytes] = []
    with Producer(stream, "events", retry=AT_ONCE) as producer:
        for number, (user, encoding) in enumerate(puts):
            producer.put_event(numbered(number, user), encoding)
        try:
            producer.flush()
        except UnacceptedError as error:
            handed_back = [event.data for event in error.events]
    assert Counter(events_on(stream) + handed_back) == Counter(numbered(number).data for number in range(len(puts)))
    assert producer.receipt.events == len(puts) - len(handed_back)


def test_an_error_amid_puts_carries_what_was_waiting_too(kinesis: Any) -> None:
    stream = kinesis(4, refuse=lambda request, entry: THROTTLED)
    taken = [numbered(0, "packed")]

    def put_until_it_fails(producer: Producer) -> None:
        producer.put_event(taken[0], Encoding.AGGREGATE)
        for number in range(1, 100_000):
            taken.append(numbered(number, f"user-{number}"))
            producer.put_event(taken[-1])

    with Producer(stream, "events", retry=AT_ONCE) as producer, pytest.raises(UnacceptedError) as raised:
        put_until_it_fails(producer)
    assert len(taken) < 10_000
    assert Counter(raised.value.events) == Counter(taken)
    assert raised.value.reasons == {THROTTLED}


def test_events_handed_back_can_be_put_again(kinesis: Any) -> None:
    stream = kinesis(refuse=lambda request, entry: THROTTLED)
    with Producer(stream, "events", retry=AT_ONCE) as producer:
        producer.put_event(numbered(1))
        with pytest.raises(UnacceptedError, match=f"^1 events were not accepted: {THROTTLED}$") as raised:
            producer.flush()
        stream.refuse = lambda request, entry: None
        for event in raised.value.events:
            producer.put_event(event)
    assert events_on(stream) == [numbered(1).data]


def test_a_producer_learns_of_a_reshard_from_where_its_records_went(kinesis: Any) -> None:
    stream = kinesis(1)
    with Producer(stream, "events", encoding=Encoding.AGGREGATE) as producer:
        producer.put_event(numbered(0, "user-0"))
        stream.reshard(4)
        producer.flush()
        stream.records.clear()
        users = {numbered(number).data: f"user-{number}" for number in range(400)}
        for data, user in users.items():
            producer.put_event(Event(user, data))
    assert len(stream.records) == 4
    for shard_id, records in stream.records.items():
        assert {stream.shard_of(users[data]) for entry in records for data in events_in(entry)} == {shard_id}


def test_only_what_was_in_flight_when_the_stream_was_split_lies_beside_a_neighbours_events(kinesis: Any) -> None:
    stream = kinesis(1)
    users = {bytes([number % 256]) * 10_000 + b"%d" % number: f"user-{number}" for number in range(2_000)}
    with Producer(stream, "events", encoding=Encoding.AGGREGATE, requests_at_once=1) as producer:
        for number, (data, user) in enumerate(users.items()):
            producer.put_event(Event(user, data))
            if number == 100:
                assert not stream.requests
                stream.reshard(2)
    assert Counter(events_on(stream)) == Counter(list(users))
    beside_a_neighbours = {
        entry["Data"]
        for shard_id, records in stream.records.items()
        for entry in records
        if {stream.shard_of(users[data]) for data in events_in(entry)} != {shard_id}
    }
    assert beside_a_neighbours
    assert beside_a_neighbours <= set(stream.requests[0])
    assert len(stream.requests) > 3


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 30).map(str), encodings)), st.integers(0, 2**32), st.floats(0, 1))
def test_a_reshard_at_any_moment_loses_and_doubles_nothing(
    kinesis: Any, puts: list[tuple[str, Encoding]], seed: int, share: float
) -> None:
    chance = random.Random(seed)

    def reshard_or_refuse(request: int, entry: Mapping[str, Any]) -> str | None:
        if chance.random() < share:
            stream.reshard(chance.randint(1, 5))
        return THROTTLED if chance.random() < share / 4 else None

    stream = kinesis(2, reshard_or_refuse)
    handed_back: list[bytes] = []
    with Producer(stream, "events", retry=AT_ONCE) as producer:
        for number, (user, encoding) in enumerate(puts):
            producer.put_event(numbered(number, user), encoding)
            if chance.random() < share:
                with suppress_unaccepted(handed_back):
                    producer.flush()
        with suppress_unaccepted(handed_back):
            producer.flush()
    assert Counter(events_on(stream) + handed_back) == Counter(numbered(number).data for number in range(len(puts)))


@contextmanager
def suppress_unaccepted(handed_back: list[bytes]) -> Iterator[None]:
    try:
        yield
    except UnacceptedError as error:
        handed_back += [event.data for event in error.events]


def test_a_keys_events_keep_their_order_through_a_reshard(kinesis: Any) -> None:
    def reshard_now_and_then(request: int, entry: Mapping[str, Any]) -> str | None:
        if request in (2, 5) and entry["Data"] == stream.requests[-1][100]:
            stream.reshard(request)

    stream = kinesis(3, reshard_now_and_then)
    with Producer(stream, "events", requests_at_once=3) as producer:
        for number in range(6_000):
            producer.put_event(numbered(number, f"user-{number % 100}"))
    by_user: dict[int, list[int]] = {}
    for number in (int(data[5:-1]) for request in stream.requests for data in request):
        by_user.setdefault(number % 100, []).append(number)
    assert sum(map(len, by_user.values())) == 6_000
    assert all(numbers == sorted(numbers) for numbers in by_user.values())


def list_nothing(**request: Any) -> Mapping[str, Any]:
    raise ClientError({"Error": {"Code": "LimitExceededException", "Message": ""}}, "ListShards")


def test_an_event_is_not_taken_while_the_shards_cannot_be_asked_for_again(kinesis: Any) -> None:
    stream = kinesis(1)
    list_shards = stream.list_shards
    with Producer(stream, "events", encoding=Encoding.GZIP) as producer:
        stream.reshard(2)
        producer.put_event(numbered(1))
        producer.flush()
        stream.list_shards = list_nothing
        with pytest.raises(ClientError):
            producer.put_event(numbered(2))
        stream.list_shards = list_shards
        producer.put_event(numbered(3))
    assert sorted(events_on(stream)) == [numbered(1).data, numbered(3).data]


def test_what_waits_is_handed_back_when_the_shards_cannot_be_asked_for_again(kinesis: Any) -> None:
    stream = kinesis(1)
    list_shards = stream.list_shards
    events = [Event("user", bytes([number]) * 1_000_000) for number in range(6)]  # a request, and one that waits
    with Producer(stream, "events") as producer:
        stream.reshard(2)
        stream.list_shards = list_nothing
        for event in events:
            producer.put_event(event)
        with pytest.raises(UnacceptedError, match=r"^1 events were not accepted: LimitExceededException$") as raised:
            producer.flush()
        stream.list_shards = list_shards
        for event in raised.value.events:
            producer.put_event(event)
    assert Counter(events_on(stream)) == Counter(event.data for event in events)


def test_an_event_too_large_leaves_the_others_alone(kinesis: Any) -> None:
    stream = kinesis()
    with Producer(stream, "events") as producer:
        producer.put({"subject": "user", "n": 1})
        with pytest.raises(EventTooLargeError):
            producer.put({"subject": "user", "text": "x" * 1_100_000})
    assert events_on(stream) == [b'{"subject":"user","n":1}']


def test_what_was_put_is_sent_even_when_the_block_fails(kinesis: Any) -> None:
    stream = kinesis()

    def put_one_and_fail() -> None:
        with Producer(stream, "events") as producer:
            producer.put_event(numbered(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        put_one_and_fail()
    assert events_on(stream) == [numbered(1).data]
