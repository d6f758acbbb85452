from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aggregates.partial import merge_groups
from chalicelib.aggregates.rollup import Rollup, WindowKey, pack_groups
from chalicelib.consumers import fan_out
from chalicelib.consumers.ports import AlertKey, Failed, Refused, StoredChange
from chalicelib.consumers.result_message import MESSAGE_BYTES_MAX, write_message
from chalicelib.errors import TransientError
from chalicelib.reading.merged import MetricWindow
from chalicelib.records.rejection import Reason
from tests.builders import DAY_MS, MINUTE_MS, NOON_MS
from tests.unit.consumers.results_world import HOUR_MS, SALES, TABLE, WHOLE, World, states

EUR, GBP, USD, CHF = ("EUR",), ("GBP",), ("USD",), ("CHF",)  # in the three buckets
NOON_DAY_MS = NOON_MS - 12 * HOUR_MS


@pytest.fixture
def world():
    return World()


def test_a_changed_window_is_told_whole_of_all_buckets_and_writers(world):
    world.store(0, {EUR: states(1), GBP: states(2), USD: states(3), CHF: states(4)})
    world.store(0, {EUR: states(10)}, writer="another")
    assert len({SALES.bucket_of(group) for group in (EUR, GBP, USD, CHF)}) == 3
    report = world.fan_out()
    assert report.response == {"batchItemFailures": []}
    (message,) = world.published()
    assert message["rows"] == [
        {"currency": "CHF", "n": 4, "total": 4},
        {"currency": "EUR", "n": 11, "total": 11},
        {"currency": "GBP", "n": 2, "total": 2},
        {"currency": "USD", "n": 3, "total": 3},
    ]
    assert message["revision"] == len(world.table.partials)
    assert (report.windows, report.results.published, report.results.final) == (1, 1, 0)


def test_what_a_message_tells_is_what_stands_when_it_is_read_and_not_what_changed(world):
    change = world.store(0, {EUR: states(1)})
    world.store(0, {EUR: states(2)})
    world.fan_out(change)
    assert world.told() == [("sales", "12:00", "12:01", 2, False)]


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from([EUR, GBP, USD]), st.sampled_from(["w", "x"])), min_size=1),
    st.data(),
)
def test_each_window_is_told_once_a_batch_and_the_last_message_tells_all(stores, data):
    world = World()
    latest = {}
    while stores:
        size = data.draw(st.integers(1, len(stores)))
        batch, stores = stores[:size], stores[size:]
        for number, (minute, group, writer) in enumerate(batch):
            world.store(minute, {group: states(number)}, writer=writer)
        world.fan_out()
        messages = world.published()
        assert len(messages) == len({minute for minute, _, _ in batch})
        for message in messages:
            before = latest.get(message["window_start"])
            assert before is None or message["revision"] > before["revision"]
            latest[message["window_start"]] = message
    shares = [
        ((key.window_start_ms - NOON_MS) // MINUTE_MS, partial.groups) for key, partial in world.table.partials.items()
    ]
    for message in latest.values():
        of_window = [groups.items() for minute, groups in shares if minute == int(message["window_start"][14:16])]
        merged = merge_groups(SALES, of_window)
        assert {(row["currency"],): row["n"] for row in message["rows"]} == {g: n for g, (n, _) in merged.items()}


def test_a_batch_that_comes_again_tells_the_same_under_the_same_ids(world):
    changes = world.store(0, {EUR: states(1), GBP: states(1)}) + world.store(1, {EUR: states(1)})
    world.fan_out(changes)
    first = list(world.topic.messages)
    world.fan_out(changes[1:])
    assert world.topic.messages[len(first) :] == first


def test_rollups_are_told_like_other_windows(world):
    for bucket in range(SALES.buckets):
        key = WindowKey("sales", HOUR_MS, bucket, NOON_MS)
        group = next(group for group in (EUR, GBP, USD, CHF) if SALES.bucket_of(group) == bucket)
        world.table.rollups[key] = Rollup(bucket + 1, pack_groups({group: states(bucket + 1)}))
        world.note(key)
    world.fan_out()
    (message,) = world.published()
    assert (message["window_end"], message["revision"]) == ("2026-11-24T13:00:00Z", 1 + 2 + 3)
    assert sorted(row["n"] for row in message["rows"]) == [1, 2, 3]


# day [too large] = 11:00 [EUR 4], 12:00 [too large] = 12:00 [EUR 1], 12:59 [EUR 2]
def test_a_rollup_too_large_to_be_stored_is_told_of_what_it_is_made_of(world):
    bucket = SALES.bucket_of(EUR)
    day, noon = (WindowKey("sales", step, bucket, start) for step, start in ((DAY_MS, NOON_DAY_MS), (HOUR_MS, NOON_MS)))
    world.store(0, {EUR: states(1)})
    world.store(59, {EUR: states(2)})
    world.table.rollups[noon._replace(window_start_ms=NOON_MS - HOUR_MS)] = Rollup(1, pack_groups({EUR: states(4)}))
    world.table.rollups[noon] = Rollup(1, None)
    world.table.rollups[day] = Rollup(1, None)
    world.note(day)
    world.note(noon)
    world.fan_out()
    told = {message["window_end"]: message for message in world.published()}
    assert told["2026-11-25T00:00:00Z"]["rows"] == [{"currency": "EUR", "n": 7, "total": 7}]
    assert told["2026-11-24T13:00:00Z"]["rows"] == [{"currency": "EUR", "n": 3, "total": 3}]
    assert told["2026-11-24T13:00:00Z"]["revision"] == 2, "that of both minutes"


def test_what_results_are_not_about_is_ignored(world):
    world.note(None)
    world.note(WindowKey("removed", MINUTE_MS, 0, NOON_MS))
    world.note(WindowKey("whole", HOUR_MS, 0, NOON_MS))  # it has no such windows any more
    report = world.fan_out()
    assert (report.ignored, world.published()) == (3, [])
    assert report.response == {"batchItemFailures": []}


def test_a_window_of_which_nothing_is_stored_any_more_is_not_told(world):
    world.note(WindowKey("sales", MINUTE_MS, 0, NOON_MS))
    assert world.fan_out().response == {"batchItemFailures": []}
    assert world.published() == []


# lateness 5 minutes:  12:00|12:01 … final from 12:06 on
@pytest.mark.parametrize(("complete", "final"), [(5, False), (6, True)])
def test_a_window_is_final_once_completeness_has_passed_its_end_and_the_lateness(world, complete, final):
    world.store(0, {EUR: states(1)})
    world.complete_until(complete)
    world.now_ms = NOON_MS + 60 * MINUTE_MS
    report = world.fan_out()
    assert world.topic.messages[0].attributes["final"] == str(final).lower()
    assert world.told() == [("sales", "12:00", "12:01", 1, final)]
    assert report.results.final == int(final)


def test_of_rollups_tick_tells_when_they_are_final_for_they_may_be_behind_their_minutes(world):
    key = WindowKey("sales", HOUR_MS, SALES.bucket_of(EUR), NOON_MS - HOUR_MS)
    world.table.rollups[key] = Rollup(1, pack_groups({EUR: states(1)}))
    world.note(key)
    world.store(0, {EUR: states(1)})
    world.complete_until(60)
    world.now_ms = NOON_MS + 60 * MINUTE_MS
    world.fan_out()
    assert world.told() == [("sales", "12:00", "12:01", 1, True), ("sales", "11:00", "12:00", 1, False)]


def test_while_completeness_is_not_known_nothing_is_final(world):
    world.store(0, {EUR: states(1)})
    world.now_ms = NOON_MS + 60 * MINUTE_MS
    world.fan_out()
    assert world.told() == [("sales", "12:00", "12:01", 1, False)]


def test_completeness_is_not_asked_for_while_no_window_can_be_final(world):
    world.store(0, {EUR: states(1)})
    world.shards.list_shards = None  # called, it would raise
    world.now_ms = NOON_MS + 6 * MINUTE_MS - 1
    assert world.fan_out().response == {"batchItemFailures": []}


def test_completeness_is_read_before_the_shares(world):
    world.store(0, {EUR: states(1)})
    world.complete_until(6)
    world.now_ms = NOON_MS + 60 * MINUTE_MS
    list_shards, calls = world.shards.list_shards, []
    read_shares = world.table.read_shares
    world.shards.list_shards = lambda timeout_ms: calls.append("completeness") or list_shards(timeout_ms)
    world.table.read_shares = lambda *arguments: calls.append("shares") or read_shares(*arguments)
    world.fan_out()
    assert calls == ["completeness", "shares"]


# changes  1 [12:00]  2 [12:01]  3 [12:00]  4 [12:02]
def test_the_checkpoint_is_the_first_change_of_a_window_that_is_not_published(world):
    for minute in (0, 1, 0, 2):
        world.store(minute, {EUR: states(1)})
    world.topic.judge = lambda message: Failed("Throttled") if b"12:01:00Z" in message.body[:150] else None
    report = world.fan_out()
    assert report.response == {"batchItemFailures": [{"itemIdentifier": "1"}]}, "12:00 ends at 12:01"
    world.topic.judge = lambda message: Failed("Throttled") if b'start":"2026-11-24T12:01' in message.body else None
    for minute in (0, 1, 0, 2):
        world.store(minute, {EUR: states(1)})
    report = world.fan_out()
    assert report.response == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert report.results.errors == Counter({"Throttled": 1})
    assert report.results.failed == 1


def test_reads_that_fail_are_a_checkpoint(world):
    world.store(3, {EUR: states(1)})

    def fail(*_):
        raise TransientError("ThrottlingException")

    world.table.read_shares = fail
    report = world.fan_out()
    assert report.response == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert report.errors == Counter({"ThrottlingException": 1})


def test_so_is_completeness_that_cannot_be_read(world):
    world.note(None)
    world.store(0, {EUR: states(1)})
    world.now_ms = NOON_MS + 60 * MINUTE_MS
    world.table.read_progress = world.table.read_shares = None
    world.shards.list_shards = lambda timeout_ms: (_ for _ in ()).throw(TransientError("LimitExceededException"))
    assert world.fan_out().response == {"batchItemFailures": [{"itemIdentifier": "2"}]}


def test_out_of_time_nothing_is_published_and_all_comes_again(world):
    world.store(0, {EUR: states(1)})
    world.remaining_ms = fan_out.RESERVE_MS
    assert world.fan_out().response == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert world.published() == []


def test_many_windows_are_told_some_at_a_time_and_what_follows_a_failure_waits(world):
    for minute in range(100):
        world.store(minute, {(): (1,)}, metric=WHOLE)
    told = []
    world.topic.judge = lambda message: told.append(message) or (Failed("Throttled") if len(told) == 70 else None)
    report = world.fan_out()
    assert report.failed_sequence_number == "70"
    assert len(told) == 100, "both chunks; the second one is the last"
    for minute in range(200):
        world.store(minute, {(): (1,)}, metric=WHOLE)
    told = []
    assert world.fan_out().failed_sequence_number == "70"
    assert len(told) == 2 * fan_out.WINDOWS_AT_ONCE


def test_windows_of_many_groups_are_read_few_at_a_time(world, monkeypatch):
    monkeypatch.setattr(fan_out, "GROUPS_AT_ONCE", 2 * fan_out.groups_max(SALES))
    for minute in range(5):
        world.store(minute, {EUR: states(1)})
    reads = []
    read_shares = world.table.read_shares
    world.table.read_shares = lambda plans, *rest: reads.append(plans) or read_shares(plans, *rest)
    world.fan_out()
    assert [(plans[0].end_ms - plans[0].start_ms) // MINUTE_MS for plans in reads] == [2, 2, 1]
    assert [len(plans) for plans in reads] == [1, 1, 1], "windows that lie next to each other are read at once"


# --- what can never be sent


def test_a_message_that_can_never_be_sent_is_kept_whole_and_done_with(world):
    large = ("x" * MESSAGE_BYTES_MAX,)
    world.note(None)
    world.store(0, {EUR: states(1), large: states(2)})
    report = world.fan_out()
    assert report.response == {"batchItemFailures": []}
    ((place, letters),) = world.dead_letters.objects.items()
    assert place == (TABLE, "fan_out", "2")
    (letter,) = letters
    assert letter.refusal.reason == Reason.UNSENDABLE
    assert letter.refusal.error == "InvalidParameter: Message too long"
    assert large[0].encode() in letter.data
    assert letter.data.startswith(b'{"id":"')
    assert (report.results.published, report.results.refused, report.results.failed) == (1, 1, 0)
    (message,) = world.published()
    assert (message["part"], message["parts"], message["rows"]) in [
        (number, 2, [{"currency": "EUR", "n": 1, "total": 1}]) for number in (1, 2)
    ]


def test_what_sns_says_is_shortened(world):
    world.store(0, {EUR: states(1)})
    world.topic.judge = lambda message: Refused("x" * 1_000)
    world.fan_out()
    (letters,) = world.dead_letters.objects.values()
    assert len(letters[0].refusal.error) == 300


def test_one_that_cannot_be_kept_either_is_a_checkpoint(world):
    world.store(0, {EUR: states(1)})
    world.store(1, {EUR: states(1)})
    world.topic.judge = lambda message: Refused("no")
    world.dead_letters.refused = {"2"}
    report = world.fan_out()
    assert report.response == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert (report.results.refused, report.results.failed, report.results.errors) == (1, 1, Counter({"SlowDown": 1}))


# --- alerts

LATE = AlertKey("late", "12:00")


class Alerts:
    """Alerts that are stored, as messages."""

    def __init__(self, *keys):
        self.messages = {key: write_message("alert", {"alert": key.alert}, {"metric": "sales"}) for key in keys}
        self.asked = []
        self.raises = None

    def read_alerts(self, keys, timeout_ms):
        self.asked += keys
        if self.raises:
            raise self.raises
        return {key: self.messages[key] for key in keys if key in self.messages}


def test_a_stored_alert_is_published_once_a_batch(world):
    alerts = Alerts(LATE)
    for _ in range(3):
        world.note(LATE)
    report = world.fan_out(alerts=alerts)
    assert world.published() == [{"kind": "alert", "alert": "late"}]
    assert (alerts.asked, report.alerts) == ([LATE], 1)


def test_an_alert_that_is_stored_no_more_is_not_published(world):
    world.note(LATE)
    assert world.fan_out(alerts=Alerts()).response == {"batchItemFailures": []}
    assert world.published() == []


def test_an_alert_that_fails_is_a_checkpoint_as_a_window_is(world):
    alerts = Alerts(LATE)
    changes = [StoredChange("1", None), StoredChange("2", LATE)]
    world.topic.judge = lambda message: Failed("Throttled")
    assert world.fan_out(changes, alerts=alerts).failed_sequence_number == "2"
    alerts.raises = TransientError("ThrottlingException")
    assert world.fan_out(changes, alerts=alerts).failed_sequence_number == "2"


def test_without_anybody_to_read_them_alerts_are_passed_over(world):
    world.note(LATE)
    assert world.fan_out().response == {"batchItemFailures": []}


def test_whoever_watches_sees_each_merged_window_and_its_failures_are_checkpoints(world):
    world.store(0, {EUR: states(1), GBP: states(2)})
    world.store(1, {EUR: states(3)})
    seen = []

    def watch(windows, timeout_ms):
        seen.extend(windows)
        return {MetricWindow("sales", MINUTE_MS, NOON_MS + MINUTE_MS)}

    report = world.fan_out(watch=watch)
    assert [(each.window_start_ms, each.step_ms, dict(each.groups)) for each in seen] == [
        (NOON_MS, MINUTE_MS, {EUR: states(1), GBP: states(2)}),
        (NOON_MS + MINUTE_MS, MINUTE_MS, {EUR: states(3)}),
    ]
    assert report.failed_sequence_number == "3"
    assert len(world.published()) == 2, "what is stored is told all the same"


def test_what_becomes_complete_while_windows_are_read_makes_none_of_them_final(world):
    world.store(0, {EUR: states(1)})
    world.now_ms = NOON_MS + 10 * MINUTE_MS
    world.complete_until(5)
    exact = world.table.read_shares

    def read_shares(*what):
        cost = exact(*what)
        world.complete_until(6)  # by what was committed after the read
        return cost

    world.table.read_shares = read_shares
    world.fan_out()
    assert [final for *_, final in world.told()] == [False]
