"""Seeds that every change has to survive, and mutants that none may."""

from bisect import bisect_left
from collections import Counter

import pytest

from chalicelib.consumers import fold, ingest
from chalicelib.consumers.fold import BatchFold
from chalicelib.consumers.ports import Committed
from tests.simulation.faults import NAMES
from tests.simulation.simulate import simulate
from tests.simulation.world import World

RUNS = 400
MUTANT_RUNS = 150


def test_every_seed_counts_each_event_once_and_every_fault_truly_happens():
    fired = Counter()
    for seed in range(RUNS):
        fired += simulate(seed).faults.fired
    assert all(fired[name] > 0 for name in [*NAMES, "split", "merge", "replay"]), fired


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


MUTANTS = [
    a_put_without_its_condition,
    a_rebase_that_counts_the_whole_batch,
    a_rebase_that_counts_from_the_checkpoint_itself,
    a_first_failing_record_that_is_one_too_late,
    an_acknowledgement_before_the_dead_letter_is_stored,
    a_failed_put_that_is_taken_for_done,
    progress_ahead_of_what_is_committed,
    progress_that_is_not_waited_for,
    a_cache_that_remembers_what_was_not_stored,
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
