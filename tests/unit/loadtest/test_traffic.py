"""What a worker sends follows from the run and the event's number, and is what its kind says."""

import gzip
from collections import Counter
from decimal import Decimal
from itertools import pairwise

import numpy as np
import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chalicelib.aggregates.windows import parse_instant
from chalicelib.records import kpl
from loadtest.expectation import expect
from loadtest.producer import Encoding
from loadtest.producer.delivery import REQUEST_BYTES_MAX
from loadtest.producer.packing import PACK_BYTES_MAX, PACK_EVENTS_MAX
from loadtest.profile import Analysts, Arrivals, Burst, Events, Profile, Shares
from loadtest.recording import Ledger, Run
from loadtest.traffic import PROBERS_FROM, Names, Traffic, probe_customer, probe_due_ms, probe_event
from loadtest.traffic.arrivals import SLOT_MS_MAX, SLOT_MS_MIN, Schedule
from loadtest.traffic.columns import CONFLICT_MS_MIN, LARGE_CENTS, ORIGINAL_MS_MAX, Kind, Planner
from tests.builders import DAY_MS, NOON_MS
from tests.unit.loadtest.counting import Stream

SHARES = Shares(duplicates=0.1, conflicts=0.05, late=0.05, too_late=0.02, future=0.02, poison=0.08, hot=0.05)
PROFILE = Profile(
    "every kind in every encoding",
    Arrivals(rate=2_000, seconds=20, ramp_seconds=4),
    events=Events(customers=100, currencies=3, encodings=dict.fromkeys(Encoding, 1.0), shares=SHARES),
    analysts=Analysts(probes=4),
)
RUN = Run("q7x", PROFILE, NOON_MS, workers=2)
SHARDS = Stream(4).map
ORIGINALS = (Kind.USUAL, Kind.LATE, Kind.HOT)


def of_events(**changes):
    return replace(RUN, profile=replace(PROFILE, events=replace(PROFILE.events, **changes)))


def of_arrivals(workers=2, **changes):
    return replace(RUN, workers=workers, profile=replace(PROFILE, arrivals=replace(PROFILE.arrivals, **changes)))


def columns_of(run, worker=0):
    planner = Planner(run, worker)
    return planner.columns(0, planner.schedule.total - 1)


def sent(run, worker=0, shards=SHARDS):
    """Each event's key and bytes, by its number; of whole records where nothing inside can be told."""
    return {
        number: event
        for slot in Traffic(run, worker).slots()
        for record in slot.records(shards)
        for number, event in zip(record.numbers, opened(record), strict=True)
    }


def opened(record):
    """The key and the bytes of each event in a record."""
    if record.data.startswith(b"\x1f\x8b"):
        return [(None, line) for line in gzip.decompress(record.data).split(b"\n")]
    if record.data.startswith(b"\x28\xb5\x2f\xfd"):
        return [(None, line) for line in zstandard.decompress(record.data).split(b"\n")]
    if kpl.is_aggregate(record.data) and len(record.numbers) > 1:
        aggregate = kpl.deaggregate(record.data)
        return [(aggregate.partition_key(place), data) for place, data in enumerate(aggregate.payloads)]
    return [(record.partition_key, record.data)]


# ── the same, whoever asks ──


@given(st.integers(0, 17_900), st.integers(0, 50))
def test_an_event_is_the_same_whatever_is_asked_for_beside_it(first, more):
    whole = WHOLE
    part = Planner(RUN, 0).columns(first, first + more)
    for name in whole.__slots__:
        assert np.array_equal(getattr(part, name), getattr(whole, name)[first : first + more + 1])


WHOLE = columns_of(RUN)
SENT = sent(RUN)


def test_two_traffics_of_one_worker_are_the_same_bytes_and_of_two_workers_are_not():
    first, again, other = ([slot.records(SHARDS) for slot in Traffic(RUN, worker).slots()] for worker in (0, 0, 1))
    assert first == again
    assert first != other


def test_the_seed_decides_what_comes_and_the_run_id_only_what_it_is_called():
    named = columns_of(replace(RUN, run_id="other"))
    assert np.array_equal(named.kinds, WHOLE.kinds)
    assert np.array_equal(named.cents, WHOLE.cents)
    seeded = columns_of(replace(RUN, profile=replace(PROFILE, seed=2)))
    assert not np.array_equal(seeded.kinds, WHOLE.kinds)


def test_an_event_stays_what_it_was_when_a_recording_is_proved_again():
    assert SENT[4_711] == PINNED


PINNED = (
    "q7x-00017",
    (
        b'{"specversion":"1.0","id":"0-4711","source":"/loadtest/q7x","type":"order.placed",'
        b'"time":"2026-11-24T12:00:06.711Z","data":{"order_id":"order-4711","user_id":"q7x-00017","amount":14.78,'
        b'"currency":"xVK","order_type":"standard"}}'
    ),
)


# ── when ──


def test_events_come_at_the_rate_of_all_workers_together():
    run = of_arrivals(workers=3, ramp_seconds=0)
    assert sum(Traffic(run, worker).total for worker in range(3)) == 2_000 * 20
    due_ms = np.concatenate([_due_ms(run, worker) for worker in range(3)])
    assert set(np.bincount(due_ms // 1000)) == {2_000}


def test_the_ramp_rises_evenly_to_the_rate():
    by_second = np.bincount(np.concatenate([_due_ms(RUN, worker) for worker in range(2)]) // 1000)
    assert by_second.tolist() == [250, 750, 1250, 1750, *[2_000] * 16]


def test_a_burst_is_one_slot_at_one_instant_on_top_of_the_rate():
    run = of_arrivals(workers=2, burst=Burst(10_001, 6))
    slots = [slot for slot in Traffic(run, 0).slots() if len(slot) > 1_000]
    assert [(slot.due_ms - NOON_MS, len(slot)) for slot in slots] == [(6_001, 5_001), (12_001, 5_001), (18_001, 5_001)]
    due_ms = _due_ms(run, 0)
    assert set(due_ms[slots[0].first : slots[0].last + 1]) == {6_000}
    assert Traffic(run, 0).total == Traffic(RUN, 0).total + 3 * 5_001


def test_numbers_rise_with_time_and_no_slot_is_empty_or_sent_before_its_events_are_due():
    for run in (RUN, of_arrivals(rate=3), of_arrivals(burst=Burst(70, 1.7))):
        due_ms = _due_ms(run, 1)
        slots = list(Traffic(run, 1).slots())
        assert (np.diff(due_ms) >= 0).all()
        assert [slot.first for slot in slots] == [0, *(slot.last + 1 for slot in slots[:-1])]
        assert slots[-1].last == Traffic(run, 1).total - 1
        assert all(before.due_ms <= after.due_ms for before, after in pairwise(slots))
        for slot in slots:
            assert (
                slot.due_ms - NOON_MS - SLOT_MS_MAX <= due_ms[slot.first] <= due_ms[slot.last] < slot.due_ms - NOON_MS
            )


@pytest.mark.parametrize(("rate", "width_ms"), [(20_000, SLOT_MS_MIN), (20, SLOT_MS_MAX)])
def test_slots_are_short_where_events_are_many(rate, width_ms):
    schedule = Schedule(Arrivals(rate, 20), workers=2, worker=0)
    assert set(schedule.widths_ms.tolist()) == {width_ms}


@given(st.lists(st.integers(0, 25_000), min_size=1, max_size=20), st.integers(0, 2**32 - 1))
def test_an_event_before_an_instant_is_due_by_then(instants_ms, chance):
    schedule = Schedule(replace(PROFILE.arrivals, rate=7, burst=Burst(30, 3)), workers=2, worker=1)
    found = schedule.spread_before(np.array(instants_ms), np.full(len(instants_ms), chance))
    there = found >= 0
    assert (schedule.due_ms(found[there]) <= np.array(instants_ms)[there]).all()
    assert (found < schedule.total).all()


def _due_ms(run, worker):
    schedule = Schedule(run.profile.arrivals, run.workers, worker)
    return schedule.due_ms(np.arange(schedule.total))


# ── what ──


def test_each_kind_has_the_share_that_the_profile_gives_it():
    counts = Counter(WHOLE.kinds.tolist())
    total = len(WHOLE.kinds)
    assert counts[Kind.DUPLICATE] / total == pytest.approx(0.1, abs=0.01)
    assert counts[Kind.LATE] / total == pytest.approx(0.05, abs=0.01)
    assert counts[Kind.TOO_LATE] / total == pytest.approx(0.02, abs=0.005)
    assert counts[Kind.FUTURE] / total == pytest.approx(0.02, abs=0.005)
    assert counts[Kind.HOT] / total == pytest.approx(0.05, abs=0.01)
    # The first seconds have nothing to conflict with, and its events are usual ones.
    assert np.mean(WHOLE.kinds[total * 3 // 4 :] == Kind.CONFLICT) == pytest.approx(0.05, abs=0.01)
    poison = (Kind.MALFORMED, Kind.INVALID, Kind.UNKNOWN_TYPE, Kind.BROKEN_AGGREGATE)
    assert sum(counts[kind] for kind in poison) / total == pytest.approx(0.08, abs=0.01)
    assert 0 < counts[Kind.BROKEN_AGGREGATE] < counts[Kind.UNKNOWN_TYPE] < counts[Kind.INVALID]


def test_a_duplicate_has_the_bytes_and_the_shard_of_its_original_and_another_encoding():
    duplicates = np.flatnonzero(WHOLE.kinds == Kind.DUPLICATE)
    originals = WHOLE.originals[duplicates]
    assert (originals < duplicates).all()
    assert np.isin(WHOLE.kinds[originals], ORIGINALS).all()
    assert (WHOLE.customers[originals] == WHOLE.customers[duplicates]).all()
    assert (WHOLE.encodings[originals] != WHOLE.encodings[duplicates]).all()
    assert all(SENT[number][1] == SENT[original][1] for number, original in zip(duplicates, originals, strict=True))


def test_some_duplicates_come_at_once_and_some_seconds_later():
    duplicates = np.flatnonzero(WHOLE.kinds == Kind.DUPLICATE)
    due_ms = _due_ms(RUN, 0)
    behind_ms = due_ms[duplicates] - due_ms[WHOLE.originals[duplicates]]
    assert (behind_ms < 100).sum() > len(duplicates) / 4
    assert (behind_ms > 1_000).sum() > len(duplicates) / 4
    assert behind_ms.max() < ORIGINAL_MS_MAX


def test_a_conflict_has_its_originals_id_and_key_and_a_cent_more_and_follows_at_a_distance():
    due_ms = _due_ms(RUN, 0)
    conflicts = np.flatnonzero(WHOLE.kinds == Kind.CONFLICT).tolist()
    for number in conflicts:
        original = int(WHOLE.originals[number])
        event, first = (orjson.loads(SENT[each][1]) for each in (number, original))
        assert event["id"] == first["id"]
        assert round(100 * event["data"].pop("amount")) == round(100 * first["data"].pop("amount")) + 1
        assert event == first
        assert due_ms[number] - due_ms[original] >= CONFLICT_MS_MIN


def test_no_original_has_both_duplicates_and_conflicts():
    repeated = {kind: set(WHOLE.originals[WHOLE.kinds == kind].tolist()) for kind in (Kind.DUPLICATE, Kind.CONFLICT)}
    assert repeated[Kind.DUPLICATE].isdisjoint(repeated[Kind.CONFLICT])


def test_an_events_time_is_when_it_is_due_but_for_what_its_kind_says():
    shift_ms = WHOLE.times_ms - NOON_MS - _due_ms(RUN, 0)
    of_kind = {kind: shift_ms[kind == WHOLE.kinds] for kind in Kind}
    assert set(of_kind[Kind.USUAL]) == set(of_kind[Kind.HOT]) == {0}
    assert of_kind[Kind.LATE].min() >= -75 * 60_000
    assert of_kind[Kind.LATE].max() <= -60 * 60_000
    assert of_kind[Kind.TOO_LATE].max() < -2 * DAY_MS
    assert of_kind[Kind.FUTURE].min() > DAY_MS
    time = orjson.loads(SENT[17][1])["time"]
    assert parse_instant(time) == WHOLE.times_ms[17]


def test_customers_are_zipf_like_and_the_hot_one_has_the_hot_share():
    usual = np.bincount(WHOLE.customers[WHOLE.kinds == Kind.USUAL], minlength=101)
    assert usual[0] / usual[1] == pytest.approx(2, rel=0.2)
    assert usual[0] / usual[9] == pytest.approx(10, rel=0.5)
    assert usual[100] == 0
    assert set(WHOLE.customers[WHOLE.kinds == Kind.HOT]) == {100}


def test_amounts_have_cents_and_few_orders_are_large():
    cents = columns_of(of_arrivals(rate=20_000)).cents
    assert cents.min() >= 10_00
    assert cents.max() <= 10_000_00
    assert len(np.unique(cents % 100)) == 100
    assert 5 < (cents >= LARGE_CENTS).sum() < 40  # of 180 000


def test_all_that_names_a_group_is_the_runs_own():
    events = [orjson.loads(text) for _, text in sent(of_events(shares=Shares())).values()]
    assert {event["source"] for event in events} == {"/loadtest/q7x"}
    assert all(event["data"]["user_id"].startswith("q7x-") for event in events)
    assert {event["data"]["order_type"] for event in events} == {"standard", "express", "gift"}
    currencies = {event["data"]["currency"] for event in events}
    assert currencies == set(Names.of(RUN).currencies)
    assert len(currencies) == 3
    assert all(len(currency) == 3 and currency.isascii() and currency.isalpha() for currency in currencies)
    assert not any(currency.isupper() for currency in currencies)


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12), st.integers(1, 8))
def test_every_run_has_as_many_currencies_as_it_is_told_and_another_for_probes(run_id, currencies):
    names = Names(run_id, 1, currencies)
    assert len({*names.currencies, names.probe_currency}) == currencies + 1


# ── how it is packed ──


def test_each_event_is_in_one_record_of_its_shard_and_encoding():
    for slot in Traffic(RUN, 1).slots():
        records = slot.records(SHARDS)
        assert sorted(number for record in records for number in record.numbers) == [*range(slot.first, slot.last + 1)]
        for record in records:
            for key, text in opened(record):
                if text.endswith(b"}}"):
                    user_id = orjson.loads(text)["data"]["user_id"]
                    assert key in {None, user_id}
                    assert SHARDS.shard_of(user_id) == SHARDS.shard_of(record.partition_key)


@pytest.mark.parametrize("encoding", list(Encoding))
def test_a_profile_of_one_encoding_has_that_one_and_what_must_stand_alone_is_plain(encoding):
    run = of_events(encodings={encoding: 1.0}, shares=Shares(poison=0.1))
    records = [record for slot in Traffic(run, 0).slots() for record in slot.records(SHARDS)]
    opening = {Encoding.GZIP: b"\x1f\x8b", Encoding.ZSTD: b"\x28\xb5\x2f\xfd", Encoding.AGGREGATE: kpl.MAGIC}
    packed = [record for record in records if len(record.numbers) > 1]
    assert all(record.data.startswith(opening[encoding]) for record in packed)
    assert bool(packed) == (encoding is not Encoding.PLAIN)
    assert all(record.data.startswith((b"{", *opening.values())) for record in records)


def test_records_keep_within_the_limits_of_the_producer_even_in_a_burst():
    run = of_events(encodings={Encoding.AGGREGATE: 1.0, Encoding.GZIP: 1.0})
    run = replace(run, profile=replace(run.profile, arrivals=Arrivals(100, 5, burst=Burst(20_000, 2))))
    records = [record for slot in Traffic(run, 0).slots() for record in slot.records(SHARDS)]
    assert max(len(record.numbers) for record in records) <= PACK_EVENTS_MAX
    assert PACK_BYTES_MAX * 0.9 < max(record.size_bytes for record in records) <= PACK_BYTES_MAX + 20 + 256
    assert max(record.size_bytes for record in records) < REQUEST_BYTES_MAX


def test_there_are_no_other_events():
    traffic = Traffic(RUN, 0)
    for first, last in ((-1, 3), (0, traffic.total), (5, 4)):
        with pytest.raises(ValueError, match="there are events from 0 to 17999"):
            traffic.records(first, last, SHARDS)


def test_no_repr_shows_an_event():
    slot = next(Traffic(RUN, 0).slots())
    assert "q7x" not in repr(slot) + repr(slot.records(SHARDS))


# ── probes ──


def test_a_probe_is_the_one_order_of_its_customer():
    key, data = probe_event(RUN, 2, 9)
    event = orjson.loads(data)
    assert key == event["data"]["user_id"] == probe_customer(RUN, 2, 9) == "q7x-probe-2-9"
    assert event["data"]["currency"] == Names.of(RUN).probe_currency
    assert parse_instant(event["time"]) == probe_due_ms(RUN, 9) == NOON_MS + 2_250  # four a second
    expected = expect(RUN, [Ledger(PROBERS_FROM + 2, [(9, 9)], [])])
    assert expected.metrics["customers"] == {(NOON_MS, (key,)): {"orders": 1, "spend": Decimal("10.00")}}


def test_probes_of_two_probers_are_two():
    assert probe_event(RUN, 0, 1)[1] != probe_event(RUN, 1, 1)[1]
    assert orjson.loads(probe_event(RUN, 0, 1)[1])["id"] != orjson.loads(probe_event(RUN, 1, 1)[1])["id"]
