from hashlib import md5

import pytest
from aws_kinesis_agg import MAGIC
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.records.kpl import (
    BrokenAggregateError,
    _message_classes,
    _parse_message,
    _read_columns,
    _read_one_by_one,
    deaggregate,
    is_aggregate,
)
from tests.builders import aggregated


def sealed(body: bytes) -> bytes:
    return MAGIC + body + md5(body, usedforsecurity=False).digest()


def not_utf8() -> bytes:
    """An aggregate whose partition key is a lone byte of UTF-8, which protobuf's Python takes only when parsing."""
    return sealed(message(keys=("k",))[len(MAGIC) : -16].replace(b"\n\x01k", b"\n\x01\xff"))


def message(*, keys=("k",), hash_keys=(), key_index=0, hash_key_index=None) -> bytes:
    message_class, _, _ = _message_classes()
    built = message_class(partition_key_table=keys, explicit_hash_key_table=hash_keys)
    added = built.records.add(partition_key_index=key_index, data=b"data")
    if hash_key_index is not None:
        added.explicit_hash_key_index = hash_key_index
    return sealed(built.SerializeToString())


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=20))
def test_an_aggregate_gives_back_its_user_records_in_order(payloads):
    data = aggregated(*payloads, partition_key="key")
    assert is_aggregate(data)
    aggregate = deaggregate(data)
    assert list(aggregate.payloads) == payloads
    assert {aggregate.partition_key(number) for number in range(len(payloads))} == {"key"}


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (aggregated(b"x")[:-1] + b"\x00", "digest"),
        (aggregated(b"x")[:-1], "digest"),
        (MAGIC, "digest"),
        (MAGIC + b"short", "digest"),
        (sealed(b"\xff\xff\xff"), "protobuf"),
        (sealed(b""), "no user record"),
        (message(key_index=1), "partition key index"),
        (message(keys=()), "partition key index"),
        (not_utf8(), "not UTF-8"),
        (message(hash_keys=("1",), hash_key_index=1), "explicit hash key index"),
        (message(hash_key_index=5), "explicit hash key index"),
    ],
)
def test_a_broken_aggregate_is_refused_whole_and_says_what_is_wrong(data, fault):
    with pytest.raises(BrokenAggregateError, match=fault):
        deaggregate(data)


def test_user_records_without_an_explicit_hash_key_need_no_table_of_them():
    assert list(deaggregate(message()).payloads) == [b"data"]


# ---- read as columns


def told(read, *given):
    """What of an aggregate anybody sees, or why it is refused."""
    try:
        aggregate = read(*given)
    except BrokenAggregateError as error:
        return str(error)
    keys = [aggregate.partition_key(number) for number in range(len(aggregate.payloads))]
    indexes = [each for each in aggregate.explicit_hash_key_indexes if each is not None]
    return list(aggregate.payloads), keys, indexes, list(aggregate.explicit_hash_keys)


def length(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data)]) + data


varints = st.sampled_from([b"\x00", b"\x01", b"\x02", b"\x81\x00"])  # the last is 1, longer than it has to be
parts_of_a_record = st.one_of(
    varints.map(lambda value: b"\x08" + value),  # partition_key_index
    varints.map(lambda value: b"\x08" + value),
    st.binary(max_size=3).map(lambda data: length(3, data)),  # data
    st.binary(max_size=3).map(lambda data: length(3, data)),
    varints.map(lambda value: b"\x10" + value),  # explicit_hash_key_index
    st.just(length(4, length(1, b"tag"))),
    st.just(length(9, b"unknown")),
    st.just(b"\x18\x07"),  # data that is a number
    st.sampled_from([b"", b"\x00", b"\x01", b"\x00\x01"]).map(lambda packed: length(1, packed)),  # indexes as a list …
    st.just(length(2, b"\x00")),  # … which the message does not know
)
sound_records = st.tuples(varints, st.binary(max_size=3)).map(lambda made: b"\x08" + made[0] + length(3, made[1]))
records = sound_records | st.lists(parts_of_a_record, max_size=4).map(b"".join)
parts_of_a_message = st.one_of(
    st.sampled_from([b"k", b"key", "é".encode(), b"\xc3", b"\xa9"]).map(lambda key: length(1, key)),
    st.sampled_from([b"k", b"key"]).map(lambda key: length(1, key)),
    records.map(lambda record: length(3, record)),
    sound_records.map(lambda record: length(3, record)),
    st.just(length(2, b"17")),
)


@given(st.lists(parts_of_a_message, max_size=8).map(b"".join))
def test_columns_tell_what_reading_one_by_one_tells(body):
    """Whatever is missing, repeated, unknown, out of order or longer than it has to be."""
    assert told(deaggregate, sealed(body)) == told(lambda: _read_one_by_one(_parse_message(body)))


def test_one_record_that_holds_anothers_data_too_is_not_read_as_columns():
    """Of both together there is as much as there are records."""
    body = length(1, b"k") + length(3, b"\x08\x00" + length(3, b"x") * 2) + length(3, b"\x08\x00")
    assert _read_columns(_parse_message(body), body) is None
    assert list(deaggregate(sealed(body)).payloads) == [b"x", b""]


def test_a_packed_list_of_indexes_is_none_of_the_records_own():
    """The message takes it for a field that it does not know; columns would take it for the indexes of both."""
    body = length(1, b"k") + length(1, b"other") + length(3, length(3, b"x") + length(1, b"\x00\x01"))
    body += length(3, length(3, b"y"))
    assert _read_columns(_parse_message(body), body) is None
    assert [deaggregate(sealed(body)).partition_key(number) for number in range(2)] == ["k", "k"]


def test_what_producers_make_is_read_as_columns():
    data = aggregated(b"a", b"b", partition_key="key")
    body = data[len(MAGIC) : -16]
    assert _read_columns(_parse_message(body), body)


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_magic_are_an_aggregate_or_broken(junk):
    try:
        deaggregate(MAGIC + junk)
    except BrokenAggregateError:
        return
