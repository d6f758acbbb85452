import pytest

from chalicelib.aggregates.measures import Count
from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.partial import Partial, PartialKey
from chalicelib.consumers.settle import Settle, SettleAll
from chalicelib.errors import DefinitionChangedError, TransientError
from chalicelib.reading.ports import Settled, ShardProgress
from chalicelib.records.shard import Shard
from tests.builders import DAY_MS, MINUTE_MS, NOON_MS
from tests.fakes import MemoryAggregates

HOUR_MS = 60 * MINUTE_MS
MIDNIGHT_MS = NOON_MS - 12 * HOUR_MS
GRACE_MS = 5 * MINUTE_MS


def metric(name, **options):
    return Metric(name=name, event_type="sale", measures={"n": Count()}, **options)


ONE, OTHER = metric("one"), metric("other")


class Duty:
    """Notes what it is to see to, in minutes (or so many `unit_ms`) after noon; fails as often as told."""

    purpose = "test"

    def __init__(self, step_ms=MINUTE_MS):
        self.slices = []
        self.fails = 0
        self.raises = 0
        self._step_ms = step_ms

    def subject(self, metric):
        return metric.name

    def grace_ms(self, metric):
        return GRACE_MS

    def step_ms(self, metric):
        return self._step_ms

    def see_to(self, metric, start_ms, end_ms, remaining_ms):
        if self.raises:
            self.raises -= 1
            raise TransientError("ThrottlingException")
        if self.fails:
            self.fails -= 1
            return False
        self.slices.append((metric.name, *((ms - NOON_MS) // MINUTE_MS for ms in (start_ms, end_ms))))
        return True


@pytest.fixture
def table():
    table = MemoryAggregates()
    for each in (ONE, OTHER):
        table.partials[PartialKey(each.name, 0, NOON_MS + 2 * MINUTE_MS, "w")] = Partial("1", 1, {})
    return table


@pytest.fixture
def duty():
    return Duty()


def settle(table, duty, minute, metrics=(ONE,), remaining=lambda: 60_000):
    """Settle with a stream complete until so many minutes after noon, and the grace."""
    return Settle(metrics, duty, table)(NOON_MS + minute * MINUTE_MS + GRACE_MS, remaining)


#           0:00 ──── 12:00 ─ [12:02 first] ─ 12:03
# settled  ├──────────────────────────────────┤
# seen to                    ├────────────────┤
def test_the_first_time_begins_with_the_first_window_and_holds_from_the_largest_that_it_is_in(table, duty):
    settle(table, duty, 3)
    assert duty.slices == [("one", 2, 3)]
    assert table.read_settled("test", 1) == {
        "one": Settled(MIDNIGHT_MS, NOON_MS + 3 * MINUTE_MS, NOON_MS + 3 * MINUTE_MS + GRACE_MS)
    }


def test_the_next_time_goes_on_from_there(table, duty):
    settle(table, duty, 3)
    duty.slices.clear()
    for minute in (3, 4, 4, 61):
        settle(table, duty, minute)
    assert duty.slices == [("one", 3, 4), ("one", 4, 60), ("one", 60, 61)]


def test_a_window_that_is_not_over_and_its_grace_is_not_seen_to(table, duty):
    settle(table, duty, 3)
    duty.slices.clear()
    Settle([ONE], duty, table)(NOON_MS + 4 * MINUTE_MS + GRACE_MS - 1, lambda: 60_000)
    assert duty.slices == []


def test_a_metric_of_which_nothing_is_stored_is_left(table, duty):
    settle(table, duty, 3, metrics=[metric("empty")])
    assert (duty.slices, table.settled) == ([], {})


def test_what_could_not_be_seen_to_comes_again(table, duty):
    settle(table, duty, 3)
    duty.slices.clear()
    duty.fails = 1
    assert settle(table, duty, 4).behind == 1
    duty.raises = 1
    report = settle(table, duty, 4)
    assert (report.behind, report.errors) == (1, {"ThrottlingException": 1})
    settle(table, duty, 5)
    assert duty.slices == [("one", 3, 5)]


def test_a_slice_that_may_have_been_too_much_is_done_window_by_window_until_one_is_done(table, duty):
    settle(table, duty, 3)
    duty.slices.clear()
    duty.fails = 1
    settler = Settle([ONE], duty, table)
    complete_ms = NOON_MS + 10 * MINUTE_MS + GRACE_MS
    assert settler(complete_ms, lambda: 60_000).behind == 1
    settler(complete_ms, lambda: 60_000)
    assert duty.slices == [("one", 3, 4), ("one", 4, 10)]


def test_a_metric_stored_under_another_definition_is_told_and_holds_up_no_other(table, duty):
    class Redefined(Duty):
        def see_to(self, metric, *slice_of):
            if metric is ONE:
                raise DefinitionChangedError("metric 'one' is stored under another definition; rename it")
            return super().see_to(metric, *slice_of)

    redefined = Redefined()
    report = settle(table, redefined, 3, metrics=[ONE, OTHER])
    assert (report.behind, len(redefined.slices)) == (1, 1)
    assert list(report.errors) == ["metric 'one' is stored under another definition; rename it"]


def test_one_metrics_trouble_does_not_hold_up_another(table, duty):
    settle(table, duty, 3, metrics=[ONE, OTHER])
    duty.slices.clear()
    duty.raises = 1
    assert settle(table, duty, 4, metrics=[ONE, OTHER]).behind == 1
    assert duty.slices == [("other", 3, 4)]


def test_metrics_go_on_in_turn_and_time_ends_it(table, duty):
    settle(table, duty, 3, metrics=[ONE, OTHER])
    duty.slices.clear()
    left = iter([60_000] * 12)
    report = settle(table, duty, 10_000, metrics=[ONE, OTHER], remaining=lambda: next(left, 0))
    assert [name for name, *_ in duty.slices[:4]] == ["one", "other", "one", "other"]
    assert report.behind == 2
    ends_ms = {name: NOON_MS + end * MINUTE_MS for name, _, end in duty.slices}
    for name, settled in table.read_settled("test", 1).items():
        assert ends_ms[name] - settled.until_ms in (0, HOUR_MS), "what could not be noted comes again"


def test_of_two_ticks_at_once_one_goes_on(table, duty):
    settle(table, duty, 3)

    class Doubled(Duty):
        def see_to(self, *slice_of):
            settle(table, duty, 4)
            return super().see_to(*slice_of)

    settle(table, Doubled(), 4)
    assert table.read_settled("test", 1)["one"].until_ms == NOON_MS + 4 * MINUTE_MS
    settle(table, duty, 5)
    assert duty.slices[-1] == ("one", 4, 5)


def test_a_lateness_that_was_raised_has_windows_seen_to_again(table, duty):
    settle(table, duty, 3)
    table.settled["test", "one"] = Settled(MIDNIGHT_MS, NOON_MS + 8 * MINUTE_MS, NOON_MS + 8 * MINUTE_MS)
    duty.slices.clear()
    settle(table, duty, 9)
    assert duty.slices == [("one", 3, 9)]


def test_windows_of_a_day_are_seen_to_one_by_one(table):
    duty = Duty(step_ms=DAY_MS)
    daily = metric("one", window="1d")
    settle(table, duty, 3 * 1440, metrics=[daily])
    assert duty.slices == [("one", -720 + 1440 * day, 720 + 1440 * day) for day in range(3)]


class Stream:
    def __init__(self, *progress):
        self.progress = progress

    def list_shards(self, timeout_ms):
        return [Shard("shard-0", is_open=True)]

    def read_progress(self, stream, timeout_ms):
        return self.progress


def test_nothing_is_settled_while_nobody_knows_how_complete_the_stream_is(table, duty):
    stream = Stream()
    assert SettleAll("events", stream, stream, {"test": Settle([ONE], duty, table)})(lambda: 60_000) == {}
    assert duty.slices == []


def test_every_duty_is_seen_to_though_one_fails(table, duty):
    class Broken(MemoryAggregates):
        def read_settled(self, purpose, timeout_ms):
            raise TransientError("InternalServerError")

    stream = Stream(ShardProgress("shard-0", "7", NOON_MS + 3 * MINUTE_MS + GRACE_MS))
    duties = {"broken": Settle([ONE], duty, Broken()), "test": Settle([ONE], duty, table)}
    reports = SettleAll("events", stream, stream, duties)(lambda: 60_000)
    assert (reports["broken"].errors, reports["test"].slices) == ({"InternalServerError": 1}, 1)
