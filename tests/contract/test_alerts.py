"""What alerts rely on in their store and reader: the fake in memory, moto in process and MiniStack have to hold it.

Not to be had from the emulators, and so unproved here: real throttling.
"""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import count

import boto3
import orjson
import pytest
from moto import mock_aws
from msgspec.structs import replace

from chalicelib.aws.aggregates_keys import alert_sort_key
from chalicelib.aws.alerts_table import AlertsTable
from chalicelib.consumers.ports import AlertKey, Committed, Failed, RaisedAlert, Repeated
from chalicelib.errors import TransientError
from localstage import aws
from tests.builders import CATALOG, DAY_MS, MINUTE_MS, NOON_MS, create_table
from tests.fakes import MemoryAlerts

PLENTY_MS = 30_000
tables = count()


@pytest.fixture(params=["memory", "moto", "ministack"])
def table(request):
    """A client and an empty table of it; None for the fake."""
    name = f"alerts{next(tables)}"
    if request.param == "memory":
        yield None
    elif request.param == "moto":
        with mock_aws():
            client = boto3.client("dynamodb")
            create_table(client, name)
            yield client, name
    else:
        client = aws.client("dynamodb", request.getfixturevalue("endpoint_url"))
        create_table(client, name)
        yield client, name


@pytest.fixture
def store(table):
    return MemoryAlerts() if table is None else AlertsTable(*table, CATALOG, DAY_MS)


RAISED = RaisedAlert(
    alert="much_revenue",
    metric="orders",
    step_ms=MINUTE_MS,
    window_start_ms=NOON_MS,
    group={"currency": "EUR", "order_type": ""},
    measure="revenue",
    rule="above",
    threshold=100_000,
    value=Decimal("9" * 60 + ".01"),
)


def key_of(alert):
    return AlertKey(alert.alert, alert_sort_key(alert.window_start_ms, alert.id))


def read(store, *alerts):
    messages = store.read_alerts([key_of(alert) for alert in alerts], PLENTY_MS)
    return [messages.get(key_of(alert)) for alert in alerts]


def test_an_alert_is_written_once_and_another_value_changes_nothing(store):
    (outcome,) = store.put_alerts([RAISED], PLENTY_MS)
    assert isinstance(outcome, Committed)
    assert outcome.write_units >= 1
    later = replace(RAISED, value=Decimal(7), threshold=5)
    assert store.put_alerts([later, RAISED], PLENTY_MS) == [Repeated(), Repeated()]
    (message,) = read(store, RAISED)
    assert orjson.loads(message.body)["threshold"] == 100_000


def test_the_message_is_made_of_the_stored_alert_alone(store):
    store.put_alerts([RAISED], PLENTY_MS)
    (message,) = read(store, RAISED)
    assert message.attributes == {
        "kind": "alert",
        "metric": "orders",
        "step": "1m",
        "final": "true",
        "alert": "much_revenue",
    }
    assert b'"revenue":' + b"9" * 60 + b".01}" in message.body  # exact, digit by digit
    body = orjson.loads(message.body)
    assert body.pop("rows")[0].keys() == {"currency", "order_type", "revenue"}
    assert body == {
        "id": RAISED.id,
        "kind": "alert",
        "metric": "orders",
        "window_start": "2026-11-24T12:00:00Z",
        "window_end": "2026-11-24T12:01:00Z",
        "revision": 1,
        "final": True,
        "part": 1,
        "parts": 1,
        "alert": "much_revenue",
        "rule": "above",
        "measure": "revenue",
        "threshold": 100_000,
    }


def test_the_message_of_a_total_and_of_a_change_says_what_was_before(store):
    fell = replace(RAISED, group={}, rule="rate_of_change", threshold=Decimal("-0.9"), value=0, before=Decimal("12.50"))
    store.put_alerts([fell], PLENTY_MS)
    body = orjson.loads(read(store, fell)[0].body)
    assert (body["threshold"], body["before"], body["rows"]) == (-0.9, 12.5, [{"revenue": 0}])


def test_alerts_differ_by_name_window_step_and_group(store):
    others = [
        replace(RAISED, alert="other"),
        replace(RAISED, window_start_ms=NOON_MS + MINUTE_MS),
        replace(RAISED, step_ms=60 * MINUTE_MS),
        replace(RAISED, group={"currency": "USD", "order_type": ""}),
        replace(RAISED, group={"currency": "EUR"}),
    ]
    outcomes = store.put_alerts([RAISED, *others, *others], PLENTY_MS)
    assert sum(isinstance(outcome, Committed) for outcome in outcomes) == 6
    ids = {orjson.loads(message.body)["id"] for message in read(store, RAISED, *others)}
    assert ids == {alert.id for alert in (RAISED, *others)}
    assert len(ids) == 6


def test_the_order_in_which_an_alert_names_its_dimensions_makes_no_other_alert():
    assert replace(RAISED, group=dict(reversed(RAISED.group.items()))).id == RAISED.id


def test_an_alert_that_is_stored_no_more_has_no_message(store):
    store.put_alerts([RAISED], PLENTY_MS)
    assert [message is None for message in read(store, replace(RAISED, alert="other"), RAISED)] == [True, False]
    assert read(store) == []


def test_of_several_who_raise_it_at_once_one_writes(request, store):
    if request.node.callspec.params["table"] == "moto":
        pytest.skip("moto looks at a condition and puts without a lock between")
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: store.put_alerts([RAISED], PLENTY_MS)[0], range(8)))
    assert sum(isinstance(outcome, Committed) for outcome in outcomes) == 1
    assert outcomes.count(Repeated()) == 7


def test_out_of_time_nothing_is_claimed(store):
    assert store.put_alerts([RAISED], 0) == [Failed("out of time")]
    assert read(store, RAISED) == [None]
    with pytest.raises(TransientError):
        store.read_alerts([key_of(RAISED)], 0)


def test_an_alert_is_kept_as_long_as_its_window(table, store):
    if table is None:
        pytest.skip("the fake keeps everything")
    store.put_alerts([RAISED], PLENTY_MS)
    client, name = table
    (item,) = client.scan(TableName=name)["Items"]
    assert item["pk"]["S"] == "alert#much_revenue"
    assert item["sk"]["S"] == f"2026-11-24T12:00:00Z#{RAISED.id}"
    assert int(item["expires_at"]["N"]) == (NOON_MS + MINUTE_MS + DAY_MS + 400 * DAY_MS) // 1000
