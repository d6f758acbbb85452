import gzip
import json
import tracemalloc
from base64 import b64decode
from datetime import timedelta
from decimal import Decimal

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from chalicelib.aggregates.measures import Distinct
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.partial import fold
from chalicelib.aggregates.windows import EPOCH, format_instant, window_start
from chalicelib.aws.dead_letters_bucket import encode
from chalicelib.definitions import EVENT_TYPES, METRICS
from chalicelib.errors import InvariantError
from chalicelib.records import decode as decoding
from chalicelib.records.compression import EXPANDED_BYTES_MAX
from chalicelib.records.decode import LINES_MAX
from chalicelib.records.rejection import Reason
from tests.builders import (
    NOON_MS,
    aggregated,
    gzipped,
    json_line,
    json_lines,
    make_decoder,
    order,
    order_changed,
    record,
    zstd,
)

DECODER = make_decoder()
SHIPPED = make_decoder(Catalog(EVENT_TYPES, METRICS))
ROW = {"order_id": "order-1", "status": "open", "amount": 3}


def decode(payload: bytes):
    return DECODER.decode(record(payload))


def times_ms(decoded):
    return [time_ms for part in decoded.parts for time_ms in part.times_ms]


def ids(decoded):
    return [event.id for event in decoded.events]


def reasons(decoded):
    return [rejected.refusal.reason for rejected in decoded.rejected]


def test_a_record_of_one_event_is_that_event_typed():
    decoded = decode(json_line(order(7, amount=19.99, currency="EUR")))
    (event,) = decoded.events
    assert (event.id, event.source, event.data.amount, event.data.currency) == (
        "event-7",
        "/tests",
        Decimal("19.99"),
        "EUR",
    )
    assert event.data.order_type == "standard"
    assert times_ms(decoded) == [NOON_MS - 30_000]


@pytest.mark.parametrize("wrap", [bytes, gzipped, zstd, aggregated, lambda payload: aggregated(gzipped(payload))])
def test_json_lines_plain_compressed_or_aggregated_are_all_their_events(wrap):
    decoded = decode(wrap(json_lines(order(1), order(2), order(3)) + b"\n\n"))
    assert ids(decoded) == ["event-1", "event-2", "event-3"]
    assert not decoded.rejected


def test_one_bad_user_record_leaves_the_others_of_its_aggregate():
    payloads = [json_line(order(1)), b"not json", gzipped(json_line(order(3))), json_line(order(4, amount=0))]
    decoded = decode(aggregated(*payloads, partition_key="grace"))
    assert ids(decoded) == ["event-1", "event-3"]
    assert [(r.refusal.reason, r.sub_sequence_number, r.partition_key, r.data) for r in decoded.rejected] == [
        (Reason.MALFORMED, 1, "grace", payloads[1]),
        (Reason.INVALID, 3, "grace", payloads[3]),
    ]


def test_a_broken_aggregate_is_one_dead_letter_of_the_whole_record():
    data = aggregated(json_line(order(1)), json_line(order(2)))[:-1] + b"!"
    decoded = decode(data)
    assert not decoded.events
    assert [(r.refusal.reason, r.data) for r in decoded.rejected] == [(Reason.BROKEN_AGGREGATE, data)]


def test_one_bad_line_is_a_dead_letter_of_that_line():
    decoded = decode(gzipped(json_lines(order(1), {"type": "nobody.knows"}, order(3))))
    assert ids(decoded) == ["event-1", "event-3"]
    assert [(r.refusal.reason, r.data) for r in decoded.rejected] == [(Reason.UNKNOWN_TYPE, b'{"type":"nobody.knows"}')]


def test_lines_of_which_none_is_json_are_kept_as_one_piece():
    decoded = decode(b"a,b\n1,2\n")
    assert [(r.refusal.reason, r.data) for r in decoded.rejected] == [(Reason.MALFORMED, b"a,b\n1,2\n")]


def test_an_invalid_event_printed_over_many_lines_is_one_dead_letter():
    printed = orjson.dumps(order(amount=-1), option=orjson.OPT_INDENT_2)
    assert [(r.refusal.reason, r.data) for r in decode(printed).rejected] == [(Reason.INVALID, printed)]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"id": ""}, "$.id"),
        ({"source": 5}, "$.source"),
        ({"time": "2026-11-24T11:59:30"}, "timezone"),
        ({"time": "yesterday"}, "$.time"),
        ({"data": None}, "$.data"),
        ({"data": {"order_id": "abcd"}}, "$.data.order_id"),
    ],
)
def test_an_event_that_breaks_a_rule_is_invalid_and_the_error_names_the_field(change, fault):
    (rejected,) = decode(json_line(order() | change)).rejected
    assert rejected.refusal.reason is Reason.INVALID
    assert fault in rejected.refusal.error


@pytest.mark.parametrize(
    "amount",
    [
        "0",
        "0.00",
        "0.000001" + "0" * 89,
        "0E-500",
        "-1",
        "10000.01",
        '"NaN"',
        '"Infinity"',
        '"-0"',
        "1e-38",
        "1e-999999",
        "0." + "1" * 40,
        '"x"',
        "null",
    ],
)
def test_an_amount_that_is_no_countable_amount_is_invalid(amount):
    payload = json_line(order(amount="AMOUNT")).replace(b'"AMOUNT"', amount.encode())
    assert reasons(decode(payload)) == [Reason.INVALID]


@pytest.mark.parametrize("amount", ["0.01", "10000", "1e4", "12.3400", '"12.34"', "0." + "1" * 37])
def test_an_amount_within_the_rules_is_exact(amount):
    payload = json_line(order(amount="AMOUNT")).replace(b'"AMOUNT"', amount.encode())
    assert decode(payload).events[0].data.amount == Decimal(amount.strip('"'))


@pytest.mark.parametrize("currency", ["", "US", "EURO", "12A", "ÄÖÜ", "U S"])
def test_a_currency_is_three_letters(currency):
    assert reasons(decode(json_line(order(currency=currency)))) == [Reason.INVALID]


def test_lateness_counts_from_the_records_own_arrival():
    just_in_time = order(1, time="2026-11-23T12:00:00Z")
    too_late = order(2, time="2026-11-23T11:59:59.999Z")
    decoded = decode(json_lines(just_in_time, too_late))
    assert ids(decoded) == ["event-1"]
    assert reasons(decoded) == [Reason.TOO_LATE]
    assert not DECODER.decode(record(json_line(too_late), arrived_at_ms=NOON_MS - 1)).rejected


def test_an_event_from_further_ahead_than_clocks_may_differ_is_from_the_future():
    decoded = decode(json_lines(order(1, time="2026-11-24T12:05:00Z"), order(2, time="2026-11-24T12:05:00.001Z")))
    assert ids(decoded) == ["event-1"]
    assert reasons(decoded) == [Reason.FROM_THE_FUTURE]


def test_a_type_is_found_wherever_it_stands_in_the_object():
    event = order()
    assert ids(decode(json_line({**{k: v for k, v in event.items() if k != "type"}, "type": event["type"]})))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.MALFORMED),
        (b"\n\n", Reason.MALFORMED),
        (b"{}", Reason.INVALID),
        (b"[]", Reason.INVALID),
        (b"7", Reason.INVALID),
        (b'{"type": 5}', Reason.INVALID),
        (b"[" * 100_000, Reason.MALFORMED),
        (b'{"type":"order.placed","id":"\\ud800"}', Reason.MALFORMED),
        (b'{"type":"\xff"}', Reason.MALFORMED),
        (b"\x1f\x8bjunk", Reason.MALFORMED),
        (b"\x28\xb5\x2f\xfdjunk", Reason.MALFORMED),
    ],
)
def test_each_kind_of_junk_has_its_reason(payload, reason):
    (rejected,) = decode(payload).rejected
    assert (rejected.refusal.reason, rejected.data) == (reason, payload)


@given(st.binary(max_size=400))
def test_any_bytes_are_dead_letters_or_events_and_never_lost(payload):
    at = record(payload)
    decoded = DECODER.decode(at)
    assert decoded.events or decoded.rejected
    assert encode("stream", "shard", at, decoded.rejected)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
event_like = st.fixed_dictionaries(
    {},
    optional={
        name: st.sampled_from(["1.0", "order.placed", "2026-11-24T11:59:30Z", "0001-01-01T00:00:00+14:00"])
        | json_values
        for name in ("specversion", "id", "source", "type", "time")
    }
    | {
        "data": json_values
        | st.fixed_dictionaries(
            {},
            optional={
                name: st.sampled_from(["order-1", "USD", 1, 1e300, 5e-324, 10**18]) | json_values
                for name in ("order_id", "user_id", "amount", "currency", "order_type")
            },
        )
    },
)


@given(st.lists(event_like | json_values, min_size=1, max_size=5))
def test_any_json_as_an_event_is_counted_or_a_dead_letter_each_once(values):
    payloads = [json.dumps(value).encode() for value in values]
    decoded = decode(aggregated(*payloads))
    assert len(decoded.events) + len(decoded.rejected) == len(values)
    assert len(times_ms(decoded)) == len(decoded.texts) == len(decoded.events)
    assert all(rejected.data == payloads[rejected.sub_sequence_number] for rejected in decoded.rejected)


def seen(decoded):
    """All that anybody counts, hands back or keeps of a record, whichever way it was decoded."""
    rows = [
        (part.kind, time_ms, sorted((field, column[row]) for field, column in part.columns.items()))
        for part in decoded.parts
        for row, time_ms in enumerate(part.times_ms)
    ]
    return [
        list(decoded.texts),
        list(decoded.numbers),
        list(decoded.identities),
        list(decoded.contents),
        [(part.kind, part.first_ms, part.last_ms) for part in decoded.parts],
        rows,
        list(decoded.events),
    ]


good_events = st.builds(
    lambda number, source, time, amount, currency: (
        order(number, time=time, amount=amount, currency=currency) | {"source": source}
    ),
    st.integers(0, 5),
    st.sampled_from(["/a", "/a", "/b"]),
    st.sampled_from(
        ["2026-11-24T11:59:59.9999Z", "2026-11-24T12:00:00Z", "2026-11-24T12:59:59.001+01:00", "2026-11-24T11:58:30Z"]
    ),
    st.decimals("0.01", 10_000, places=2).map(str),
    st.sampled_from(["USD", "EUR", "usd"]),
)
good = good_events | st.integers(0, 9).map(lambda number: order_changed(None, ROW, number))


@given(st.lists(good, min_size=1, max_size=6))
def test_a_record_decoded_as_a_whole_is_what_going_through_it_one_by_one_gives(events):
    at = record(aggregated(*map(json_line, events)))
    whole = SHIPPED.decode(at)
    one_by_one = SHIPPED._decode_one_by_one(at, whole.texts, whole.numbers, whole.aggregate, lambda _: True)
    assert not whole.rejected
    assert seen(whole) == seen(one_by_one)
    assert seen(whole)[:6] == seen(SHIPPED.decode(at, keep=lambda _: False))[:6]
    times = [event.time for event in whole.events]
    assert sorted(times_ms(whole)) == sorted((time - EPOCH) // timedelta(milliseconds=1) for time in times)


@given(st.lists(good, min_size=1, max_size=6), st.sets(st.integers(0, 5)))
def test_what_is_left_of_a_record_without_its_repeats_is_counted_as_it_was(events, places):
    """Its events were dropped: they are read again."""
    whole = SHIPPED.decode(record(aggregated(*map(json_line, events))), keep=lambda _: False)
    dropped = {place for place in places if place < len(events)}
    left = whole.without(dropped, [])
    kept = [event for place, event in enumerate(events) if place not in dropped]
    alone = SHIPPED.decode(record(aggregated(*map(json_line, kept)))) if kept else None
    rows = [(part.kind, part.times_ms, part.columns) for part in SHIPPED.parts_of(left)]
    assert rows == ([(part.kind, part.times_ms, part.columns) for part in alone.parts] if alone else [])
    assert list(left.texts) == [json_line(event) for event in kept]


def test_texts_are_shared_until_there_are_too_many(monkeypatch):
    monkeypatch.setattr(decoding, "TEXTS_SHARED_MAX", 3)
    shared = decoding.SharedTexts()
    for texts in (["a", "b", "a"], ["c", "d"], ["a"], ["e", "a"]):
        assert shared.of(texts, 99) == texts
        assert len(shared._texts) <= 3 + len(texts)
    (one,), (other,) = (shared.of([f"a long {name}"], 99) for name in ["name"] * 2)
    assert one is other


def test_names_too_long_for_a_dimension_take_no_memory_once_they_are_refused():
    """Each comes in a record of some hundred bytes, so a batch may have thousands of them."""
    decoder = make_decoder(Catalog(EVENT_TYPES, METRICS))
    tracemalloc.start()
    for number in range(30):
        too_long = json_line(order(number, user_id=f"{number}" + "u" * 1_000_000))
        assert reasons(decoder.decode(record(gzipped(too_long)))) == [Reason.INVALID]
        assert reasons(decoder.decode(record(too_long))) == [Reason.INVALID]
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 15_000_000, "the last one, for which orjson takes 8 MB, is still at hand"


def test_an_event_that_is_none_when_it_is_read_again_is_told_loudly():
    """Its id would be remembered, and it would not be counted."""
    left = SHIPPED.decode(record(json_line(order(1)))).without((), ())
    forged = msgspec.structs.replace(left, texts=[b"{}"])
    with pytest.raises(InvariantError, match="invalid when it is read again"):
        SHIPPED.parts_of(forged)


def test_a_flood_of_lines_is_one_dead_letter():
    payload = b"{}\n" * (LINES_MAX + 1)
    assert [(r.refusal.reason, r.data) for r in decode(payload).rejected] == [(Reason.MALFORMED, payload)]


def test_a_small_payload_of_a_huge_value_is_judged_without_building_it():
    payload = gzipped(b"[" + b'{"":{}},' * 3_000_000 + b"{}]")
    tracemalloc.start()
    assert reasons(decode(payload)) == [Reason.INVALID]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 4 * EXPANDED_BYTES_MAX


@pytest.mark.parametrize("field", ["user_id", "order_type"])
def test_a_dimension_too_long_to_name_a_group_is_invalid(field):
    (rejected,) = decode(json_line(order(**{field: "x" * 1025}))).rejected
    assert rejected.refusal.reason is Reason.INVALID
    assert field in rejected.refusal.error
    assert ids(decode(json_line(order(**{field: "x" * 1024}))))


def test_an_event_before_the_epoch_stays_in_its_window():
    decoder = make_decoder(lateness_ms=36_500 * 86_400_000)
    decoded = decoder.decode(record(json_line(order(time="1969-12-31T23:58:59.9999Z"))))
    assert [format_instant(window_start(time_ms, 60_000)) for time_ms in times_ms(decoded)] == ["1969-12-31T23:58:00Z"]


def test_whatever_is_rejected_can_be_stored():
    for payload in (b"", b"\xff", aggregated(b"\xff", b"{}", partition_key="k" * 256), b"[" * 100_000):
        at = record(payload)
        lines = gzip.decompress(encode("stream", "shard", at, DECODER.decode(at).rejected)).splitlines()
        assert all(b64decode(orjson.loads(line)["data"]) in payload for line in lines)


def test_errors_are_cut_to_a_safe_length():
    (rejected,) = decode(json_line({"type": "x" * 100_000})).rejected
    assert len(rejected.refusal.error) <= 300


@pytest.mark.parametrize(
    "payload",
    [
        zstd(json_line(order()) + b" " * (12 * 1024 * 1024)),
        zstd(b"1\n" * 60_000 + json_line(order())),
        b"\x28\xb5\x2f\xfd broken",
    ],
)
def test_many_bombs_in_one_aggregate_are_one_dead_letter_and_not_the_end_of_the_function(payload):
    data = aggregated(*[payload] * 70)
    decoded = make_decoder().decode(record(data))
    assert not decoded.events
    (letter,) = decoded.rejected
    assert (letter.refusal.reason, letter.data) == (Reason.MALFORMED, data)
    assert "together" in letter.refusal.error


class Visit(Struct):
    page: str
    visitor: str
    session: int


VISITORS = Metric(
    name="visitors",
    event_type="visit",
    by=("page",),
    measures={"visitors": Distinct("visitor"), "pages": Distinct("page"), "sessions": Distinct("session")},
    group_limit=5,
)


def test_a_field_whose_values_are_only_told_apart_has_no_rule_and_is_read_once():
    decoder = make_decoder(Catalog({"visit": Visit}, [VISITORS]))
    long, large = "x" * 100_000, 10**40
    data = {"page": "home", "visitor": long, "session": large}
    decoded = decoder.decode(record(json.dumps(order() | {"type": "visit", "data": data}).encode()))
    assert not decoded.rejected
    (part,) = decoder.parts_of(decoded)
    assert part.columns == {"page": ["home"], "visitor": [long], "session": [large]}
    (groups,) = fold(VISITORS, "writer", [0], part.columns).values()
    assert VISITORS.finish(groups["home",]) == {"visitors": 1, "pages": 1, "sessions": 1}
    too_long = order() | {"type": "visit", "data": data | {"page": long}}
    assert reasons(decoder.decode(record(json.dumps(too_long).encode()))) == [Reason.INVALID]
