"""The main job end to end: real orders through a local stage, exact to the cent whatever is done to it meanwhile."""

import re
from datetime import date
from io import StringIO
from itertools import islice

from rich.console import Console

from loadtest import cdnow, demo

# Some twenty thousand orders: over thirty batches, enough for 2 % of them to be one; and of few days, so that there is
# little to be rolled up.
UNTIL = date(1997, 3, 1)


def test_the_demo_is_exact_though_batches_come_twice_orders_are_sent_twice_and_a_worker_is_killed():
    printed = StringIO()
    purchases = [purchase for purchase in cdnow.read_purchases() if purchase.date < UNTIL]
    sent_twice = sum(map(demo.is_sent_twice, purchases))
    assert demo.run(purchases, Console(file=printed, width=200)) == demo.EXACT, printed.getvalue()
    total = cdnow.total(purchases)
    assert f"counted {total.orders:,} orders, revenue {total.revenue}" in printed.getvalue()
    assert number_behind("batches delivered a second time", printed.getvalue()) >= 1
    assert number_behind("orders sent twice under the same id", printed.getvalue()) == sent_twice > 150
    assert number_behind(r"killed \(SIGKILL\) in the middle of a batch", printed.getvalue()) == 1
    assert int(re.search(r"(\d+) duplicates dropped", printed.getvalue())[1]) >= sent_twice
    assert "Equal: results and the file by day, alerts and the days above, order_status" in printed.getvalue()


def test_a_demo_too_short_to_show_faults_is_exact_and_says_what_it_did_not_show():
    printed = StringIO()
    purchases = list(islice(cdnow.read_purchases(), 10))
    assert demo.run(purchases, Console(file=printed, width=200)) == demo.UNPROVED, printed.getvalue()
    assert "EXACT  expected 10 orders" in printed.getvalue()
    # A slow machine may give even ten orders time enough for a worker to be killed.
    assert "not shown no batch was delivered twice, no order was sent twice" in printed.getvalue()


def number_behind(what: str, text: str) -> int:
    return int(re.search(rf"{what}: (\d+)", text)[1])
