"""Ingest on stores in memory. A record is one letter of the stream; faults stand between the calls they hit."""

import gc
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aggregates.partial import Partial, PartialKey
from chalicelib.consumers import fold
from chalicelib.consumers.cache import GROUP_BYTES, PartialCache
from chalicelib.consumers.fold import BatchFold
from chalicelib.records.rejection import Reason
from tests.builders import NOON_MS, SHARD, STREAM, aggregated, json_line, lambda_event, order
from tests.unit.consumers.ingest_world import POISON, World, events, orders, plenty, total


def test_a_batch_is_counted_in_every_metric_and_the_progress_stored():
    world = World()
    report = world.container()(events(*orders(1, 2), aggregated(*orders(3, 4))), plenty)
    assert report.response == {"batchItemFailures": []}
    assert (report.records, report.events) == (3, 4)
    for metric in ("orders", "customers"):
        assert (total(world, metric), total(world, metric, "sum")) == (4, Decimal(50))
    assert world.progress == {SHARD: "3"}


def test_a_batch_of_nothing_by_which_a_release_is_tried_stores_nothing():
    world = World()
    assert world.container()({"Records": []}, plenty).response == {"batchItemFailures": []}
    assert (world.aggregates.puts, world.progress, world.dead_letters.objects) == (0, {}, {})


def test_what_cannot_be_counted_is_kept_with_its_reason_and_stops_nothing():
    world = World()
    report = world.container()(events(POISON, *orders(2), aggregated(*orders(3), POISON)), plenty)
    assert report.response == {"batchItemFailures": []}
    assert report.dead_letters == {Reason.MALFORMED: 2}
    assert total(world) == 2
    assert sorted(key[2] for key in world.dead_letters.objects) == ["1", "3"]


def test_a_warm_container_adds_a_replayed_batch_nothing_and_puts_nothing():
    world = World()
    container = world.container()
    container(events(*orders(1, 2)), plenty)
    puts = world.aggregates.puts
    assert container(events(*orders(1, 2)), plenty).response == {"batchItemFailures": []}
    assert (total(world), world.aggregates.puts) == (2, puts)


def test_a_cold_container_rebases_on_what_stands_and_adds_only_what_is_beyond():
    world = World()
    world.container()(events(*orders(1, 2)), plenty)
    report = world.container()(events(*orders(1, 2, 3)), plenty)
    assert report.rebases == 2
    assert total(world) == 3


def test_a_batch_cut_anew_adds_nothing_twice():
    world = World()
    for first, numbers in ((1, [1, 2, 3]), (1, [1]), (2, [2, 3, 4]), (3, [3, 4, 5, 6]), (2, [2])):
        world.container()(events(*orders(*numbers), first=first), plenty)
    assert total(world) == 6
    assert world.progress == {SHARD: "6"}


def test_the_first_record_of_a_partial_that_was_not_stored_is_the_checkpoint():
    world = World()
    # r1, r2 in 11:58; r3 in 11:59, whose partial cannot be put; r4 in 11:58
    at = ["2026-11-24T11:58:00Z", "2026-11-24T11:58:01Z", "2026-11-24T11:59:00Z", "2026-11-24T11:58:02Z"]
    payloads = [json_line(order(number, time=time)) for number, time in enumerate(at, 1)]
    world.aggregates.before_put = lambda put: put.key.window_start_ms == NOON_MS - 60_000 and "ThrottlingException"
    container = world.container()
    report = container(events(*payloads), plenty)
    assert report.response == {"batchItemFailures": [{"itemIdentifier": "3"}]}
    assert report.errors["ThrottlingException"] == 2
    assert world.progress == {SHARD: "2"}

    world.aggregates.before_put = lambda put: None
    assert container(events(*payloads[2:], first=3), plenty).response == {"batchItemFailures": []}
    assert total(world) == total(world, "customers") == 4  # r4 was put beyond the checkpoint, and fenced by its own


def test_a_put_that_took_effect_and_seemed_to_fail_is_counted_once():
    world = World()
    world.aggregates.after_put = lambda put: "ReadTimeoutError"
    container = world.container()
    assert container(events(*orders(1, 2)), plenty).response == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    world.aggregates.after_put = lambda put: None
    container(events(*orders(1, 2)), plenty)
    assert total(world) == 2


def test_a_late_put_of_a_dying_invocation_takes_no_effect():
    world = World()
    late = []
    world.aggregates.before_put = lambda put: late.append(put) or "Killed"
    world.container()(events(*orders(1, 2)), plenty)
    world.aggregates.before_put = lambda put: None
    world.container()(events(*orders(1, 2, 3)), plenty)
    before = dict(world.aggregates.partials)
    world.aggregates.put_partials(late, 1)
    assert world.aggregates.partials == before
    assert total(world) == 3


def test_two_invocations_of_one_batch_at_once_count_it_once():
    world = World()
    first, second = world.container(), world.container()

    def let_the_other_in(put):
        world.aggregates.before_put = lambda put: None
        second(events(*orders(1, 2)), plenty)

    world.aggregates.before_put = let_the_other_in
    first(events(*orders(1, 2, 3)), plenty)
    assert total(world) == total(world, "customers") == 3


def test_out_of_time_nothing_is_put_and_everything_comes_again():
    world = World()
    container = world.container()
    assert container(events(POISON, *orders(2)), lambda: 1_500).response == {
        "batchItemFailures": [{"itemIdentifier": "1"}]
    }
    assert not world.aggregates.partials
    assert not world.progress


def test_a_record_is_not_acknowledged_before_its_dead_letter_is_stored():
    world = World()
    world.dead_letters.refused = {"2"}
    report = world.container()(events(*orders(1), POISON, *orders(3)), plenty)
    assert report.response == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert report.dead_letters == {}
    assert world.progress == {SHARD: "1"}


def test_a_flood_of_poison_does_not_keep_the_rest_from_being_counted():
    world = World()
    world.dead_letters.refused = {str(number) for number in range(1, 100)}  # as if each took longer than there is time
    report = world.container()(events(*[POISON] * 50, *orders(1)), plenty)
    assert report.response == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert report.errors == {"SlowDown": 50}
    assert total(world) == 1


def test_a_container_that_learned_what_stands_puts_nothing_when_the_batch_comes_again():
    world = World()
    world.container()(events(*orders(1, 2)), plenty)
    container = world.container()
    container(events(*orders(1, 2)), plenty)
    puts = world.aggregates.puts
    container(events(*orders(1, 2)), plenty)
    assert world.aggregates.puts == puts


exact_fold = fold.fold


def test_a_batch_cut_anew_across_many_windows_is_folded_once_and_not_once_a_window(monkeypatch):
    # 60 windows, each put by a batch of its own, so each with a checkpoint of its own; then all in one cold batch
    world = World()
    payloads = [json_line(order(n, time=f"2026-11-24T11:{n:02d}:00Z")) for n in range(60)]
    for number, payload in enumerate(payloads, 1):
        world.container()(events(payload, first=number), plenty)
    folds = []
    monkeypatch.setattr(fold, "fold", lambda *args: folds.append(1) or exact_fold(*args))
    more = [json_line(order(100 + n, time=f"2026-11-24T11:{n:02d}:30Z")) for n in range(60)]
    assert world.container()(events(*payloads, *more), plenty).rebases > 60
    assert total(world) == 120
    assert len(folds) <= 2 * (1 + 120)  # two metrics: the batch whole, and each of its records


def test_a_batch_whose_progress_could_not_be_stored_brings_its_last_record_again():
    world = World()
    world.aggregates.refuse_progress = True
    report = world.container()(events(*orders(1, 2)), plenty)
    assert report.response == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    world.aggregates.refuse_progress = False
    world.container()(events(*orders(2), first=2), plenty)
    assert (total(world), world.progress) == (2, {SHARD: "2"})


def test_a_batch_of_nothing_countable_is_progress_too():
    world = World()
    world.container()(events(POISON), plenty)
    assert world.progress == {SHARD: "1"}
    assert not world.aggregates.partials


def test_each_shard_writes_its_own_partials():
    world = World()
    container = world.container()
    for shard in (SHARD, "shardId-000000000001"):
        container(lambda_event(orders(1, 2), shard=shard), plenty)
    assert total(world) == 4
    assert {key.writer for key in world.aggregates.partials} == {f"{STREAM}/{SHARD}", f"{STREAM}/shardId-000000000001"}


def test_the_cache_keeps_within_its_groups_and_forgets_the_oldest():
    cache = PartialCache(groups_max=3)
    keys = [PartialKey("orders", 0, start_ms, "writer") for start_ms in range(3)]
    for key in keys:
        cache.keep(key, Partial("0011", 1, {("a",): (1,), ("b",): (1,)}))
    assert [cache.get(key) is not None for key in keys] == [False, False, True]


def test_in_the_containers_memory_a_sketch_counts_as_the_groups_that_it_takes_the_place_of():
    cache = PartialCache(groups_max=30)
    keys = [PartialKey("customers_distinct", 0, start_ms, "writer") for start_ms in range(4)]
    for key in keys:
        cache.keep(key, Partial("0011", 1, {("EUR",): (1, bytes(10 * GROUP_BYTES)), ("USD",): (1, b"")}))
    assert [cache.get(key) is not None for key in keys] == [False, False, True, True]
    for key in keys[2:]:
        cache.keep(key, None)
    assert cache._groups == 0


# ── any split, overlap or repetition of a shard's batches gives the same partials ──

payloads = st.one_of(
    st.builds(
        lambda number, minute, user, cents: json_line(
            order(number, time=f"2026-11-24T11:{minute:02d}:30Z", user_id=user, amount=cents / 100)
        ),
        st.integers(1, 99),
        st.integers(55, 58),
        st.sampled_from(["ada", "grace", "edsger"]),
        st.integers(0, 500),
    ),
    st.sampled_from([POISON, b"", *orders(7, time="2026-11-01T00:00:00Z")]),
)
streams = st.lists(
    payloads | st.lists(payloads, min_size=1, max_size=4).map(lambda many: aggregated(*many)), max_size=12
)


@given(stream=streams, data=st.data())
def test_any_split_overlap_or_repetition_of_batches_gives_the_same_partials(stream, data):
    exact = World()
    if stream:
        exact.container()(events(*stream), plenty)

    world = World()
    containers = [world.container() for _ in range(3)]
    done = 0  # the mapping never skips: a batch begins at or before the first record not acknowledged
    while done < len(stream):
        start = data.draw(st.integers(0, done), label="start")
        end = data.draw(st.integers(start + 1, len(stream)), label="end")
        fault = data.draw(st.sampled_from(["", "", "fails", "seems to fail"]), label="fault")
        hits = iter(data.draw(st.lists(st.booleans(), min_size=8, max_size=8), label="hits"))
        world.aggregates.before_put = lambda put: fault == "fails" and next(hits, False) and "Throttled"  # noqa: B023
        world.aggregates.after_put = lambda put: fault == "seems to fail" and next(hits, False) and "Lost"  # noqa: B023
        container = data.draw(st.sampled_from([*containers, world.container()]), label="container")
        failures = container(events(*stream[start:end], first=start + 1), plenty).response["batchItemFailures"]
        acknowledged = int(failures[0]["itemIdentifier"]) - 1 if failures else end
        done = max(done, acknowledged)

    assert {key: partial.groups for key, partial in world.aggregates.partials.items()} == {
        key: partial.groups for key, partial in exact.aggregates.partials.items()
    }
    assert world.dead_letters.objects == exact.dead_letters.objects
    assert world.progress == exact.progress


@pytest.mark.parametrize("junk", [b"", b"{", b"\x00" * 100, b"\xf3\x89\x9a\xc2"])
def test_junk_never_sticks_a_shard(junk):
    world = World()
    assert world.container()(events(junk, *orders(2)), plenty).response == {"batchItemFailures": []}
    assert total(world) == 1


@pytest.mark.parametrize("is_enabled", [True, False])
def test_the_collector_waits_for_the_end_of_a_batch_and_is_then_as_it_was(is_enabled, monkeypatch):
    seen = []
    exact = BatchFold.beyond
    monkeypatch.setattr(BatchFold, "beyond", lambda *args: seen.append(gc.isenabled()) or exact(*args))
    (gc.enable if is_enabled else gc.disable)()
    try:
        World().container()(events(*orders(1)), plenty)
        assert (set(seen), gc.isenabled()) == ({False}, is_enabled)
        with pytest.raises(KeyError):
            World().container()({"Records": [{}]}, plenty)
        assert gc.isenabled() is is_enabled
    finally:
        gc.enable()
