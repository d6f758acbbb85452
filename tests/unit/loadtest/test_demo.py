from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from loadtest import cdnow, demo
from loadtest.cdnow import Total
from loadtest.producer import Encoding

PURCHASES = list(cdnow.read_purchases())
WANTED = demo.expected(PURCHASES)
SENDINGS = list(demo.sendings(PURCHASES))


def test_the_truth_of_the_file_is_what_is_known_of_it():
    assert WANTED.total == Total(69_579, Decimal("2500315.63"))
    assert WANTED.dead_letters == {"invalid": 80}
    assert (len(WANTED.by_month), len(WANTED.best_customers)) == (18, 10)


def test_equal_outcomes_have_no_difference():
    assert demo.differences(WANTED, WANTED) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"total": Total(69_579, Decimal("2500315.64"))}, "all orders"),
        ({"by_month": WANTED.by_month | {"1997-03": Total(1, Decimal(1))}}, "1997-03"),
        ({"by_month": {}}, "1998-06"),
        ({"best_customers": WANTED.best_customers[::-1]}, "best customer 1"),
        ({"best_customers": WANTED.best_customers[:9]}, "number of best customers"),
        ({"dead_letters": {"invalid": 79}}, "dead letters"),
        ({"dead_letters": {"invalid": 80, "too late": 1}}, "dead letters"),
    ],
)
def test_any_difference_is_found_and_named(change, named):
    assert any(fault.startswith(named) for fault in demo.differences(WANTED, replace(WANTED, **change)))


def test_half_of_the_orders_are_aggregated_and_some_compressed():
    encodings = [demo.encoding_of(purchase) for purchase in cdnow.read_purchases()]
    assert encodings.count(Encoding.AGGREGATE) == 34_830
    assert encodings.count(Encoding.GZIP) == 6_965


# ---- orders sent twice


def places_of_repeats() -> dict[int, list[int]]:
    """By row number: where in the sending order each order stands that is sent more than once."""
    places: dict[int, list[int]] = {}
    for place, sending in enumerate(SENDINGS):
        places.setdefault(sending.purchase.row_number, []).append(place)
    return {row: where for row, where in places.items() if len(where) > 1}


def test_every_order_is_sent_and_one_in_a_hundred_twice():
    assert {sending.purchase for sending in SENDINGS} == set(PURCHASES)
    repeats = places_of_repeats()
    assert len(repeats) == len(SENDINGS) - len(PURCHASES) == 688
    assert all(len(where) == 2 for where in repeats.values())


def test_no_order_of_nothing_is_sent_twice():
    """Its id is not remembered, for it was not counted: it would be a dead letter each time."""
    assert all(cdnow.is_valid_order(SENDINGS[first].purchase) for first, _ in places_of_repeats().values())


def test_half_of_the_repeats_follow_at_once_and_half_much_later_in_another_encoding():
    at_once = Counter[Encoding]()
    later = Counter[Encoding]()
    for first, second in places_of_repeats().values():
        if second == first + 1:
            assert SENDINGS[first] == SENDINGS[second]
            at_once[SENDINGS[first].encoding] += 1
        else:
            assert SENDINGS[first].encoding != SENDINGS[second].encoding
            later[SENDINGS[first].encoding] += 1
    kinds = {Encoding.PLAIN, Encoding.GZIP, Encoding.AGGREGATE}
    assert at_once.keys() == later.keys() == kinds
    assert at_once.total() == 345
    assert later.total() == 343


def test_a_later_repeat_is_thousands_of_orders_away_but_for_those_at_the_end():
    end = len(PURCHASES) - demo.REPEAT_LATER_BY
    distances = [
        second - first for first, second in places_of_repeats().values() if second != first + 1 and first < end
    ]
    assert min(distances) >= demo.REPEAT_LATER_BY


def test_few_orders_are_sent_without_repeats():
    assert [sending.purchase.row_number for sending in demo.sendings(PURCHASES[:10])] == [
        purchase.row_number for purchase in sorted(PURCHASES[:10], key=lambda purchase: purchase.date)
    ]


# ---- what is said of the faults


def test_duplicates_are_read_from_the_reports_of_batches_and_from_nothing_else():
    log = [
        b'{"level":"INFO","message":"batch committed","duplicates":3}\n',
        b'{"_aws":{},"Duplicates":[3.0],"Records":[250.0]}\n',
        b'{"level":"ERROR","message":"batch committed in part","duplicates":2}\n',
        b"[ERROR] ValueError: 7\n",
        b"\xff\n",
        b'{"level":"INFO","message":"cut sho',
    ]
    assert demo.duplicates_reported(log) == 5


def test_a_fault_that_did_not_happen_is_named():
    assert demo.Faults(1, 1, 1, duplicates_reported=1).not_shown == []
    assert demo.Faults(0, 1, 0, duplicates_reported=1).not_shown == [
        "no batch was delivered twice",
        "no worker was killed",
    ]
