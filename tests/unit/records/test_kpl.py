from hashlib import md5

import pytest
from aws_kinesis_agg import MAGIC
from aws_kinesis_agg.messages_pb2 import AggregatedRecord
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.records.kpl import BrokenAggregateError, deaggregate, is_aggregate
from tests.builders import aggregated


def sealed(body: bytes) -> bytes:
    return MAGIC + body + md5(body, usedforsecurity=False).digest()


def not_utf8() -> bytes:
    """An aggregate whose partition key is a lone byte of UTF-8, which protobuf's Python takes only when parsing."""
    return sealed(message(keys=("k",))[len(MAGIC) : -16].replace(b"\n\x01k", b"\n\x01\xff"))


def message(*, keys=("k",), hash_keys=(), key_index=0, hash_key_index=None) -> bytes:
    built = AggregatedRecord(partition_key_table=keys, explicit_hash_key_table=hash_keys)
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


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_magic_are_an_aggregate_or_broken(junk):
    try:
        deaggregate(MAGIC + junk)
    except BrokenAggregateError:
        return
