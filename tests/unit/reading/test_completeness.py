from hypothesis import given
from hypothesis import strategies as st

from chalicelib.reading.completeness import complete_until
from chalicelib.reading.ports import ShardProgress
from chalicelib.records.shard import Shard


def opened(shard_id, *parents):
    return Shard(shard_id, is_open=True, parents=parents)


def closed(shard_id, *parents):
    return Shard(shard_id, is_open=False, parents=parents)


def complete(shards, **committed_until):
    return complete_until(shards, [ShardProgress(*each, at) for each, at in _numbered(committed_until)])


def _numbered(committed_until):
    return [((shard_id, "1"), at) for shard_id, at in committed_until.items()]


def test_the_shard_furthest_behind_decides():
    assert complete([opened("a"), opened("b")], a=20, b=10) == 10


def test_a_shard_that_nothing_is_known_of_makes_it_unknown():
    assert complete([opened("a"), opened("b")], a=20) is None
    assert complete([]) is None


def test_after_a_split_a_child_that_has_not_begun_stands_where_its_parent_stands():
    #  a ──┬── b  began, 30
    #      └── c  not begun
    split = [closed("a"), opened("b", "a"), opened("c", "a")]
    assert complete(split, a=10, b=30) == 10
    assert complete(split, a=10, b=30, c=40) == 30


def test_a_parent_is_done_when_its_children_have_begun():
    assert complete([closed("a"), opened("b", "a")], a=10, b=30) == 30


def test_after_a_merge_a_child_that_has_not_begun_stands_at_the_parent_furthest_behind():
    #  a ──┐
    #  b ──┴── c
    merge = [closed("a"), closed("b"), opened("c", "a", "b")]
    assert complete(merge, a=20, b=10) == 10
    assert complete(merge, a=20, b=10, c=30) == 30
    assert complete(merge, a=20) is None


def test_a_grandchild_asks_its_grandparents():
    #  a ── b (without progress) ── c
    assert complete([closed("a"), closed("b", "a"), opened("c", "b")], a=10) == 10


def test_a_parent_that_the_stream_has_forgotten_is_still_known_by_its_progress():
    assert complete([opened("b", "a")], a=10) == 10
    assert complete([opened("b", "a")]) is None


@given(st.dictionaries(st.sampled_from("abc"), st.integers(0, 99)), st.sampled_from("abc"), st.integers(0, 99))
def test_progress_never_takes_completeness_back(committed_until, shard_id, more):
    shards = [closed("a"), opened("b", "a"), opened("c", "a")]
    # A child begins behind its parent's end, and no shard goes back.
    further = committed_until | {shard_id: max(more, *committed_until.values(), 0)}
    before = complete(shards, **committed_until)
    after = complete(shards, **further)
    assert before is None or (after is not None and after >= before)
