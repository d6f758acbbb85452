from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aggregates import rollup
from chalicelib.aggregates.partial import Partial, PartialKey, decompress_groups, merge_groups
from chalicelib.aggregates.rollup import WindowKey
from chalicelib.consumers.ports import AlertKey, StoredChange
from chalicelib.consumers.rollup import ROUNDS_MAX, RollUp
from chalicelib.errors import TransientError
from tests.builders import CATALOG, DAY_MS, MINUTE_MS, NOON_MS
from tests.fakes import MemoryAggregates

HOUR_MS = 60 * MINUTE_MS
NOON_DAY_MS = NOON_MS - 12 * HOUR_MS
ORDERS = CATALOG.metrics["orders"]
CUSTOMERS = CATALOG.metrics["customers"]
EUR, USD = ("EUR", "standard"), ("USD", "standard")


def states(count, revenue):
    low = high = Decimal(1)
    return (count, Decimal(revenue), low, high)


class Table(MemoryAggregates):
    """The table, with the changes that it would put on its stream."""

    def __init__(self):
        super().__init__()
        self.changes = []

    def store(self, minute, groups, writer="events/shard-0"):
        """Store a writer's share of `orders`, in a minute after noon."""
        key = PartialKey("orders", 0, NOON_MS + minute * MINUTE_MS, writer)
        version = self.partials[key].version + 1 if key in self.partials else 1
        self.partials[key] = Partial("1", version, groups)
        self.note(WindowKey("orders", MINUTE_MS, 0, key.window_start_ms))

    def note(self, key):
        self.changes.append(StoredChange(str(len(self.changes)), key))

    def take_changes(self):
        taken, self.changes = self.changes, []
        return taken

    def _put_rollup(self, put):
        before = self.rollups.get(put.key)
        outcome = super()._put_rollup(put)
        if self.rollups.get(put.key) != before:
            self.note(put.key)
        return outcome

    def groups_of(self, key):
        return decompress_groups(CATALOG.metrics[key.metric], self.rollups[key].packed)


def make_roll_up(table, now_ms=NOON_MS, watched=()):
    return RollUp(CATALOG, DAY_MS, table, table, clock_ms=lambda: now_ms, watched=watched)


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def roll_up(table):
    return make_roll_up(table)


def run(roll_up, changes, remaining_ms=60_000):
    return roll_up(changes, lambda: remaining_ms)


HOUR = WindowKey("orders", HOUR_MS, 0, NOON_MS)
DAY = WindowKey("orders", DAY_MS, 0, NOON_DAY_MS)


# minutes   12:00 [EUR 1]   12:01 [EUR 2, USD 1]   by two writers
# hour      12:00 [EUR 3, USD 1]
def test_a_changed_minute_is_carried_into_its_hour_and_the_hour_into_its_day(roll_up, table):
    table.store(0, {EUR: states(1, "1.50")})
    table.store(1, {EUR: states(2, "3"), USD: states(1, "9")}, writer="events/shard-1")
    assert run(roll_up, table.take_changes()).rollups == 1
    assert table.groups_of(HOUR) == {EUR: states(3, "4.50"), USD: states(1, "9")}
    assert DAY not in table.rollups
    run(roll_up, table.take_changes())
    assert table.groups_of(DAY) == table.groups_of(HOUR)
    assert run(roll_up, table.take_changes()).rollups == 0, "a day is part of nothing larger"


# customers are not published: nobody is told of their open hours, and queries read hours when they are settled
def test_the_open_hours_of_a_metric_that_nobody_is_told_of_are_not_carried_on(roll_up, table):
    key = PartialKey("customers", 2, NOON_MS, "events/shard-0")
    table.partials[key] = Partial("1", 1, {("ada",): (1, Decimal(9))})
    table.note(WindowKey("customers", MINUTE_MS, 2, NOON_MS))
    changes = table.take_changes()
    assert not CUSTOMERS.published
    assert run(roll_up, changes).windows == 0
    assert not table.rollups
    assert roll_up.see_to(CUSTOMERS, NOON_MS, NOON_MS + HOUR_MS, lambda: 60_000), "settled, they are there"
    assert table.groups_of(WindowKey("customers", HOUR_MS, 2, NOON_MS)) == {("ada",): (1, Decimal(9))}
    table.rollups.clear()
    watching = make_roll_up(table, watched={"customers"})
    assert run(watching, changes).rollups == 1, "an alert may look at an open hour"


# customers   12:00 [ada 1]   its hour settled a day after its end   then, by a replay, 12:01 [bob 1]
def test_an_hour_that_may_have_been_settled_is_carried_on_of_every_metric(roll_up, table):
    """`tick` does not come back to it, and queries look at it."""
    hour = WindowKey("customers", HOUR_MS, 2, NOON_MS)
    later = PartialKey("customers", 2, NOON_MS + MINUTE_MS, "events/shard-0")
    table.partials[later._replace(window_start_ms=NOON_MS)] = Partial("1", 1, {("ada",): (1, Decimal(9))})
    assert roll_up.see_to(CUSTOMERS, NOON_MS, NOON_MS + HOUR_MS, lambda: 60_000)
    table.partials[later] = Partial("1", 1, {("bob",): (1, Decimal(9))})
    table.note(WindowKey("customers", MINUTE_MS, 2, NOON_MS + MINUTE_MS))
    changes, settled_ms = table.take_changes()[-1:], NOON_MS + HOUR_MS + DAY_MS
    assert run(make_roll_up(table, settled_ms - 1), changes).windows == 0
    assert run(make_roll_up(table, settled_ms), changes).rollups == 1
    assert set(table.groups_of(hour)) == {("ada",), ("bob",)}


def test_changes_of_one_window_are_carried_once(roll_up, table):
    for _ in range(5):
        table.store(0, {EUR: states(1, 1)})
    report = run(roll_up, table.take_changes())
    assert (report.changes, report.windows, report.rollups) == (5, 1, 1)


def test_a_batch_that_comes_again_changes_nothing(roll_up, table):
    table.store(0, {EUR: states(1, 1)})
    changes = table.take_changes()
    run(roll_up, changes)
    standing = table.rollups[HOUR]
    assert run(roll_up, changes).rollups == 0
    assert table.rollups[HOUR] is standing


def test_the_revision_grows_with_every_change(roll_up, table):
    for count in (1, 2, 3):
        table.store(0, {EUR: states(count, 1)})
        run(roll_up, table.take_changes())
        assert table.rollups[HOUR].revision == count


def test_what_is_of_no_window_is_passed_over(roll_up):
    report = run(roll_up, [StoredChange("1", None), StoredChange("2", AlertKey("large", "x"))])
    assert (report.changes, report.windows, report.response) == (2, 0, {"batchItemFailures": []})


# A reads ├ shares ────────────────────────────┤ puts: refused, reads again
# B              ├ a later minute, shares ┤ puts
def test_a_recomputation_that_read_earlier_is_refused_and_reads_again(roll_up, table):
    table.store(0, {EUR: states(1, 1)})
    changes = table.take_changes()

    def another_is_quicker(put):
        table.before_put = lambda put: None
        table.store(1, {USD: states(1, 5)})
        run(roll_up, table.take_changes())

    table.before_put = another_is_quicker
    report = run(roll_up, changes)
    assert report.overtaken == 1
    assert table.groups_of(HOUR) == {EUR: states(1, 1), USD: states(1, 5)}


def test_the_first_change_of_a_window_that_could_not_be_put_is_the_checkpoint(roll_up, table):
    table.store(0, {EUR: states(1, 1)})
    table.store(60, {EUR: states(1, 1)})
    table.store(1, {EUR: states(1, 1)})
    table.before_put = lambda put: "ThrottlingException" if put.key.window_start_ms > NOON_MS else None
    report = run(roll_up, table.take_changes())
    assert report.response == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert (report.rollups, report.errors) == (1, {"ThrottlingException": 1})


def test_out_of_time_the_whole_batch_comes_again(roll_up, table):
    table.store(0, {EUR: states(1, 1)})
    report = run(roll_up, table.take_changes(), remaining_ms=500)
    assert (report.response, report.errors) == ({"batchItemFailures": [{"itemIdentifier": "0"}]}, {"out of time": 1})


def test_one_that_is_always_overtaken_comes_again(roll_up, table):
    def always_quicker(put):
        standing = table.rollups.get(put.key)
        revision = standing.revision + 1 if standing else 1
        table.rollups[put.key] = rollup.Rollup(revision, rollup.pack_groups({USD: states(revision, 1)}))

    table.before_put = always_quicker
    for _ in range(2 * ROUNDS_MAX):
        table.store(0, {EUR: states(1, 1)})
    report = run(roll_up, table.take_changes())
    assert (report.overtaken, report.response) == (ROUNDS_MAX, {"batchItemFailures": [{"itemIdentifier": "0"}]})


def test_expired_minutes_do_not_empty_their_hour(roll_up, table):
    table.store(0, {EUR: states(1, 1)})
    changes = table.take_changes()
    run(roll_up, changes)
    table.partials.clear()
    assert run(roll_up, changes).rollups == 0
    assert table.groups_of(HOUR) == {EUR: states(1, 1)}


# minute 12:00        X        Y        X
# A                        reads Y ──────────── puts Y: refused
# B                                       puts X, though X stands
def test_what_is_taken_back_refuses_a_put_that_read_it_before(roll_up, table):
    x, y = {EUR: states(1, 1)}, {EUR: states(0, 0)}
    table.store(0, x)
    run(roll_up, table.take_changes())
    table.store(0, y)

    def taken_back(put):
        table.before_put = lambda put: None
        table.store(0, x)
        run(roll_up, table.take_changes())

    table.before_put = taken_back
    run(roll_up, table.take_changes())
    assert table.groups_of(HOUR) == x


def test_what_has_expired_in_part_leaves_its_hour_whole(roll_up, table):
    table.store(0, {EUR: states(1, 1)})
    table.store(1, {EUR: states(1, 1)})
    changes = table.take_changes()
    run(roll_up, changes)
    table.partials.pop(PartialKey("orders", 0, NOON_MS, "events/shard-0"))
    assert run(roll_up, changes).rollups == 0
    assert table.groups_of(HOUR) == {EUR: states(2, 2)}


def test_one_too_large_is_put_again_only_when_something_was_added(roll_up, table, monkeypatch):
    monkeypatch.setattr(rollup, "ITEM_BYTES_MAX", 10)
    table.store(0, {EUR: states(1, 1)})
    changes = table.take_changes()
    assert [run(roll_up, changes).rollups for _ in range(3)] == [1, 0, 0]


class Slow:
    """An invocation's clock that each read of shares moves on, by so much for each window."""

    def __init__(self, table, ms_a_window):
        self.left_ms = 60_000
        self.windows = []
        exact = table.read_shares

        def read_shares(plans, take, timeout_ms):
            windows = sum((plan.end_ms - plan.start_ms) // HOUR_MS for plan in plans)
            self.windows.append(windows)
            self.left_ms -= windows * ms_a_window
            if windows * ms_a_window > timeout_ms:
                raise TransientError("out of time")
            return exact(plans, take, timeout_ms)

        table.read_shares = read_shares

    def __call__(self):
        return max(0, self.left_ms)


def test_windows_that_are_quick_are_read_more_at_a_time_and_slow_ones_fewer(roll_up, table):
    for hour in range(100):
        table.store(60 * hour, {EUR: states(1, 1)})
    clock = Slow(table, ms_a_window=1)
    roll_up(table.take_changes(), clock)
    assert clock.windows == [4, 8, 16, 32, 40]


def test_windows_too_slow_for_one_try_are_done_some_at_each(roll_up, table):
    for hour in range(40):
        table.store(60 * hour, {EUR: states(1, 1)})
    changes, tries = table.take_changes(), 0
    exact = table.read_shares
    while changes:
        tries += 1
        table.read_shares = exact
        report = roll_up(changes, Slow(table, ms_a_window=5_000))
        failed = report.failed_sequence_number
        changes = [change for change in changes if failed and int(change.sequence_number) >= int(failed)]
        assert tries < 20
    assert sum(key.step_ms == HOUR_MS for key in table.rollups) == 40


def test_groups_beyond_an_item_are_not_stored_but_their_revision_is(roll_up, table, monkeypatch):
    monkeypatch.setattr(rollup, "ITEM_BYTES_MAX", 10)
    table.store(0, {EUR: states(1, 1)})
    report = run(roll_up, table.take_changes())
    assert (table.rollups[HOUR], report.too_large) == (rollup.Rollup(1, None), 1)
    run(roll_up, table.take_changes())
    assert table.rollups[DAY] == rollup.Rollup(1, None), "a day with an hour too large is too large"


WRITERS = ["a", "b"]
minutes, counts = st.integers(0, 200), st.integers(1, 5)
stored = st.lists(st.tuples(minutes, st.sampled_from(WRITERS), st.sampled_from([EUR, USD]), counts), max_size=30)


@given(stored, st.integers(1, 5), st.randoms(use_true_random=False))
def test_in_whatever_order_changes_are_delivered_rollups_are_what_their_minutes_hold(stores, batch_size, chance):
    table = Table()
    roll_up = make_roll_up(table)
    for minute, writer, group, count in stores:
        key = PartialKey("orders", 0, NOON_MS + minute * MINUTE_MS, writer)
        standing = table.partials[key].groups if key in table.partials else {}
        table.store(minute, {**standing, group: states(count, count)}, writer)
        if chance.random() < 0.3:
            batch = table.take_changes()
            chance.shuffle(batch)
            run(roll_up, batch[:batch_size])
            table.changes = [*batch[batch_size:], *table.changes]
    while table.changes:
        run(roll_up, table.take_changes())
    for step_ms in (HOUR_MS, DAY_MS):
        expected = {}
        for key, partial in table.partials.items():
            expected.setdefault(key.window_start_ms - key.window_start_ms % step_ms, []).append(partial.groups.items())
        assert {key.window_start_ms: table.groups_of(key) for key in table.rollups if key.step_ms == step_ms} == {
            start_ms: merge_groups(ORDERS, shares) for start_ms, shares in expected.items()
        }


def test_seeing_to_a_span_brings_its_hours_and_then_its_day_up_to_date(roll_up, table):
    table.store(0, {EUR: states(1, 1)})
    assert roll_up.see_to(ORDERS, NOON_DAY_MS, NOON_DAY_MS + DAY_MS, lambda: 60_000)
    assert {HOUR, DAY} == set(table.rollups)
    assert table.groups_of(DAY) == {EUR: states(1, 1)}


def test_windows_that_lie_next_to_each_other_are_read_together(table):
    plans = []

    class Noted(Table):
        def read_shares(self, planned, take, timeout_ms):
            plans.extend(planned)
            return super().read_shares(planned, take, timeout_ms)

    noted = Noted()
    for minute in (0, 60, 120, 300):
        noted.store(minute, {EUR: states(1, 1)})
    run(make_roll_up(noted), noted.take_changes())
    spans = [((plan.start_ms - NOON_MS) // HOUR_MS, (plan.end_ms - NOON_MS) // HOUR_MS) for plan in plans]
    assert spans == [(0, 3), (5, 6)]


def test_only_what_ends_in_the_span_is_seen_to(roll_up, table):
    table.store(0, {EUR: states(1, 1)})
    assert roll_up.see_to(ORDERS, NOON_MS + HOUR_MS, NOON_MS + 2 * HOUR_MS, lambda: 60_000)
    assert not table.rollups


def test_a_span_that_could_not_be_seen_to_is_told(roll_up, table):
    table.store(0, {EUR: states(1, 1)})
    assert not roll_up.see_to(ORDERS, NOON_MS, NOON_MS + HOUR_MS, lambda: 500)
