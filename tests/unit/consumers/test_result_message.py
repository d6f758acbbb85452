from decimal import Decimal

import msgspec
import orjson
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aggregates.measures import Count, Mean, Sum
from chalicelib.aggregates.metric import OVERFLOW, Metric
from chalicelib.consumers.ports import Message
from chalicelib.consumers.result_message import MESSAGE_BYTES_MAX, write_message, write_window
from chalicelib.reading.merged import MergedWindow
from tests.builders import MINUTE_MS, NOON_MS

SALES = Metric(
    name="sales",
    event_type="sale",
    by=("shop",),
    measures={"n": Count(), "total": Sum("amount"), "mean": Mean("amount")},
)


def window(groups, *, revision=3, is_final=False, metric=SALES):
    return MergedWindow(metric, MINUTE_MS, NOON_MS, groups, revision, is_final)


def bodies(messages):
    return [msgspec.json.decode(message.body) for message in messages]


def test_a_window_is_told_whole_with_tidy_rows_in_the_order_of_their_groups():
    groups = {("b",): (1, Decimal("0.10")), ("a",): (3, Decimal("10.00")), OVERFLOW: (0, Decimal(0))}
    (message,) = write_window(window(groups))
    body = orjson.loads(message.body)
    assert len(body.pop("id")) == 32
    assert body == {
        "kind": "window",
        "metric": "sales",
        "window_start": "2026-11-24T12:00:00Z",
        "window_end": "2026-11-24T12:01:00Z",
        "revision": 3,
        "final": False,
        "part": 1,
        "parts": 1,
        "rows": [
            {"shop": None, "n": 0, "total": 0, "mean": None},
            {"shop": "a", "n": 3, "total": 10.0, "mean": 3.333333},
            {"shop": "b", "n": 1, "total": 0.1, "mean": 0.1},
        ],
    }
    assert message.attributes == {"kind": "window", "metric": "sales", "step": "1m", "final": "false"}


def test_decimals_are_numbers_with_all_their_digits():
    (message,) = write_window(window({("a",): (1, Decimal("12345678901234567890.123456789"))}))
    assert b'"total":12345678901234567890.123456789,' in message.body


def test_a_metric_without_dimensions_has_one_row_and_a_window_without_groups_none():
    plain = Metric(name="all_sales", event_type="sale", measures={"n": Count()})
    (message,) = bodies(write_window(window({(): (7,)}, metric=plain)))
    assert message["rows"] == [{"n": 7}]
    (message,) = bodies(write_window(window({})))
    assert (message["rows"], message["parts"]) == ([], 1)


def test_the_same_content_has_the_same_id_and_any_other_has_another():
    groups = {("a",): (1, Decimal(1)), ("b",): (2, Decimal(2))}
    again = dict(reversed(groups.items()))
    assert write_window(window(groups)) == write_window(window(again))
    others = [
        window(groups, revision=4),
        window(groups, is_final=True),
        window({**groups, ("b",): (2, Decimal(3))}),
        MergedWindow(SALES, 60 * MINUTE_MS, NOON_MS, groups, 3, is_final=False),
    ]
    ids = {body["id"] for each in (window(groups), *others) for body in bodies(write_window(each))}
    assert len(ids) == 1 + len(others)


def test_any_message_counts_as_sns_counts_it():
    message = Message("é".encode(), {"kind": "x", "né": "y"})
    assert message.payload_bytes == 2 + len("kindStringx") + len("nStringy") + 2
    assert write_message("alert", {"alert": "a"}, {"metric": "m"}).attributes == {"kind": "alert", "metric": "m"}


shops = st.text(st.characters(exclude_categories=["Cs"]), max_size=1_024).map(lambda text: (text,))
large = st.integers(0, 3_000).flatmap(
    lambda count: st.text(max_size=200).map(
        lambda pad: {(f"{number} {pad}",): (1, Decimal(1)) for number in range(count)}
    )
)


@given(large | st.dictionaries(shops, st.tuples(st.integers(0), st.just(Decimal("1.5"))), max_size=50))
def test_parts_lose_no_row_double_none_and_each_fits(groups):
    messages = write_window(window(groups))
    parts = bodies(messages)
    rows = [row for part in parts for row in part["rows"]]
    assert [(row["shop"],) for row in rows] == sorted(groups)
    assert all(message.payload_bytes <= MESSAGE_BYTES_MAX for message in messages)
    assert [(part["part"], part["parts"]) for part in parts] == [
        (number, len(parts)) for number in range(1, len(parts) + 1)
    ]
    assert len({part["id"] for part in parts}) == len(parts)


def test_parts_are_as_full_as_fits():
    groups = {(f"{number:04d}" + "x" * 996,): (1, Decimal(1)) for number in range(1_000)}
    messages = write_window(window(groups))
    row_bytes = len(b'{"shop":"","n":1,"total":1,"mean":1.000000},') + 1_000
    assert all(message.payload_bytes > MESSAGE_BYTES_MAX - row_bytes - 10 for message in messages[:-1])


def test_a_row_larger_than_any_message_is_alone_in_its_part():
    groups = {("a",): (1, Decimal(1)), ("b" * MESSAGE_BYTES_MAX,): (1, Decimal(1)), ("c",): (1, Decimal(1))}
    messages = write_window(window(groups))
    assert [message.payload_bytes > MESSAGE_BYTES_MAX for message in messages] == [False, True, False]
