"""Changes of a table as the decoder takes them: as events, and as DynamoDB's own records."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.change import SIGNS
from chalicelib.consumers.redrive_record import record_of
from chalicelib.definitions import Order
from chalicelib.records.change_events import change_event
from chalicelib.records.rejection import Reason
from chalicelib.records.table_changes import parse_table_records
from tests.builders import (
    CHANGES_CATALOG,
    NOON_MS,
    aggregated,
    gzipped,
    json_line,
    json_lines,
    kinesis_change,
    letter,
    make_decoder,
    order,
    order_changed,
    record,
    table_change,
    zstd,
)

DECODER = make_decoder(CHANGES_CATALOG)
OPEN = {"order_id": "order-1", "status": "open", "amount": Decimal("12.50")}
PAID = OPEN | {"status": "paid", "amount": Decimal("10.25"), "note": "passed over"}


def decode(payload: bytes):
    return DECODER.decode(record(payload))


def reasons(decoded):
    return [rejected.refusal.reason for rejected in decoded.rejected]


def as_json(row):
    return row and {name: float(value) if isinstance(value, Decimal) else value for name, value in row.items()}


def change_line(old, new, number=1):
    return json_line(order_changed(as_json(old), as_json(new), number))


def rows_of(decoded):
    """The rows that metrics see: (time, sign, status, amount)."""
    return [
        row
        for part in DECODER.parts_of(decoded)
        for row in zip(part.times_ms, part.columns[SIGNS], part.columns["status"], part.columns["amount"], strict=True)
    ]


# ---- events


def test_a_change_is_its_old_row_taken_back_and_its_new_row_added():
    decoded = decode(json_lines(*map(json.loads, [change_line(None, OPEN), change_line(OPEN, PAID, 2)])))
    assert decoded.events[1].data.new == Order("order-1", "paid", Decimal("10.25"))
    assert rows_of(decoded) == [
        (NOON_MS - 30_000, 1, "open", Decimal("12.5")),
        (NOON_MS - 30_000, -1, "open", Decimal("-12.5")),
        (NOON_MS - 30_000, 1, "paid", Decimal("10.25")),
    ]


def test_a_row_that_went_is_taken_back_alone():
    assert rows_of(decode(change_line(PAID, None))) == [(NOON_MS - 30_000, -1, "paid", Decimal("-10.25"))]


def test_changes_and_other_events_share_a_record():
    decoded = decode(json_lines(order(1), json.loads(change_line(OPEN, PAID, 2)), order(3)))
    assert [len(part.times_ms) for part in DECODER.parts_of(decoded)] == [2, 2]
    assert len(decoded.events) == len(decoded.texts) == 3


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({"old": None, "new": None}, "neither old nor new"),
        ({"new": as_json(OPEN)}, "old"),
        ({"old": as_json(OPEN)}, "new"),
        ({}, "old"),
        ({"old": {}, "new": as_json(OPEN)}, "$.data.old"),
        ({"old": None, "new": as_json(OPEN) | {"status": 5}}, "$.data.new.status"),
    ],
)
def test_a_change_that_breaks_a_rule_is_invalid_and_the_error_names_it(data, fault):
    (rejected,) = decode(json_line(order_changed(None, None) | {"data": data})).rejected
    assert rejected.refusal.reason is Reason.INVALID
    assert fault in rejected.refusal.error


@pytest.mark.parametrize("number", ["1" * 39, "1e19", "0." + "1" * 38, "1e-38", "-1e19", '"NaN"', "1e999999"])
@pytest.mark.parametrize("image", ["old", "new"])
def test_a_number_that_cannot_be_measured_is_invalid_in_either_row(number, image):
    data = {"old": as_json(OPEN), "new": as_json(PAID), image: as_json(OPEN) | {"amount": "AMOUNT"}}
    payload = json_line(order_changed(None, None) | {"data": data}).replace(b'"AMOUNT"', number.encode())
    (rejected,) = decode(payload).rejected
    assert (rejected.refusal.reason, "amount" in rejected.refusal.error) == (Reason.INVALID, True)


@pytest.mark.parametrize("image", ["old", "new"])
def test_a_dimension_too_long_is_invalid_in_either_row(image):
    rows = {"old": OPEN, "new": PAID}
    assert reasons(decode(change_line(**rows | {image: OPEN | {"status": "x" * 1025}}))) == [Reason.INVALID]
    assert not reasons(decode(change_line(**rows | {image: OPEN | {"status": "x" * 1024}})))


def test_an_old_number_of_38_digits_is_taken_back_digit_by_digit():
    amount = "1." + "1" * 37
    payload = json_line(order_changed(as_json(OPEN) | {"amount": "AMOUNT"}, None))
    ((_, _, _, taken_back),) = rows_of(decode(payload.replace(b'"AMOUNT"', amount.encode())))
    assert str(taken_back) == f"-{amount}"


# ---- DynamoDB's own records


def native(old, new, **kwargs):
    return json_line(kinesis_change(old, new, **kwargs))


def test_a_record_from_kinesis_counts_as_the_event_of_its_change():
    payload = native(OPEN, PAID, event_id="e1", created_at=NOON_MS - 5)
    decoded = decode(payload)
    (event,) = decoded.events
    assert (event.id, event.source, event.data.old.amount) == ("e1", "/dynamodb/highwater-test-orders", OPEN["amount"])
    assert [row[1:] for row in rows_of(decoded)] == [
        (-1, "open", Decimal("-12.50")),
        (1, "paid", Decimal("10.25")),
    ]
    assert set(decoded.parts[0].times_ms) == {NOON_MS - 5}
    assert decoded.texts == [payload]


def test_a_repeat_from_kinesis_is_the_same_event_with_the_same_content():
    first, again, other = (decode(native(None, row, event_id="e1")) for row in (OPEN, OPEN, PAID))
    assert (first.identities, first.contents) == (again.identities, again.contents)
    assert (first.identities, first.contents[0] != other.contents[0]) == (other.identities, True)


def test_a_capture_and_kinesis_have_identities_of_their_own():
    (captured,) = parse_table_records({"Records": [table_change(None, OPEN, event_id="e1")]})
    event = change_event(captured.change, "order.changed")
    assert decode(event).identities != decode(native(None, OPEN, event_id="e1")).identities
    assert decode(event).events[0].data == decode(native(None, OPEN, event_id="e1")).events[0].data


@pytest.mark.parametrize(
    "wrap", [gzipped, zstd, aggregated, lambda text: text + b"\n" + text, lambda text: b" " + text]
)
def test_a_record_from_kinesis_is_known_however_it_is_packed(wrap):
    decoded = decode(wrap(native(None, OPEN)))
    assert {type(event).__name__ for event in decoded.events} == {"OrderChangedEvent"}
    assert not decoded.rejected


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (native(None, OPEN, table="highwater-test-customers"), Reason.UNKNOWN_TYPE),
        (native(None, OPEN, precision="FORTNIGHT"), Reason.INVALID),
        (native(None, OPEN).replace(b'"S"', b'"Q"'), Reason.INVALID),
        (native(None, OPEN).replace(b"NewImage", b"newImage"), Reason.INVALID),
        (native(None, OPEN | {"amount": "much"}), Reason.INVALID),
        (native(None, {"order_id": "order-1"}), Reason.INVALID),
        (native(None, OPEN).replace(b"12.50", b"1" * 39), Reason.INVALID),
        (native(None, OPEN).replace(b"12.50", b"1E+126"), Reason.INVALID),
        (native(None, OPEN, created_at=NOON_MS - 86_400_001), Reason.TOO_LATE),
        (native(None, OPEN, created_at=NOON_MS * 1000), Reason.INVALID),
        (native(None, OPEN, created_at=NOON_MS + 3_600_000), Reason.FROM_THE_FUTURE),
    ],
)
def test_a_record_from_kinesis_that_cannot_be_counted_is_a_dead_letter_of_its_exact_bytes(payload, reason):
    (rejected,) = decode(payload).rejected
    assert (rejected.refusal.reason, rejected.data, rejected.partition_key) == (reason, payload, "ada")


def test_a_dead_letter_of_a_record_goes_back_as_it_came():
    payload = native(None, OPEN)
    assert decode(record_of(letter(payload, "unknown type")).data).events


def test_a_dead_letter_of_capture_counts_as_the_capture_would_have():
    raw = table_change(OPEN, PAID, event_id="e1")
    (captured,) = parse_table_records({"Records": [raw]})
    event = decode(change_event(captured.change, "order.changed"))
    redriven = decode(record_of(letter(captured.data)).data)
    assert (redriven.identities, rows_of(redriven)) == (event.identities, rows_of(event))


def test_a_tables_change_that_expired_it_is_a_row_that_went():
    expired = kinesis_change(PAID, None) | {
        "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    }
    assert [row[1:] for row in rows_of(decode(json_line(expired)))] == [(-1, "paid", Decimal("-10.25"))]


def test_an_event_that_merely_contains_the_words_is_an_event():
    about = order(1, order_type="aws:dynamodb") | {"eventSource": "aws:dynamodb", "tableName": "highwater-test-orders"}
    assert [event.id for event in decode(json_line(about)).events] == ["event-1"]
    (rejected,) = decode(json_line(about | {"type": "order.lost"})).rejected
    assert rejected.refusal.reason is Reason.UNKNOWN_TYPE
    assert "order.lost" in rejected.refusal.error


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["1", "S", "N", "open", "9" * 60]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["S", "N", "M", "L", "NS", "order_id", "status", "amount"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
natives = st.builds(
    lambda base, outer, body: base | outer | {"dynamodb": base["dynamodb"] | body},
    st.sampled_from([kinesis_change(None, OPEN), kinesis_change(OPEN, PAID), table_change(PAID, None)]),
    st.dictionaries(st.sampled_from(["eventID", "eventName", "tableName", "userIdentity"]), json_values, max_size=1),
    st.dictionaries(
        st.sampled_from(["Keys", "NewImage", "OldImage", "ApproximateCreationDateTime"]), json_values, max_size=2
    ),
)


@given(st.lists(natives, min_size=1, max_size=4))
def test_any_record_of_dynamodbs_is_counted_or_a_dead_letter_each_once(records):
    payloads = [json.dumps(each).encode() for each in records]
    decoded = decode(aggregated(*payloads))
    assert len(decoded.events) + len(decoded.rejected) == len(records)
    assert all(rejected.data == payloads[rejected.sub_sequence_number] for rejected in decoded.rejected)
    for rejected in decoded.rejected:
        rejected.refusal.error.encode()
