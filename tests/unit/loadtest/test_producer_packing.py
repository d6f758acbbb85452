"""Events become records of the documented forms, and nothing of them changes on the way."""

import base64
import gzip
import os
from decimal import Decimal

import pytest
import zstandard
from aws_kinesis_agg.aggregator import AggRecord
from aws_kinesis_agg.deaggregator import deaggregate_records
from hypothesis import given
from hypothesis import strategies as st

from loadtest.producer import Encoding, Event, EventTooLargeError, PartitionKeyError, key_at, to_wire
from loadtest.producer.event import EVENT_BYTES_MAX, RECORD_BYTES_MAX
from loadtest.producer.packing import PACK_BYTES_MAX, PACK_EVENTS_MAX, Pack, encode_record

one_line = st.binary(max_size=200).map(lambda data: data.replace(b"\n", b""))
partition_keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=256)
events = st.builds(Event, partition_keys, one_line)


@given(st.lists(events, min_size=2, max_size=20))
def test_an_aggregate_decodes_to_exactly_its_events(sent: list[Event]) -> None:
    record = encode_record(sent, Encoding.AGGREGATE)
    wrapped = {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "sequenceNumber": "1",
            "approximateArrivalTimestamp": 0,
            "partitionKey": record.partition_key,
            "data": base64.b64encode(record.data),
        }
    }
    user_records = [user_record["kinesis"] for user_record in deaggregate_records([wrapped])]
    assert [Event(user["partitionKey"], base64.b64decode(user["data"])) for user in user_records] == sent


@given(st.lists(events, min_size=2, max_size=20))
def test_an_aggregate_is_to_the_byte_what_the_libraries_aggregator_makes(sent: list[Event]) -> None:
    aggregate = AggRecord()
    for event in sent:
        aggregate.add_user_record(event.partition_key, event.data)
    assert encode_record(sent, Encoding.AGGREGATE).data == aggregate.get_contents()[2]


@given(st.lists(events, min_size=1, max_size=20))
def test_compressed_events_are_json_lines(sent: list[Event]) -> None:
    lines = b"\n".join(event.data for event in sent)
    assert gzip.decompress(encode_record(sent, Encoding.GZIP).data) == lines
    assert zstandard.decompress(encode_record(sent, Encoding.ZSTD).data) == lines


@pytest.mark.parametrize("encoding", [Encoding.PLAIN, Encoding.AGGREGATE])
def test_a_lone_event_travels_as_it_is(encoding: Encoding) -> None:
    assert encode_record([Event("user", b"{}")], encoding).data == b"{}"


def test_the_same_events_make_the_same_bytes() -> None:
    sent = [Event("user", b"{}"), Event("other", b"{}")]
    for encoding in (Encoding.GZIP, Encoding.ZSTD, Encoding.AGGREGATE):
        assert encode_record(sent, encoding) == encode_record(sent, encoding)


@given(st.lists(st.builds(Event, partition_keys, st.integers(0, 30_000).map(bytes)), min_size=2, max_size=12))
def test_a_pack_keeps_its_aggregate_within_the_limit(offered: list[Event]) -> None:
    pack = Pack(offered[0])
    for event in offered[1:]:
        if pack.fits(event):
            pack.add(event)
    assert len(encode_record(pack.events, Encoding.AGGREGATE).data) <= PACK_BYTES_MAX + 20  # magic and MD5


def test_a_pack_is_full_at_its_count() -> None:
    pack = Pack(Event("user", b""))
    while pack.fits(Event("user", b"")):
        pack.add(Event("user", b""))
    assert len(pack.events) == PACK_EVENTS_MAX


@pytest.mark.parametrize("encoding", list(Encoding))
def test_the_largest_event_fits_in_every_encoding(encoding: Encoding) -> None:
    incompressible = Event("😀" * 256, os.urandom(EVENT_BYTES_MAX).replace(b"\n", b" "))
    assert encode_record([incompressible], encoding).size_bytes <= RECORD_BYTES_MAX


def test_a_larger_event_is_refused_by_name() -> None:
    with pytest.raises(EventTooLargeError, match="1046529 bytes, 1046528 is the most"):
        Event("user", bytes(EVENT_BYTES_MAX + 1))


@pytest.mark.parametrize("partition_key", ["", "k" * 257])
def test_a_partition_key_that_kinesis_would_refuse_is_refused(partition_key: str) -> None:
    with pytest.raises(PartitionKeyError):
        Event(partition_key, b"{}")


@pytest.mark.parametrize(
    ("event", "partition_key"),
    [
        ({"data": {"user_id": "00007"}, "subject": "other"}, "00007"),
        ({"data": {"user_id": 7}}, "7"),
        ({"data": {"user_id": None}, "subject": "order-1"}, "order-1"),
        ({"data": "text", "subject": "order-1"}, "order-1"),
    ],
)
def test_the_key_is_what_stands_at_the_path_else_the_subject(event: dict[str, object], partition_key: str) -> None:
    assert key_at("data.user_id")(event) == partition_key


def test_an_event_without_a_key_is_refused() -> None:
    with pytest.raises(PartitionKeyError, match=r"neither data\.user_id nor a subject"):
        key_at("data.user_id")({"data": {"user_id": True}})


def test_decimals_keep_their_digits_on_the_wire() -> None:
    amounts = [Decimal("12.00"), Decimal("0.1"), Decimal("1E+3"), Decimal("12345678901234567890.123456789")]
    assert to_wire({"amounts": amounts}) == b'{"amounts":[12.00,0.1,1000,12345678901234567890.123456789]}'


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError):
        to_wire({"amount": Decimal("NaN")})


def test_no_repr_shows_what_a_customer_sent() -> None:
    event = Event("customer-key", b"customer-data")
    assert "customer" not in repr(event) + repr(encode_record([event], Encoding.PLAIN))
