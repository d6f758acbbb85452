"""The data set is whole, its truths are exact, and its events keep the file's digits."""

from decimal import Decimal

import orjson
import pytest

from loadtest.cdnow import Purchase, Total, best_customers, is_valid_order, order_placed, read_purchases, total
from loadtest.cdnow import total_by_month as by_month
from loadtest.producer import to_wire


@pytest.fixture(scope="module")
def purchases() -> list[Purchase]:
    return list(read_purchases())


def test_the_file_holds_every_purchase(purchases: list[Purchase]) -> None:
    assert len(purchases) == 69_659
    assert len({purchase.customer_id for purchase in purchases}) == 23_570
    assert sum(purchase.dollar_value for purchase in purchases) == Decimal("2500315.63")
    assert max(purchase.dollar_value for purchase in purchases) == Decimal("1286.01")


def test_eighty_purchases_of_nothing_are_no_orders(purchases: list[Purchase]) -> None:
    assert [is_valid_order(purchase) for purchase in purchases].count(False) == 80
    assert total(purchases) == Total(69_579, Decimal("2500315.63"))


def test_the_months_add_up_to_the_total(purchases: list[Purchase]) -> None:
    months = by_month(purchases)
    assert min(months) == "1997-01"
    assert max(months) == "1998-06"
    assert len(months) == 18
    assert list(months) == sorted(months)
    assert months["1997-01"] == Total(8_896, Decimal("299060.17"))
    assert sum(month.orders for month in months.values()) == 69_579
    assert sum(month.revenue for month in months.values()) == Decimal("2500315.63")


def test_the_best_customers_come_by_spend(purchases: list[Purchase]) -> None:
    best = best_customers(purchases)
    assert best[0] == ("07592", Total(201, Decimal("13990.93")))
    assert best[1] == ("14048", Total(217, Decimal("8976.33")))
    assert len(best) == 10
    assert [spend.revenue for _, spend in best] == sorted((spend.revenue for _, spend in best), reverse=True)


def test_of_equal_spenders_the_lower_id_comes_first(purchases: list[Purchase]) -> None:
    first = purchases[0]
    twins = [Purchase(n, customer, first.date, 1, Decimal("5.00")) for n, customer in enumerate(["00009", "00004"])]
    assert [customer for customer, _ in best_customers(twins)] == ["00004", "00009"]


def test_a_purchase_becomes_an_order_with_the_files_own_digits(purchases: list[Purchase]) -> None:
    line = to_wire(order_placed(purchases[1]))
    assert b'"amount":12.00,' in line
    assert orjson.loads(line) == {
        "specversion": "1.0",
        "id": "2",
        "source": "/cdnow",
        "type": "order.placed",
        "time": "1997-01-12T00:00:00Z",
        "data": {
            "order_id": "cdnow-00002",
            "user_id": "00002",
            "amount": 12.0,
            "currency": "USD",
            "order_type": "standard",
        },
    }


def test_equal_purchases_are_different_events(purchases: list[Purchase]) -> None:
    assert len({order_placed(purchase)["id"] for purchase in purchases}) == 69_659
