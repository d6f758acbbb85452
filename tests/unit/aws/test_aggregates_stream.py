import pytest

from chalicelib.aggregates.rollup import WindowKey
from chalicelib.aws.aggregates_stream import parse_stored_changes
from chalicelib.consumers.ports import AlertKey, StoredChange
from tests.builders import CATALOG, MINUTE_MS, NOON_MS

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/highwater-test-aggregates/stream/2026-11-24T00:00:00.000"
NOON = "2026-11-24T12:00:00Z"
TIME_TO_LIVE = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


def change(pk, sk, number="7", *, event_name="MODIFY", **more):
    return {
        "eventID": "1",
        "eventName": event_name,
        "eventSource": "aws:dynamodb",
        "eventSourceARN": ARN,
        "dynamodb": {
            "ApproximateCreationDateTime": NOON_MS / 1000,
            "Keys": {"pk": {"S": pk}, "sk": {"S": sk}},
            "SequenceNumber": number,
            "SizeBytes": 10,
            "StreamViewType": "KEYS_ONLY",
        },
        **more,
    }


def parse(*records):
    return parse_stored_changes(CATALOG, {"Records": list(records)})


@pytest.mark.parametrize(
    ("pk", "sk", "key"),
    [
        ("orders#1m#0", f"{NOON}#events/shard-0", WindowKey("orders", MINUTE_MS, 0, NOON_MS)),
        ("customers#1m#15", f"{NOON}#events/shard-0", WindowKey("customers", MINUTE_MS, 15, NOON_MS)),
        ("customers#1h#3", f"{NOON}#", WindowKey("customers", 60 * MINUTE_MS, 3, NOON_MS)),
        ("alert#too-few", f"{NOON}#EUR", AlertKey("too-few", f"{NOON}#EUR")),
        ("alert#", NOON, None),
        ("removed#1m#0", f"{NOON}#events/shard-0", None),
        ("orders#7m#0", f"{NOON}#events/shard-0", None),
        ("orders#1m#0", "no instant", None),
        ("progress#events#x", "shard-0", None),
        ("settled#rollups", "orders", None),
    ],
)
def test_a_change_is_known_by_its_items_key(pk, sk, key):
    assert parse(change(pk, sk)) == [StoredChange("7", key)]


def test_changes_keep_their_order_and_those_of_nothing_their_numbers():
    changes = parse(change("orders#1m#0", f"{NOON}#w", "1"), change("settled#x", "y", "2"), change("alert#a", "b", "3"))
    assert [(each.sequence_number, each.key is None) for each in changes] == [("1", False), ("2", True), ("3", False)]


def test_what_has_expired_is_of_nothing_and_what_somebody_deleted_is_a_change():
    expired = change("orders#1m#0", f"{NOON}#w", event_name="REMOVE", userIdentity=TIME_TO_LIVE)
    deleted = change("orders#1m#0", f"{NOON}#w", event_name="REMOVE")
    assert [each.key is None for each in parse(expired, deleted)] == [True, False]


@pytest.mark.parametrize(
    "record",
    [
        None,
        {},
        {"dynamodb": {"SequenceNumber": "7"}},
        change("orders#1m#0", f"{NOON}#w") | {"eventName": "RENAME"},
        change("orders#1m#0", f"{NOON}#w") | {"dynamodb": {"SequenceNumber": "7", "Keys": {"pk": {"N": "1"}}}},
    ],
)
def test_a_record_of_another_shape_is_of_nothing_and_fails_nothing(record):
    (first, second) = parse(record, change("alert#a", "b", "8"))
    assert first.key is None
    assert second == StoredChange("8", AlertKey("a", "b"))
