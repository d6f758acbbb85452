"""Seeds that every change has to survive, and mutants that none may."""

from bisect import bisect_left
from collections import Counter

import pytest

from chalicelib.consumers import counted_ids, fold, ingest
from chalicelib.consumers.counted_ids import CountedIds
from chalicelib.consumers.fold import BatchFold
from chalicelib.consumers.ports import Committed, RunsRead
from chalicelib.identity import judge as judging
from chalicelib.identity.judge import Judged
from chalicelib.identity.run import encode_run
from chalicelib.records import decode, kpl
from chalicelib.records.shard import Shard
from tests.fakes import MemoryAggregates, MemoryIds
from tests.simulation.faults import Faults
from tests.simulation.operator import Operator
from tests.simulation.simulate import HAPPENINGS, simulate
from tests.simulation.world import World

RUNS = 2_000
MUTANT_RUNS = 400
FAILED_ONCE = (3450,)  # a seed that found a fault is run for ever


def test_every_seed_counts_each_event_once_and_every_fault_truly_happens():
    fired = Counter()
    for seed in (*range(RUNS), *FAILED_ONCE):
        fired += simulate(seed).faults.fired
    assert all(fired[name] > 0 for name in [*Faults.names(), *HAPPENINGS]), fired


# Each mutant breaks one rule of the protocol; the simulation has to notice.


def a_put_without_its_condition(monkeypatch):
    def put(world, put):
        world.partials[put.key] = put.partial
        return Committed(1.0)

    monkeypatch.setattr(World, "_put", put)


def a_rebase_that_counts_the_whole_batch(monkeypatch):
    monkeypatch.setattr(BatchFold, "beyond", lambda batch, checkpoint, key: batch.whole.get(key))


def a_rebase_that_counts_from_the_checkpoint_itself(monkeypatch):
    monkeypatch.setattr(fold, "bisect_right", bisect_left)


def a_first_failing_record_that_is_one_too_late(monkeypatch):
    exact = BatchFold.first_record_of
    monkeypatch.setattr(BatchFold, "first_record_of", lambda batch, keys: exact(batch, keys) + 1)


def an_acknowledgement_before_the_dead_letter_is_stored(monkeypatch):
    def store(self, batch, decoded, remaining_ms, report):
        exact(self, batch, decoded, remaining_ms, report)
        return len(decoded)

    exact = ingest.Ingest._store_dead_letters
    monkeypatch.setattr(ingest.Ingest, "_store_dead_letters", store)


def a_failed_put_that_is_taken_for_done(monkeypatch):
    monkeypatch.setattr(BatchFold, "first_record_of", lambda batch, keys: len(batch._decoded))


def progress_ahead_of_what_is_committed(monkeypatch):
    exact = ingest.Ingest._advance
    monkeypatch.setattr(
        ingest.Ingest, "_advance", lambda self, batch, done, *args: exact(self, batch, len(batch.records), *args)
    )


def progress_that_is_not_waited_for(monkeypatch):
    exact = ingest.Ingest._advance
    monkeypatch.setattr(ingest.Ingest, "_advance", lambda *args: exact(*args) or True)


def a_cache_that_remembers_what_was_not_stored(monkeypatch):
    exact = ingest.Ingest._plan_put

    def plan_put(self, key, base, *args):
        put = exact(self, key, base, *args)
        if put:
            self._cache.keep(key, put.partial)
        return put

    monkeypatch.setattr(ingest.Ingest, "_plan_put", plan_put)


def a_put_that_lets_an_equal_or_later_base_through(monkeypatch):
    def put(aggregates, put):
        standing = aggregates.partials.get(put.key)
        if standing and (put.built_on is None or standing.checkpoint <= put.built_on):
            aggregates.partials[put.key] = put.partial
            return Committed(1.0)
        return exact(aggregates, put)

    exact = MemoryAggregates._put_alone
    monkeypatch.setattr(MemoryAggregates, "_put_alone", put)


def progress_that_goes_back(monkeypatch):
    def advance(aggregates, stream, shard_id, last, timeout_ms):
        if timeout_ms:
            aggregates.progress[stream, shard_id] = (last.position, last.sequence_number, last.arrived_at_ms)
        return exact(aggregates, stream, shard_id, last, timeout_ms)

    exact = MemoryAggregates.advance
    monkeypatch.setattr(MemoryAggregates, "advance", advance)


def progress_kept_when_a_metric_is_added(monkeypatch):
    def deploy(world):
        progress = world._progress
        exact(world)
        world._progress = progress

    exact = World.deploy_a_metric
    monkeypatch.setattr(World, "deploy_a_metric", deploy)


def lateness_by_the_wall_clock(monkeypatch):
    """Each attempt measures an event's lateness at its own moment, some seconds after the record's arrival."""

    def refusal(rules, part, bytes_max, arrived_at_ms):
        moments.append(len(moments))
        return exact(rules, part, bytes_max, arrived_at_ms + len(moments) % 7_000)

    moments = []
    exact = decode._Rules.refusal
    monkeypatch.setattr(decode._Rules, "refusal", refusal)


# … the id log's rule 1: judged by what was counted before the batch, never by what an attempt at it left behind


def a_run_that_ends_in_the_batch_is_taken_whole(monkeypatch):
    def read_back(log, writer, *, before, **limits):
        read = exact(log, writer, before=before, **limits)
        return RunsRead([*read.runs, *filter(None, [read.spanning])], None, read.since_ms)

    exact = MemoryIds.read_back
    monkeypatch.setattr(MemoryIds, "read_back", read_back)


# … rule 2: before every batch the log is read on from what is known


def a_warm_container_that_reads_nothing(monkeypatch):
    monkeypatch.setattr(MemoryIds, "read_on", lambda log, writer, **what: RunsRead([]))


def a_cold_container_that_reads_nothing(monkeypatch):
    monkeypatch.setattr(MemoryIds, "read_back", lambda log, writer, **what: RunsRead([]))


def a_run_that_spans_the_beginning_is_passed_over(monkeypatch):
    monkeypatch.setattr(MemoryIds, "_spanning", lambda log, writer, before: None)


def a_child_that_inherits_nothing(monkeypatch):
    exact = World.list_shards
    orphans = lambda world, timeout_ms: [  # noqa: E731
        Shard(shard.shard_id, shard.is_open) for shard in exact(world, timeout_ms)
    ]
    monkeypatch.setattr(World, "list_shards", orphans)


def a_child_that_knows_one_of_its_parents(monkeypatch):
    exact = CountedIds.shard
    monkeypatch.setattr(
        CountedIds, "shard", lambda ids, *what: Shard(exact(ids, *what).shard_id, True, exact(ids, *what).parents[:1])
    )


# … rule 3: a run is keyed by its last record and never narrows what stands there


def a_run_keyed_by_its_first_record(monkeypatch):
    def put(log, writer, last, number, part):
        standing = log.items.get((writer, part.first, number), ("", b""))
        log.items[writer, part.first, number] = max(standing, (part.first, encode_run(part)), key=lambda it: len(it[1]))

    monkeypatch.setattr(MemoryIds, "put_item", put)


# … rule 4: the log of a prefix is durable before it is acknowledged, and holds nothing beyond it


def an_acknowledgement_before_the_log_is_durable(monkeypatch):
    exact = ingest.Ingest._remember
    monkeypatch.setattr(ingest.Ingest, "_remember", lambda *what: exact(*what) or True)


# … and what makes a duplicate


def a_horizon_by_the_first_record_of_a_batch(monkeypatch):
    def judge(known, records, decoded, horizon_ms, ids_max):
        return exact(
            known, records, decoded, horizon_ms + records[-1].arrived_at_ms - records[0].arrived_at_ms, ids_max
        )

    exact = judging.judge
    monkeypatch.setattr(counted_ids, "judge", judge)


def a_number_of_ids_that_depends_on_the_batch(monkeypatch):
    exact = judging.judge
    monkeypatch.setattr(
        counted_ids, "judge", lambda known, records, *what: exact(known, records, *what[:-1], what[-1] + len(records))
    )


def ids_of_what_was_not_counted(monkeypatch):
    """A conflicting duplicate is remembered as if it had been counted."""
    exact = CountedIds.remember

    def remember(ids, batch, judged, done, timeout_ms):
        if any(each.duplicates or each.rejected for each in judged.decoded[:done]):
            judged = Judged(judged.decoded, judged.ids, type(judged.contents)("I", [0] * len(judged.contents)))
        return exact(ids, batch, judged, done, timeout_ms)

    monkeypatch.setattr(CountedIds, "remember", remember)


def user_records_astray_that_are_kept(monkeypatch):
    monkeypatch.setattr(kpl, "SIGNATURE", "never")


def other_aggregators_user_records_dropped_too(monkeypatch):
    monkeypatch.setattr(
        decode.Decoder,
        "decode",
        lambda decoder, record, *how: exact(decoder, decode.msgspec.structs.replace(record, partition_key="a"), *how),
    )


exact = decode.Decoder.decode


def an_effect_that_failed_and_is_taken_for_done(monkeypatch):
    def handle(ingest, batch, decoded, *what):
        exact(ingest, batch, decoded, *what)
        return decoded

    exact = ingest.Ingest._handle
    monkeypatch.setattr(ingest.Ingest, "_handle", handle)


def a_redriven_record_that_was_refused_and_is_taken_for_accepted(monkeypatch):
    exact = Operator.put_records
    monkeypatch.setattr(Operator, "put_records", lambda *what: exact(*what) and ())


MUTANTS = [
    a_redriven_record_that_was_refused_and_is_taken_for_accepted,
    a_put_without_its_condition,
    a_put_that_lets_an_equal_or_later_base_through,
    a_rebase_that_counts_the_whole_batch,
    a_rebase_that_counts_from_the_checkpoint_itself,
    a_first_failing_record_that_is_one_too_late,
    an_acknowledgement_before_the_dead_letter_is_stored,
    a_failed_put_that_is_taken_for_done,
    progress_ahead_of_what_is_committed,
    progress_that_is_not_waited_for,
    progress_that_goes_back,
    progress_kept_when_a_metric_is_added,
    a_cache_that_remembers_what_was_not_stored,
    lateness_by_the_wall_clock,
    a_run_that_ends_in_the_batch_is_taken_whole,
    a_warm_container_that_reads_nothing,
    a_cold_container_that_reads_nothing,
    a_run_that_spans_the_beginning_is_passed_over,
    a_child_that_inherits_nothing,
    a_child_that_knows_one_of_its_parents,
    a_run_keyed_by_its_first_record,
    an_acknowledgement_before_the_log_is_durable,
    a_horizon_by_the_first_record_of_a_batch,
    a_number_of_ids_that_depends_on_the_batch,
    ids_of_what_was_not_counted,
    user_records_astray_that_are_kept,
    other_aggregators_user_records_dropped_too,
    an_effect_that_failed_and_is_taken_for_done,
]


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_a_mutant_is_caught(mutate, monkeypatch):
    mutate(monkeypatch)
    assert any(map(fails, range(MUTANT_RUNS)))


def fails(seed):
    try:
        simulate(seed)
    except (AssertionError, IndexError):
        return True
    return False
