"""The main job end to end: real orders through a local stage, with batches delivered twice, exact to the cent."""

import re
from io import StringIO
from itertools import islice

from rich.console import Console

from loadtest import cdnow, demo

ORDERS = 20_000  # over thirty batches: enough for 2 % of them to be one


def test_the_demo_is_exact_and_delivers_batches_twice():
    printed = StringIO()
    purchases = list(islice(cdnow.read_purchases(), ORDERS))
    assert demo.run(purchases, Console(file=printed, width=200)) == demo.EXACT, printed.getvalue()
    total = cdnow.total(purchases)
    assert f"counted {total.orders:,} orders, revenue {total.revenue}" in printed.getvalue()
    assert int(re.search(r"(\d+) batches were delivered a second time", printed.getvalue())[1]) >= 1
