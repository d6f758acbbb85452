"""Shards that were split and merged, and the event that delivers records."""

from localstage.source import EncodedRecord, Shard, event_of, startable


def shard(name: str, *parents: str) -> Shard:
    return Shard(name, frozenset(parents))


#   a ──┬── b ──┐
#       └── c ──┴── d
RESHARDED = [shard("a"), shard("b", "a"), shard("c", "a"), shard("d", "b", "c")]


def test_children_begin_when_their_parents_are_drained() -> None:
    assert startable(RESHARDED, started=set(), drained=set()) == [shard("a")]
    assert startable(RESHARDED, started={"a"}, drained=set()) == []
    assert startable(RESHARDED, started={"a"}, drained={"a"}) == [shard("b", "a"), shard("c", "a")]


def test_a_merged_shard_waits_for_both_its_parents() -> None:
    begun = {"a", "b", "c"}
    assert startable(RESHARDED, started=begun, drained={"a", "b"}) == []
    assert startable(RESHARDED, started=begun, drained=begun) == [shard("d", "b", "c")]


def test_a_parent_that_is_listed_no_more_holds_nobody_up() -> None:
    assert startable([shard("b", "a")], started=set(), drained=set()) == [shard("b", "a")]


def test_an_event_is_the_records_as_they_were_encoded() -> None:
    records = [EncodedRecord("0001", 1_000, b'{"a":1}'), EncodedRecord("0002", 2_500, b'{"b":2}')]
    assert event_of(records) == b'{"Records":[{"a":1},{"b":2}]}'
