"""Consecutive plain records are decoded at once: that must never be seen in what becomes of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chalicelib.aggregates.metric import Catalog
from chalicelib.definitions import EVENT_TYPES, METRICS
from chalicelib.records import decode as decoding
from chalicelib.records.kpl import HASH_KEYS, SIGNATURE
from chalicelib.records.rejection import Reason, Refusal, Rejected
from chalicelib.records.stretches import change, first_of, one_by_one, placed, records_in
from tests.builders import NOON_MS, aggregated, gzipped, json_line, json_lines, make_decoder, order, order_changed
from tests.builders import record as record_of

ROW = {"order_id": "order-1", "status": "open", "amount": 3}
LATENESS_MS = 40_000
DECODER = make_decoder(Catalog(EVENT_TYPES, METRICS), lateness_ms=LATENESS_MS, future_tolerance_ms=1_000)

good = st.builds(
    lambda number, source, time, currency: json_line(
        order(number, time=f"2026-11-24T{time}Z", currency=currency) | {"source": source}
    ),
    st.integers(0, 5),
    st.sampled_from(["/a", "/a", "/b"]),
    st.sampled_from(["11:59:30", "11:59:59.9999", "12:00:01", "11:59:20"]),
    st.sampled_from(["USD", "EUR"]),
)
changed = st.integers(0, 9).map(lambda number: json_line(order_changed(None, ROW, number)))
bad = st.sampled_from(
    [
        b"",
        b"{",
        b" " + json_line(order()),
        json_line(order(amount="1e30")),
        json_line(order(currency="?")),
        json_line(order() | {"type": "unheard of"}),
        json_lines(order(1), order(2)),
        json_lines(order(1), {"no": "event"}),
        json_line(order(user_id="u" * 1_025)),
        aggregated(b"x")[:-1],
    ]
)
one = good | good | good | changed | bad
payloads = one | one.map(gzipped) | st.lists(one, min_size=1, max_size=3).map(lambda several: aggregated(*several))
arrivals_ms = st.sampled_from([NOON_MS, NOON_MS, NOON_MS, NOON_MS + 10_000, NOON_MS + 1, NOON_MS - 2_000])
batches = st.lists(st.tuples(payloads, arrivals_ms, st.sampled_from(["ada", SIGNATURE])), max_size=14).map(
    lambda drawn: [
        record_of(payload, number, arrived_at_ms=arrived_at_ms, partition_key=key)
        for number, (payload, arrived_at_ms, key) in enumerate(drawn, 1)
    ]
)
stretches = st.tuples(st.integers(1, 8), st.integers(1, 3))


def seen(decoded, with_events=True):
    """All that anybody counts, hands back or keeps of one record."""
    parts = [(part.kind, part.times, part.columns, part.first_ms, part.last_ms) for part in DECODER.parts_of(decoded)]
    return (
        list(decoded.texts),
        list(decoded.numbers),
        list(decoded.identities),
        list(decoded.contents),
        parts,
        list(decoded.rejected),
        (decoded.misplaced, decoded.duplicates, decoded.records),
        list(decoded.events) if with_events else None,
    )


def stretched(records, sizes, **how):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "STRETCH_RECORDS_MAX", sizes[0])
        patch.setattr(decoding, "STRETCH_RECORDS_MIN", sizes[1])
        return DECODER.decode_all(records, **how)


@given(batches, stretches, st.booleans(), st.sampled_from([HASH_KEYS, range(2**127)]))
def test_a_batch_decoded_in_stretches_is_what_decoding_each_record_gives(records, sizes, is_kept, hash_keys):
    how = {"hash_keys": hash_keys, "keep": lambda _: is_kept}
    decoded = stretched(records, sizes, **how)
    assert list(map(seen, one_by_one(decoded))) == [seen(DECODER.decode(record, **how)) for record in records]
    assert records_in(decoded) == len(records)
    assert all(len(each.texts) == each.records and not each.rejected for each in decoded if each.records > 1)


@given(batches, stretches)
def test_the_rows_of_a_stretch_are_those_of_its_records(records, sizes):
    for each in stretched(records, sizes):
        again = DECODER.parts_of(replace(each, parts=()))
        assert [(part.kind, part.times, part.columns) for part in DECODER.parts_of(each)] == [
            (part.kind, part.times, part.columns) for part in again
        ]


@given(batches, stretches, st.data())
def test_whatever_is_kept_for_a_handler_is_kept(records, sizes, data):
    wanted = data.draw(st.sets(st.integers(0, 5)))
    ids = {f"event-{number}" for number in wanted}
    decoded = stretched(records, sizes, keep=lambda events: any(event.id in ids for event in events))
    kept = [event for each in decoded for event in each.events if event.id in ids]
    assert kept == [event for record in records for event in DECODER.decode(record).events if event.id in ids]
    assert all(len(each.events) in (0, len(each.texts)) for each in decoded)


def test_plain_records_are_told_as_few_stretches_however_many_are_bad():
    lines = [json_line(order(number)) for number in range(1_000)]
    at = [record_of(line, number) for number, line in enumerate(lines, 1)]
    assert [each.records for each in DECODER.decode_all(at)] == [200] * 5
    at[700] = record_of(b"{", 701)
    decoded = DECODER.decode_all(at)
    assert sum(each.records == 1 for each in decoded) <= 6
    assert max(each.records for each in decoded) == 200


@pytest.mark.parametrize(
    ("time", "reason"), [("2026-11-24T11:59:20Z", Reason.TOO_LATE), ("2026-11-24T12:00:01Z", Reason.FROM_THE_FUTURE)]
)
def test_each_record_of_a_stretch_is_held_against_its_own_arrival(time, reason):
    line, far = json_line(order(time=time)), {Reason.TOO_LATE: 1, Reason.FROM_THE_FUTURE: -1}[reason]
    at = [record_of(line, number, arrived_at_ms=NOON_MS + far * (number == 2)) for number in (1, 2, 3)]
    decoded = list(one_by_one(DECODER.decode_all(at)))
    assert [[each.refusal.reason for each in one.rejected] for one in decoded] == [[], [reason], []]


@given(batches, stretches, st.data())
def test_what_is_cut_or_changed_of_a_batch_is_what_its_records_hold(records, sizes, data):
    decoded = stretched(records, sizes)
    alone = list(map(seen, one_by_one(decoded)))
    places = list(range(len(records)))

    count = data.draw(st.integers(0, len(records)))
    assert list(map(seen, one_by_one(first_of(decoded, count)))) == alone[:count]

    letters = {place: [Rejected(Refusal(Reason.INVALID, "!"), "key", None, b"")] for place in places}
    chosen = data.draw(st.sets(st.sampled_from(places)) if places else st.just(set()))
    after = change(decoded, chosen, lambda place, each: replace(each, rejected=letters[place]))
    assert [
        seen(each) if place not in chosen else list(each.rejected) for place, each in enumerate(one_by_one(after))
    ] == [alone[place] if place not in chosen else letters[place] for place in places]
    assert all(each.records == 1 for place, each in placed(after) if place in chosen)
    assert records_in(after) == len(records)
