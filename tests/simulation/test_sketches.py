"""What sketches count in simulated worlds: every event once, under all of the faults.

So few events fall into one window that a sketch knows each of its values: the estimate is the number of different ones,
and a quantile is the one of all. What cannot be told apart when there are more is in the tests of sketches.
"""

from collections import defaultdict
from math import ceil

from datasketches import kll_doubles_sketch

from chalicelib.aggregates.measures import Count, Distinct, Quantile, Sum
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.partial import merge_states
from chalicelib.aggregates.sketches import CHECKSUM_BYTES
from tests.builders import CATALOG
from tests.simulation.oracle import MINUTE_MS
from tests.simulation.simulate import simulate
from tests.simulation.world import World

RUNS = 60
NEARLY = Metric(
    name="nearly",
    event_type="order.placed",
    by=("currency",),
    measures={
        "count": Count(),
        "total": Sum("amount"),
        "users": Distinct("user_id"),
        "median": Quantile("amount", 0.5),
    },
    group_limit=9,
    buckets=2,
)


class SketchWorld(World):
    """A world that counts one metric more, and no other one later."""

    def __init__(self, seed, faults):
        super().__init__(seed, faults)
        self.catalog = Catalog(CATALOG.event_types, [*CATALOG.metrics.values(), NEARLY])

    def deploy_a_metric(self):
        pass

    def counts(self, expected):
        counts = super().counts(expected)
        for (metric, window_start_ms, group, measure), value in expected.counts.items():
            if metric == "orders":
                counts[NEARLY.name, window_start_ms, group[:1], measure] += value
        return counts

    def orders(self):
        """The orders of each window and currency."""
        orders = defaultdict(list)
        for verdict in self.verdicts.values():
            for event in verdict.counted:
                if event.order:
                    window_start_ms = event.time_ms // MINUTE_MS * MINUTE_MS
                    orders[window_start_ms, (event.order.currency,)].append(event.order)
        return orders

    def stored_shares(self):
        """What is stored of each window and currency, by writers."""
        shares = defaultdict(list)
        for key, partial in self.partials.items():
            for group, states in partial.groups.items():
                if key.metric == NEARLY.name:
                    shares[key.window_start_ms, group].append(states)
        return shares


def test_every_seed_has_each_event_in_its_sketches_once():
    for seed in range(RUNS):
        world = simulate(seed, SketchWorld)
        orders, shares = world.orders(), world.stored_shares()
        assert shares.keys() == orders.keys()
        for what, mine in orders.items():
            states = merge_states(NEARLY.accumulators, shares[what])
            got = NEARLY.finish(states)
            got["numbers"] = kll_doubles_sketch.deserialize(states[-1][CHECKSUM_BYTES:]).n
            amounts = sorted(order.amount for order in mine)
            assert got == {
                "count": len(mine),
                "total": sum(amounts),
                "users": len({order.user_id for order in mine}),
                "median": amounts[ceil(len(mine) / 2) - 1],
                "numbers": len(mine),
            }, f"python -m pytest {__file__}: seed {seed}"
