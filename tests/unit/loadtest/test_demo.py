from dataclasses import replace
from decimal import Decimal

import pytest

from loadtest import cdnow, demo
from loadtest.cdnow import Total
from loadtest.producer import Encoding

WANTED = demo.expected(list(cdnow.read_purchases()))


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
