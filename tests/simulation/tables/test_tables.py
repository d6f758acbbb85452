"""Seeds of the tables' world that every change has to survive, and mutants that none may."""

import os
import subprocess
import sys
from collections import Counter
from itertools import count

import msgspec
import pytest

from chalicelib.aggregates import partial
from chalicelib.aggregates.partial import decompress_groups, merge_groups
from chalicelib.aggregates.rollup import Rollup, pack_groups
from chalicelib.consumers import capture, fan_out, final_results, rollup
from chalicelib.consumers.alerts import Alerts
from chalicelib.consumers.fan_out import FanOut
from chalicelib.consumers.final_results import FinalResults
from chalicelib.consumers.ingest import Ingest
from chalicelib.consumers.ports import Committed, RaisedAlert, RollupPut
from chalicelib.consumers.publish import Publish
from chalicelib.consumers.rollup import RollUp
from chalicelib.consumers.settle import Settle
from chalicelib.query import scan
from chalicelib.reading.ports import Settled
from chalicelib.records import decode, table_changes
from tests.fakes import MemoryAggregates, MemoryAlerts
from tests.simulation.tables.faults import TableFaults
from tests.simulation.tables.simulate import HAPPENINGS, simulate

RUNS = 40  # of some 750 batches each, where the other world has 44
MUTANT_RUNS = 100
FAILED_ONCE = ()  # a seed that found a fault is run for ever


def test_whatever_goes_wrong_tables_are_counted_carried_and_told():
    fired = Counter()
    for seed in (*range(RUNS), *FAILED_ONCE):
        fired += simulate(seed).faults.fired
    assert all(fired[name] > 0 for name in [*TableFaults.names(), *HAPPENINGS]), fired


@pytest.mark.parametrize("seed", [3])
def test_a_seed_is_the_same_run_in_every_process(seed):
    """Consumers keep what they work on in sets, whose order differs from process to process."""
    program = (
        f"from tests.simulation.tables.simulate import simulate as s; print(sorted(s({seed}).faults.fired.items()))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            check=True,
            capture_output=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(told) == 1


# Each mutant breaks one rule; the simulation has to notice. First, how changes are carried into rollups …


def a_rollup_put_without_its_condition(monkeypatch):
    def put(table, put):
        table.rollups[put.key] = put.rollup
        return Committed(1.0)

    monkeypatch.setattr(MemoryAggregates, "_put_rollup", put)


def a_rollup_that_is_incremented(monkeypatch):
    def recompute(roll_up, *what):
        metrics.update(roll_up._catalog.metrics)
        return recompute_once(roll_up, *what)

    def plan(key, standing, merged):
        put = exact(key, standing, merged)
        if put is None or standing is None:
            return put
        metric = metrics[key.metric]
        both = merge_groups(metric, [decompress_groups(metric, standing.packed).items(), merged.merging.groups.items()])
        return RollupPut(key, put.built_on, Rollup(put.rollup.revision, pack_groups(both)))

    metrics, exact, recompute_once = {}, rollup._plan_put, RollUp._recompute_once
    monkeypatch.setattr(RollUp, "_recompute_once", recompute)
    monkeypatch.setattr(rollup, "_plan_put", plan)


def a_first_failing_window_that_is_one_too_late(monkeypatch):
    def run(roll_up, changes, remaining_ms):
        report = exact(roll_up, changes, remaining_ms)
        numbers = [*(change.sequence_number for change in changes), None]
        if report.failed_sequence_number:
            report.failed_sequence_number = numbers[numbers.index(report.failed_sequence_number) + 1]
        return report

    exact = RollUp.__call__
    monkeypatch.setattr(RollUp, "__call__", run)


def a_failed_rollup_put_taken_for_done(monkeypatch):
    exact = RollUp._recompute_once
    monkeypatch.setattr(RollUp, "_recompute_once", lambda *what: (exact(*what)[0], set()))


def expired_items_taken_for_changes(monkeypatch):
    monkeypatch.setattr(table_changes, "TIME_TO_LIVE", ("nobody", ""))


# … what is settled, and what queries believe …


def settled_without_waiting_for_the_lateness(monkeypatch):
    monkeypatch.setattr(RollUp, "grace_ms", lambda roll_up, metric: 0)


def settled_by_a_completeness_that_is_ahead(monkeypatch):
    exact = Ingest._advance
    monkeypatch.setattr(
        Ingest, "_advance", lambda self, batch, done, *what: exact(self, batch, len(batch.records), *what)
    )


def a_rollup_settled_before_it_is_seen_to(monkeypatch):
    exact = RollUp.see_to
    monkeypatch.setattr(RollUp, "see_to", lambda *what: exact(*what) or True)


def a_position_that_is_put_without_its_condition(monkeypatch):
    def advance(table, purpose, subject, _, *what):
        return exact(table, purpose, subject, table.settled.get((purpose, subject)), *what)

    exact = MemoryAggregates.advance_settled
    monkeypatch.setattr(MemoryAggregates, "advance_settled", advance)


def a_first_position_behind_the_first_window(monkeypatch):
    exact = Settle._position
    monkeypatch.setattr(
        Settle, "_position", lambda *what: tuple(ms + 60_000 * (what[1].settled is None) for ms in exact(*what))
    )


def a_planner_that_believes_what_is_not_settled(monkeypatch):
    exact = scan.plan_reads
    everything = Settled(0, 10**14, 10**14)
    monkeypatch.setattr(scan, "plan_reads", lambda request, settled, lateness_ms: exact(request, everything, 0))


# … what is told …


def a_message_refused_and_taken_for_told(monkeypatch):
    exact = Publish.__call__
    monkeypatch.setattr(Publish, "__call__", lambda *what: exact(*what) and set())


def a_final_message_that_is_not_waited_for(monkeypatch):
    exact = FinalResults.see_to

    def see_to(*what):
        try:
            return exact(*what)
        except Exception:  # noqa: BLE001  whatever it is
            return True

    monkeypatch.setattr(FinalResults, "see_to", see_to)


def final_by_the_clock(monkeypatch):
    monkeypatch.setattr(FanOut, "_complete_until", lambda fan_out, *what: fan_out._clock_ms())


def final_though_it_is_a_rollup(monkeypatch):
    def final_from(fan_out, window):
        lateness_ms = fan_out._catalog.lateness_ms(fan_out._catalog.metrics[window.metric].event_type, 0)
        return window.window_end_ms + lateness_ms

    monkeypatch.setattr(FanOut, "_final_from_ms", final_from)


def a_revision_that_is_the_greatest_of_its_shares(monkeypatch):
    for module in (fan_out, final_results):
        monkeypatch.setattr(module, "read_windows", _with_greatest_revision(module.read_windows))


def _with_greatest_revision(exact):
    def read(reader, metrics, windows, *what):
        greatest = Counter()

        class Watched:
            def read_shares(self, plans, take, timeout_ms):
                def noted(plan, share):
                    key = plan.metric.name, plan.step_ms, share.window_start_ms
                    greatest[key] = max(greatest[key], share.revision)
                    take(plan, share)

                return reader.read_shares(plans, noted, timeout_ms)

        merged = exact(Watched(), metrics, windows, *what)
        return [msgspec.structs.replace(each, revision=greatest[tuple(each.window)]) for each in merged]

    return read


def a_window_told_as_it_was_read_before(monkeypatch):
    def read(reader, metrics, windows, *what):
        merged = [known.pop(each.window, each) for each in exact(reader, metrics, windows, *what)]
        known.update({each.window: each for each in merged})
        return merged

    known, exact = {}, fan_out.read_windows
    monkeypatch.setattr(fan_out, "read_windows", read)


# … what is captured of the orders table …


def changes_refused_by_the_stream_and_taken_for_captured(monkeypatch):
    def put(stream, records, time_left_ms, pause):
        stream.put_records(records, time_left_ms())
        yield range(len(records))

    monkeypatch.setattr(capture, "put_until_taken", put)


def a_change_under_a_new_id_at_each_try(monkeypatch):
    numbers = count()
    exact = capture.change_event
    monkeypatch.setattr(
        capture,
        "change_event",
        lambda change, event_type: exact(change, event_type).replace(b'"change-', b'"try-%d-' % next(numbers)),
    )


def a_change_in_other_bytes_at_each_try(monkeypatch):
    def event(change, event_type):
        return exact(change, event_type).replace(b'"source":', b'"source":' + b" " * (next(numbers) % 7))

    numbers, exact = count(), capture.change_event
    monkeypatch.setattr(capture, "change_event", event)


def an_old_row_that_is_not_taken_back(monkeypatch):
    def rows(rules, changes, times):
        forgetful = [type(change)(None, change.new) if change.new else change for change in changes]
        return exact(rules, forgetful, times)

    exact = decode._Rules._rows_of_changes
    monkeypatch.setattr(decode._Rules, "_rows_of_changes", rows)


def an_old_row_that_is_counted(monkeypatch):
    monkeypatch.setattr(partial, "SIGNS", "no such column")


# … and what alerts are raised.


def an_alert_that_is_put_again(monkeypatch):
    exact = MemoryAlerts._put

    def put(store, alert):
        for key in [key for key, known in store.alerts.items() if known.id == alert.id]:
            del store.alerts[key]
        return exact(store, alert)

    monkeypatch.setattr(MemoryAlerts, "_put", put)


def an_alert_under_a_new_id_at_each_look(monkeypatch):
    numbers = count()
    exact = RaisedAlert.id.fget
    ids = {}
    monkeypatch.setattr(
        RaisedAlert,
        "id",
        property(lambda alert: ids.setdefault(id(alert), (alert, f"{exact(alert)}-{next(numbers)}"))[1]),
    )


def an_alert_that_is_not_stored_and_not_waited_for(monkeypatch):
    exact = Alerts._store_new
    monkeypatch.setattr(Alerts, "_store_new", lambda *what: exact(*what) and [])


def an_alert_about_a_window_that_is_not_over(monkeypatch):
    monkeypatch.setattr(Alerts, "grace_ms", lambda alerts, metric: -120_000)


def an_alert_of_what_was_raised_early_only(monkeypatch):
    monkeypatch.setattr(Alerts, "see_to", lambda *what: True)


def an_alert_that_nobody_watches_for(monkeypatch):
    monkeypatch.setattr(Alerts, "__call__", lambda *what: set())


MUTANTS = [
    a_rollup_put_without_its_condition,
    a_rollup_that_is_incremented,
    a_first_failing_window_that_is_one_too_late,
    a_failed_rollup_put_taken_for_done,
    expired_items_taken_for_changes,
    settled_without_waiting_for_the_lateness,
    settled_by_a_completeness_that_is_ahead,
    a_rollup_settled_before_it_is_seen_to,
    a_position_that_is_put_without_its_condition,
    a_first_position_behind_the_first_window,
    a_planner_that_believes_what_is_not_settled,
    a_message_refused_and_taken_for_told,
    a_final_message_that_is_not_waited_for,
    final_by_the_clock,
    final_though_it_is_a_rollup,
    a_revision_that_is_the_greatest_of_its_shares,
    a_window_told_as_it_was_read_before,
    changes_refused_by_the_stream_and_taken_for_captured,
    a_change_under_a_new_id_at_each_try,
    a_change_in_other_bytes_at_each_try,
    an_old_row_that_is_not_taken_back,
    an_old_row_that_is_counted,
    an_alert_that_is_put_again,
    an_alert_under_a_new_id_at_each_look,
    an_alert_that_is_not_stored_and_not_waited_for,
    an_alert_about_a_window_that_is_not_over,
    an_alert_of_what_was_raised_early_only,
    an_alert_that_nobody_watches_for,
]


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__)
def test_a_mutant_is_caught(mutate, monkeypatch):
    mutate(monkeypatch)
    assert any(map(fails, range(MUTANT_RUNS)))


def fails(seed):
    try:
        simulate(seed)
    except AssertionError:
        return True
    return False
