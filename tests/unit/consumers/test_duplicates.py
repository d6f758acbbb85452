"""Events that come again: a letter is an event, the same letter again is the same event sent again.

shard   a  b | a  c        one batch a, b; then one with a again
"""

from hashlib import md5

import pytest

from chalicelib.errors import CorruptIdLogError
from chalicelib.records.rejection import Reason
from chalicelib.records.shard import Shard
from tests.builders import NOON_MS, SHARD, STREAM, aggregated, gzipped, json_line, json_lines, lambda_event, order
from tests.simulation import wire
from tests.unit.consumers.ingest_world import HORIZON_MS, World, events, orders, plenty, total

a, b, c, d = orders(1, 2, 3, 4)
other_a = json_line(order(1, amount=99))
CHILD, SIBLING = "shardId-000000000001", "shardId-000000000002"


def reasons(world):
    return [piece.refusal.reason for pieces in world.dead_letters.objects.values() for piece in pieces]


@pytest.mark.parametrize("is_cold", [False, True])
def test_an_event_that_comes_again_is_counted_once(is_cold):
    world = World()
    container = world.container()
    container(events(a, b), plenty)
    report = (world.container() if is_cold else container)(events(a, c, first=3), plenty)
    assert (report.events, report.duplicates) == (1, 1)
    assert total(world) == total(world, "customers") == 3
    assert reasons(world) == []


def test_an_event_that_comes_again_in_its_own_batch_or_aggregate_is_counted_once():
    world = World()
    report = world.container()(events(a, aggregated(b, a, b), gzipped(json_lines(order(3), order(1)))), plenty)
    assert (report.events, report.duplicates, total(world)) == (3, 3, 3)


def test_the_same_id_with_other_content_is_a_dead_letter_and_the_first_counts():
    world = World()
    world.container()(events(a), plenty)
    report = world.container()(events(aggregated(b, other_a), first=2), plenty)
    assert report.dead_letters == {Reason.CONFLICTING_DUPLICATE: 1}
    ((piece,),) = world.dead_letters.objects.values()
    assert (piece.data, piece.sub_sequence_number, piece.partition_key) == (other_a, 1, "ada")
    assert total(world) == 2


def test_the_same_id_of_another_source_is_another_event():
    world = World()
    world.container()(events(a, json_line({**order(1), "source": "/elsewhere"})), plenty)
    assert total(world) == 2


def test_only_what_was_counted_is_remembered_so_a_corrected_event_counts():
    world = World()
    world.container()(events(json_line(order(1, amount=0)), a), plenty)
    assert (total(world), reasons(world)) == (1, [Reason.INVALID])


@pytest.mark.parametrize(("later_ms", "counted"), [(HORIZON_MS, 1), (HORIZON_MS + 1, 2)])
@pytest.mark.parametrize("is_cold", [False, True])
def test_the_horizon_is_arrival_time(later_ms, counted, is_cold):
    world = World()
    container = world.container()
    container(events(a), plenty)
    again = lambda_event([b, a], first=2, arrived_at_ms=NOON_MS + later_ms)
    (world.container() if is_cold else container)(again, plenty)
    assert total(world) == counted + 1


@pytest.mark.parametrize(("between", "counted"), [(2, 1), (3, 2)])
@pytest.mark.parametrize("is_cold", [False, True])
def test_a_shard_looks_back_on_so_many_ids_and_no_more(between, counted, is_cold):
    world = World(ids_max=3)
    container = world.container()
    container(events(a), plenty)
    for number in range(between):
        container(events(*orders(10 + number), first=2 + number), plenty)
    report = (world.container() if is_cold else container)(events(a, first=9), plenty)
    assert total(world) == between + counted
    assert report.ids_held <= 4


def test_a_batch_that_comes_again_finds_itself_in_the_log_and_is_no_duplicate_of_itself():
    world = World()
    container = world.container()
    world.aggregates.after_put = lambda put: put.key.metric == "customers" and "ReadTimeoutError"
    container(events(a, b, a), plenty)  # `orders` is put and its answer is heard, `customers` is not
    world.aggregates.after_put = lambda put: None
    for again in (container, world.container()):
        assert again(events(a, b, a), plenty).duplicates == 1
    assert total(world) == total(world, "customers") == 2


def test_a_log_that_could_not_be_stored_acknowledges_nothing():
    world = World()
    world.ids.refuses = True
    report = world.container()(events(a, b), plenty)
    assert report.response == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    world.ids.refuses = False
    assert world.container()(events(a, b, a), plenty).response == {"batchItemFailures": []}
    assert total(world) == 2


def test_the_log_holds_nothing_beyond_what_is_acknowledged():
    # r1, r2 | r3 is poison whose dead letter cannot be stored: the next batch begins with it, and must find r1 and r2
    world = World()
    world.dead_letters.refused = {"3"}
    container = world.container()
    assert container(events(a, b, b"poison", c), plenty).response == {"batchItemFailures": [{"itemIdentifier": "3"}]}
    world.dead_letters.refused = set()
    world.container()(events(b"poison", c, a, b, first=3), plenty)
    assert total(world) == 3


def test_what_another_container_has_counted_meanwhile_is_known():
    world = World()
    first, second = world.container(), world.container()
    first(events(a), plenty)
    second(events(b, first=2), plenty)
    assert first(events(b, a, first=3), plenty).duplicates == 2


def test_a_replay_from_the_midst_of_a_batch_decides_as_the_first_reading_did():
    # first reading: a b | then a again in the batch's midst; the replay begins there, and its batches are others
    for container_of in (lambda world, warm: world.container(), lambda world, warm: warm):
        world = World()
        warm = world.container()
        warm(events(a, b, a, c), plenty)
        warm(events(d, first=5), plenty)
        before = world.counted()
        for batch in (events(a, c, first=3), events(c, first=4), events(d, b, first=5)):
            container_of(world, warm)(batch, plenty)
        assert world.counted() == before


def test_a_warm_container_judges_old_batches_by_what_came_before_them():
    # `a` is counted, and beyond the horizon once more with other content: neither is a duplicate of the other
    world = World()
    container = world.container()
    batches = [
        lambda_event([payload], first=first, arrived_at_ms=NOON_MS + (first - 1) * (HORIZON_MS + 1))
        for first, payload in ((1, a), (2, other_a))
    ]
    for batch in [*batches, *batches]:
        assert container(batch, plenty).duplicates == 0
    assert (total(world), reasons(world)) == (2, [])


def test_an_id_of_64_kb_counts_like_any_other_and_is_never_stored():
    world = World()
    huge = json_line({**order(1), "id": "x" * 65_536})
    assert world.container()(events(huge, huge), plenty).duplicates == 1
    assert total(world) == 1
    assert sum(len(packed) for _, packed in world.ids.items.values()) < 200


def test_a_corrupt_log_stops_the_shard_loudly():
    world = World()
    world.container()(events(a), plenty)
    ((key, (first, packed)),) = world.ids.items.items()
    world.ids.items[key] = (first, packed[:-1])
    with pytest.raises(CorruptIdLogError):
        world.container()(events(b, first=2), plenty)
    assert total(world) == 1


# ── after a reshard ──


def on(shard, *payloads, first, **more):
    return lambda_event(list(payloads), first=first, shard=shard, **more)


def split_world():
    half = 2**127
    return World(
        Shard(SHARD, is_open=False),
        Shard(CHILD, is_open=True, parents=(SHARD,), ending_hash_key=str(half - 1)),
        Shard(SIBLING, is_open=True, parents=(SHARD,), starting_hash_key=str(half)),
    )


def test_a_child_knows_what_its_parent_has_counted():
    world = split_world()
    world.container()(on(SHARD, a, b, first=1), plenty)
    report = world.container()(on(CHILD, a, c, first=10), plenty)
    assert (report.duplicates, total(world)) == (1, 3)
    assert world.container()(on(SIBLING, b, c, first=10), plenty).duplicates == 1  # c is of the other child


def test_a_merged_shard_knows_what_both_its_parents_and_theirs_have_counted():
    grandchild = "shardId-000000000003"
    world = split_world()
    world.shards.shards.append(Shard(grandchild, is_open=True, parents=(CHILD, SIBLING)))
    for shard, payload, first in ((SHARD, a, 1), (CHILD, b, 10), (SIBLING, c, 11)):
        world.container()(on(shard, payload, first=first), plenty)
    report = world.container()(on(grandchild, a, b, c, d, first=20), plenty)
    assert (report.duplicates, total(world)) == (3, 4)


def test_a_shard_that_the_stream_does_not_list_waits():
    world = World(Shard(SHARD, is_open=True))
    report = world.container()(on(CHILD, a, first=1), plenty)
    assert report.response == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert report.errors == {"shard is not listed": 1}


LOW, HIGH = "linus", "ada"  # by their MD5: the one belongs to CHILD, the other to SIBLING


def test_the_keys_of_these_tests_lie_as_they_say():
    hashes = [int.from_bytes(md5(key.encode(), usedforsecurity=False).digest()) for key in (LOW, HIGH)]
    assert hashes[0] < 2**127 <= hashes[1]


AGGREGATE = wire.aggregated([(LOW, None, a), (HIGH, None, b), (HIGH, 5, c), (LOW, 2**127, b"poison")])


@pytest.mark.parametrize(
    ("shard", "partition_key", "counted", "misplaced", "poison"),
    [
        (CHILD, "a", 2, 2, 0),  # what belongs to the sibling, the KPL sends there
        (SIBLING, "a", 1, 2, 1),
        (CHILD, "ada", 3, 0, 1),  # another aggregator sends nothing again
        (SHARD, "a", 3, 0, 1),  # a shard without parents was never meant to be another
    ],
)
def test_user_records_that_the_kpl_sends_again_elsewhere_are_dropped(shard, partition_key, counted, misplaced, poison):
    world = split_world()
    batch = on(shard, AGGREGATE, first=20, partition_key=partition_key)
    report = world.container()(batch, plenty)
    assert (report.events, report.misplaced, len(reasons(world))) == (counted, misplaced, poison)
    assert total(world) == counted


def test_an_aggregate_wholly_misplaced_is_progress():
    world = split_world()
    report = world.container()(on(CHILD, wire.aggregated([(HIGH, None, a)]), first=20, partition_key="a"), plenty)
    assert (report.misplaced, report.response) == (1, {"batchItemFailures": []})
    assert world.progress == {CHILD: "20"}


def test_the_writer_of_each_log_is_its_shard():
    world = split_world()
    world.container()(on(CHILD, a, first=20), plenty)
    assert {writer for writer, _, _ in world.ids.items} == {f"{STREAM}/{CHILD}"}
