"""A partition key is given to the shard that Kinesis would give it to."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from loadtest.producer.shards import ShardMap, hash_key

HALF = 2**127


def shard(shard_id: str, start: int, **numbers: str) -> dict[str, Any]:
    return {
        "ShardId": shard_id,
        "HashKeyRange": {"StartingHashKey": str(start)},
        "SequenceNumberRange": {"StartingSequenceNumber": "1", **numbers},
    }


def test_a_hash_key_is_the_keys_md5_as_one_number() -> None:
    assert hash_key("a") == 0x0CC175B9C0F1B6A831C399E269772661


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_key_belongs_to_the_shard_whose_range_holds_its_hash(partition_key: str) -> None:
    shards = ShardMap([shard("upper", HALF), shard("lower", 0)])
    assert shards.shard_of(partition_key) == ("upper" if hash_key(partition_key) >= HALF else "lower")


def test_a_closed_shard_takes_nothing() -> None:
    shards = ShardMap([shard("parent", 0, EndingSequenceNumber="9"), shard("lower", 0), shard("upper", HALF)])
    assert shards.ids == ("lower", "upper")
