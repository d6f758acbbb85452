import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.records.change_events import change_event
from chalicelib.records.rejection import Reason, Refusal
from chalicelib.records.table_changes import TEXT_BYTES_MAX, TableChange, parse_table_records, read_change
from tests.builders import NOON_MS, json_line, kinesis_change, table_change

ROW = {"order_id": "order-1", "status": "open", "amount": Decimal("12.50")}
TTL = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


def parse(raw):
    (parsed,) = parse_table_records({"Records": [raw]})
    return parsed


def told(raw):
    change = read_change(json_line(raw))
    assert isinstance(change, TableChange), change
    return change


def test_a_record_of_a_tables_stream_is_parsed_and_its_images_stay_typed():
    record = parse(table_change(None, ROW, event_id="e1", sequence_number="0111", created_at=1_795_521_600.25))
    assert (record.sequence_number, record.created_at_ms) == ("0111", 1_795_521_600_250)
    assert record.change == TableChange(
        table="highwater-test-orders",
        source="/dynamodb/highwater-test-orders/stream",
        event_id="e1",
        event_name="INSERT",
        created_at_ms=1_795_521_600_250,
        keys={"order_id": {"S": "order-1"}},
        old=None,
        new={"order_id": {"S": "order-1"}, "status": {"S": "open"}, "amount": {"N": "12.50"}},
        is_expiry=False,
    )


def test_a_stream_of_keys_only_tells_changes_without_images():
    raw = table_change(ROW, ROW)
    del raw["dynamodb"]["OldImage"], raw["dynamodb"]["NewImage"]
    change = parse(raw).change
    assert (change.event_name, change.keys, change.old, change.new) == (
        "MODIFY",
        {"order_id": {"S": "order-1"}},
        None,
        None,
    )


@pytest.mark.parametrize(("identity", "is_expiry"), [(None, False), (TTL, True), ({"type": "User"}, False)])
def test_a_deletion_by_the_time_to_live_is_told_apart(identity, is_expiry):
    assert parse(table_change(ROW, None) | {"userIdentity": identity}).change.is_expiry is is_expiry
    assert told(kinesis_change(ROW, None) | {"userIdentity": identity}).is_expiry is is_expiry


@pytest.mark.parametrize(
    ("time", "precision", "expected_ms"),
    [
        (NOON_MS + 7, None, NOON_MS + 7),
        (NOON_MS + 7, "MILLISECOND", NOON_MS + 7),
        (NOON_MS * 1000 + 7_999, "MICROSECOND", NOON_MS + 7),
    ],
)
def test_a_record_from_kinesis_says_how_precise_its_time_is(time, precision, expected_ms):
    change = told(kinesis_change(None, ROW, created_at=time, precision=precision))
    assert (change.created_at_ms, change.source) == (expected_ms, "/dynamodb/highwater-test-orders")


def without(*path):
    def change(raw):
        inner = raw
        for name in path[:-1]:
            inner = inner[name]
        del inner[path[-1]]
        return raw

    return change


def having(**changed):
    return lambda raw: raw | changed


def in_body(**changed):
    return lambda raw: raw | {"dynamodb": raw["dynamodb"] | changed}


BREAKS = [
    without("eventID"),
    without("eventName"),
    without("dynamodb"),
    without("dynamodb", "Keys"),
    without("dynamodb", "ApproximateCreationDateTime"),
    having(eventID=""),
    having(eventName="TRUNCATE"),
    having(eventName="\ud800"),
    having(dynamodb=None),
    in_body(Keys={"order_id": "order-1"}),
    in_body(NewImage=[]),
    in_body(ApproximateCreationDateTime="today"),
    in_body(ApproximateCreationDateTime=-1),
    in_body(ApproximateCreationDateTime=10**400),
    in_body(ApproximateCreationDateTime=float("nan")),
    in_body(ApproximateCreationDateTime=float("inf")),
]


@pytest.mark.parametrize("broken", [*BREAKS, having(eventSourceARN="arn:aws:dynamodb"), without("eventSourceARN")])
def test_a_record_that_tells_no_change_is_refused_and_keeps_its_place(broken):
    record = parse(broken(table_change(None, ROW, sequence_number="111")))
    assert isinstance(record.change, Refusal)
    assert record.change.reason is Reason.INVALID
    assert record.sequence_number == ("111" if isinstance(record.raw.get("dynamodb"), dict) else None)
    assert json.dumps(json.loads(record.data), sort_keys=True) == json.dumps(record.raw, sort_keys=True)
    record.change.error.encode()


@pytest.mark.parametrize("raw", [None, 5, [], "x", {"dynamodb": 5}, {"dynamodb": {"SequenceNumber": 5}}])
def test_a_record_of_any_shape_is_one_record(raw):
    record = parse(raw)
    assert (record.sequence_number, record.created_at_ms) == (None, 0)
    assert json.loads(record.data) == raw


def test_a_record_without_a_sequence_number_still_tells_its_change():
    record = parse(without("dynamodb", "SequenceNumber")(table_change(None, ROW)))
    assert record.sequence_number is None
    assert isinstance(record.change, TableChange)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
record_like = st.builds(
    lambda changes, body: table_change(None, ROW) | changes | {"dynamodb": table_change(None, ROW)["dynamodb"] | body},
    st.dictionaries(
        st.sampled_from(["eventID", "eventName", "eventSourceARN", "userIdentity", "tableName"]), json_values
    ),
    st.dictionaries(
        st.sampled_from(["Keys", "NewImage", "OldImage", "SequenceNumber", "ApproximateCreationDateTime"]), json_values
    ),
)


@given(json_values | record_like)
def test_nothing_that_a_record_may_be_makes_parsing_fail(raw):
    record = parse(raw)
    assert record.data == parse(raw).data
    assert isinstance(record.change, TableChange | Refusal)


# ---- a text


@pytest.mark.parametrize(
    "text",
    [
        b"{}",
        b"not json aws:dynamodb",
        b'{"eventSource":5,"x":"aws:dynamodb"}',
        b'{"eventSource":"aws:s3","x":"aws:dynamodb"}',
        b'{"eventSource":"aws:dynamodb","specversion":"1.0"}',
        b'["aws:dynamodb"]',
        b"[" * 100_000 + b'"aws:dynamodb"',
    ],
)
def test_a_text_that_is_no_record_of_dynamodbs_is_left_to_others(text):
    assert read_change(text) is None


@pytest.mark.parametrize("broken", [*BREAKS[:6], *BREAKS[8:13], in_body(ApproximateCreationDateTimePrecision="DAY")])
def test_a_text_that_is_a_broken_record_is_refused(broken):
    assert isinstance(read_change(json_line(broken(kinesis_change(None, ROW)))), Refusal)


def test_a_text_larger_than_any_change_is_not_built():
    text = json_line(kinesis_change(None, ROW))
    assert read_change(text.ljust(TEXT_BYTES_MAX)) is not None
    assert read_change(text.ljust(TEXT_BYTES_MAX + 1)) is None


# ---- the event of a change


def test_the_event_of_a_change_is_the_same_bytes_however_its_attributes_are_ordered():
    row = ROW | {"tags": {"b", "a"}}
    raw = table_change(ROW, row, event_id="e1")
    turned = json.loads(json.dumps(raw, sort_keys=True), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    turned["dynamodb"]["NewImage"]["tags"]["SS"].reverse()
    event = change_event(parse(raw).change, "order.changed")
    assert event == change_event(parse(turned).change, "order.changed")
    assert event == (
        b'{"data":{"new":{"amount":12.50,"order_id":"order-1","status":"open","tags":["a","b"]},'
        b'"old":{"amount":12.50,"order_id":"order-1","status":"open"}},"id":"e1",'
        b'"source":"/dynamodb/highwater-test-orders/stream","specversion":"1.0","time":"2026-11-24T12:00:00Z",'
        b'"type":"order.changed"}'
    )


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("INSERT", None, None), ("INSERT", ROW, ROW), ("MODIFY", None, ROW), ("MODIFY", ROW, None), ("REMOVE", None, ROW)],
)
def test_a_change_without_the_images_of_its_kind_is_no_event(name, old, new):
    change = parse(table_change(old, new) | {"eventName": name}).change
    with pytest.raises(ValueError, match=f"a record of {name} has not the images of one"):
        change_event(change, "order.changed")


def test_a_change_whose_text_is_no_unicode_is_no_event():
    with pytest.raises(ValueError, match="surrogates"):
        change_event(parse(table_change(None, ROW | {"status": "\ud800"})).change, "order.changed")
