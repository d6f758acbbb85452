"""Alerts of a shop's sales. Windows of a minute from START_MS on, in hours of which START_MS begins one:

minute   0        1        2        3
         |--------|--------|--------|
"""

from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from chalicelib.aggregates.measures import Count, Distinct, Max, Mean, Min, Quantile, Sum
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.partial import Partial, absorb, fold, merge_groups
from chalicelib.aggregates.windows import parse_instant, window_start
from chalicelib.alerts import Above, Alert, Below, RateOfChange, check_alerts
from chalicelib.consumers.alerts import STORED_IDS_MAX, Alerts
from chalicelib.consumers.settle import Settle
from chalicelib.errors import TransientError
from chalicelib.reading.merged import MergedWindow
from tests.fakes import MemoryAggregates, MemoryAlerts, MemoryThresholds

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
START_MS = parse_instant("2026-11-23T20:00:00Z")


class Sale(Struct, frozen=True):
    shop: str
    clerk: str
    price: int


MEASURES = {"n": Count(), "total": Sum("price"), "low": Min("price"), "high": Max("price"), "mean": Mean("price")}
SALES = Metric(
    name="sales", event_type="sale", by=("shop", "clerk"), measures=MEASURES, rollups=("1h",), buckets=4, spread=2
)
SMALL = Metric(name="small", event_type="sale", by=("shop",), measures=MEASURES, group_limit=1)
NEARLY = Metric(
    name="nearly",
    event_type="sale",
    by=("shop",),
    measures={"clerks": Distinct("clerk"), "median": Quantile("price", 0.5)},
    rollups=("1h",),
    group_limit=9,
)
CATALOG = Catalog({"sale": Sale}, [SALES, SMALL, NEARLY])


class Sold(NamedTuple):
    """A sale, the minute it was in, and the writer (shard) that counted it."""

    minute: int
    shop: str = "a"
    clerk: str = "x"
    price: int = 1
    writer: str = "shard-0"


def alert(rule, measure="n", *, name="sold", metric="sales", **more):
    return Alert(name=name, metric=metric, measure=measure, rule=rule, **more)


class Shop:
    """Sales that are stored, and what looks at them for alerts."""

    def __init__(self, *alerts):
        self.aggregates = MemoryAggregates()
        self.store = MemoryAlerts()
        self.thresholds = MemoryThresholds()
        self.reports = []
        self.alerts = check_alerts(alerts, CATALOG)
        self.look = self.fresh()

    def fresh(self):
        """As another container does."""
        return Alerts(
            self.alerts,
            shares=self.aggregates,
            first_window=self.aggregates.first_window,
            store=self.store,
            thresholds=self.thresholds,
            tell=self.reports.append,
        )

    def sell(self, *sales):
        for metric in [
            CATALOG.metrics[name] for name in {SALES.name, SMALL.name} | {each.metric for each in self.alerts}
        ]:
            for writer in sorted({sale.writer for sale in sales}):
                theirs = [sale for sale in sales if sale.writer == writer]
                windows = [START_MS + sale.minute * MINUTE_MS for sale in theirs]
                columns = {field: [getattr(sale, field) for sale in theirs] for field in ("shop", "clerk", "price")}
                for key, delta in fold(metric, writer, windows, columns).items():
                    standing = self.aggregates.partials.get(key)
                    groups, _ = absorb(metric, standing.groups if standing else {}, delta)
                    self.aggregates.partials[key] = Partial("1", 1, groups)
        return self

    def end(self, minutes, first=0, metric=SALES):
        """The windows that end within these minutes are over. Returns: whether they were seen to."""
        start_ms = START_MS + first * MINUTE_MS
        return self.look.see_to(metric, start_ms, start_ms + minutes * MINUTE_MS, lambda: 60_000)

    @property
    def raised(self):
        """What was raised, as (minute, group, value)."""
        return sorted(
            ((alert.window_start_ms - START_MS) // MINUTE_MS, tuple(alert.group.values()), alert.value)
            for alert in self.store.alerts.values()
        )


def test_a_window_that_is_over_raises_what_its_total_crosses():
    shop = Shop(alert(Above(2))).sell(Sold(0), Sold(0, "b"), Sold(0, "c", writer="shard-1"), Sold(1), Sold(1))
    assert shop.end(2)
    assert shop.raised == [(0, (), 3)]
    (raised,) = shop.store.alerts.values()
    assert (raised.alert, raised.metric, raised.measure) == ("sold", "sales", "n")
    assert (raised.rule, raised.threshold, raised.before) == ("above", 2, None)
    assert (raised.window_start_ms, raised.window_end_ms) == (START_MS, START_MS + MINUTE_MS)
    assert [dict(report.raised) for report in shop.reports] == [{"sold": 1}]


def test_groups_are_merged_to_the_dimensions_that_the_alert_is_by():
    shop = Shop(alert(Above(9), "total", by=("clerk",)))
    shop.sell(Sold(0, "a", "x", 5), Sold(0, "b", "x", 5), Sold(0, "a", "y", 9))
    shop.end(1)
    assert shop.raised == [(0, ("x",), 10)]
    assert [raised.group for raised in shop.store.alerts.values()] == [{"clerk": "x"}]


def test_only_windows_that_end_in_the_slice_are_looked_at():
    shop = Shop(alert(Above(0))).sell(*map(Sold, range(5)))
    shop.end(2, first=1)
    assert [minute for minute, _, _ in shop.raised] == [1, 2]


def test_an_alert_on_a_rollup_waits_for_that_window_to_end_and_reads_its_base_windows():
    shop = Shop(alert(Above(2), step="1h")).sell(Sold(0), Sold(30), Sold(59))
    shop.end(59)
    assert shop.raised == []
    shop.end(1, first=59)
    assert shop.raised == [(0, (), 3)]
    assert not shop.aggregates.rollups


def test_alerts_of_another_metric_are_left_to_it():
    shop = Shop(alert(Above(0), metric="small")).sell(Sold(0))
    assert shop.end(1)
    assert (shop.raised, shop.thresholds.asked) == ([], 0)
    shop.end(1, metric=SMALL)
    assert shop.raised == [(0, (), 1)]


# ── early: a window that has changed, and may change further ──


def changed(shop, minute=0, step_ms=MINUTE_MS, metric=SALES):
    """The window as fan-out has it, merged."""
    start_ms = START_MS + minute * MINUTE_MS
    shares = [
        partial.groups.items()
        for key, partial in shop.aggregates.partials.items()
        if key.metric == metric.name and start_ms <= key.window_start_ms < start_ms + step_ms
    ]
    return MergedWindow(metric, step_ms, start_ms, merge_groups(metric, shares), revision=7, is_final=False)


def test_a_window_that_changes_raises_at_once_what_more_counting_cannot_make_untrue():
    early = [alert(Above(1)), alert(Above(1), "total"), alert(Above(1), "high"), alert(Below(9), "low")]
    late = [alert(Above(0), "low"), alert(Above(0), "mean"), alert(Below(9)), alert(Below(9), "total")]
    late += [alert(Below(9), "high"), alert(Below(9), "mean"), alert(RateOfChange(0))]
    for declared in early + late:
        shop = Shop(declared).sell(Sold(-1, price=2), Sold(0, price=2), Sold(0, "b", price=3))
        assert not shop.look([changed(shop)], 5_000)
        assert len(shop.raised) == (declared in early), declared


def test_an_early_alert_is_of_its_own_metric_step_and_groups():
    shop = Shop(
        alert(Above(1), name="minute"),
        alert(Above(2), name="hour", step="1h"),
        alert(Above(1), name="grouped", by=("shop",)),
        alert(Above(0), name="other", metric="small"),
    )
    shop.sell(Sold(0), Sold(0), Sold(0, "b"), Sold(5))
    shop.look([changed(shop), changed(shop, 5), changed(shop, step_ms=HOUR_MS)], 5_000)
    told = sorted((raised.alert, raised.group, raised.value) for raised in shop.store.alerts.values())
    assert told == [("grouped", {"shop": "a"}, 2), ("hour", {}, 4), ("minute", {}, 3)]


def test_an_early_alert_is_the_one_that_the_end_of_the_window_raises():
    shop = Shop(alert(Above(1))).sell(Sold(0), Sold(0))
    shop.look([changed(shop)], 5_000)
    shop.sell(Sold(0))
    shop.look([changed(shop)], 5_000)
    assert shop.store.puts == 1  # the same container has seen it stored
    shop.look = shop.fresh()
    shop.end(1)
    assert (shop.store.puts, shop.raised) == (2, [(0, (), 2)])


def test_windows_whose_alerts_are_not_known_to_be_stored_are_named():
    shop = Shop(alert(Above(0)), alert(Above(0), name="other", by=("shop",))).sell(Sold(0), Sold(1))
    shop.store.refused = {"other"}
    windows = [changed(shop), changed(shop, 1), changed(shop, 2)]
    assert set(shop.look(windows, 5_000)) == {window.window for window in windows[:2]}
    assert set(shop.look(windows, 0)) == {window.window for window in windows[:2]}
    shop.store.refused = set()
    assert not shop.look(windows, 5_000)


def test_windows_that_no_alert_looks_at_early_cost_nothing():
    shop = Shop(alert(Below(5)), alert(Above(0), name="other", metric="small")).sell(Sold(0))
    assert not shop.look([changed(shop)], 5_000)
    assert (shop.thresholds.asked, shop.reports) == (0, [])


# ── below, and windows without data: a sale in minutes 1 and 3, and none in 0, 2, 4 ──


@pytest.mark.parametrize(("measure", "zero"), [("n", 0), ("total", 0), ("mean", None), ("low", None), ("high", None)])
def test_a_total_of_nothing_is_below_since_there_is_any_data(measure, zero):
    shop = Shop(alert(Below(1), measure)).sell(Sold(1), Sold(3))
    shop.end(5)
    assert shop.raised == ([(2, (), 0), (4, (), 0)] if zero == 0 else [])


@pytest.mark.parametrize(("measure", "raised"), [("clerks", [(2, (), 0), (4, (), 0)]), ("median", [])])
def test_no_values_are_no_different_values_and_no_quantile(measure, raised):
    shop = Shop(alert(Below(1), measure, metric="nearly")).sell(Sold(1), Sold(3))
    shop.end(5, metric=NEARLY)
    assert shop.raised == raised


def test_a_group_without_data_raises_nothing():
    shop = Shop(alert(Below(2), by=("shop",))).sell(Sold(1), Sold(3, "b"), Sold(3, "c"), Sold(3, "c"))
    shop.end(5)
    assert shop.raised == [(1, ("a",), 1), (3, ("b",), 1)]


def test_a_metric_without_data_raises_nothing():
    shop = Shop(alert(Below(1)))
    assert shop.end(5)
    assert shop.raised == []


def test_an_hour_that_data_begin_in_counts_as_one_with_data():
    shop = Shop(alert(Below(1), step="1h")).sell(Sold(90))
    shop.end(180)
    assert shop.raised == [(120, (), 0)]


# ── measures that sketches answer ──


def test_different_values_are_merged_over_writers_groups_and_minutes():
    shop = Shop(alert(Above(2), "clerks", metric="nearly", step="1h"))
    shop.sell(Sold(0), Sold(5, "b", "y"), Sold(6, "b", "x", writer="shard-1"))
    shop.end(60, metric=NEARLY)
    assert shop.raised == []
    shop.sell(Sold(59, "c", "z"))
    shop.end(60, metric=NEARLY)
    assert shop.raised == [(0, (), 3)]


def test_more_different_values_than_the_threshold_raise_at_once_and_a_quantile_when_the_window_is_over():
    shop = Shop(
        alert(Above(1), "clerks", metric="nearly", by=("shop",)),
        alert(Above(4), "median", metric="nearly", name="median", by=("shop",)),
    )
    shop.sell(Sold(0, clerk="x", price=5), Sold(0, clerk="y", price=6, writer="shard-1"), Sold(0, "b"))
    shop.look([changed(shop, metric=NEARLY)], 5_000)
    assert shop.raised == [(0, ("a",), 2)]
    shop.end(1, metric=NEARLY)
    assert shop.raised == [(0, ("a",), 2), (0, ("a",), 5)]


def test_a_change_of_different_values_is_held_against_the_window_before():
    shop = Shop(alert(RateOfChange(1), "clerks", metric="nearly"))
    shop.sell(Sold(0), Sold(0), Sold(1), Sold(1, clerk="y"), Sold(2), Sold(2, clerk="y"))
    shop.end(3, metric=NEARLY)
    assert shop.raised == [(1, (), 2)]


# ── the window before ──


def test_a_change_is_held_against_the_window_before():
    shop = Shop(alert(RateOfChange(1))).sell(Sold(0), Sold(1), Sold(1), Sold(2), Sold(2), Sold(3))
    shop.end(3, first=1)
    assert shop.raised == [(1, (), 2)]
    (raised,) = shop.store.alerts.values()
    assert (raised.rule, raised.before) == ("rate_of_change", 1)


def test_a_change_without_a_window_before_raises_nothing():
    shop = Shop(alert(RateOfChange(0)), alert(RateOfChange(0), name="grouped", by=("shop",)))
    shop.sell(Sold(1), Sold(2, "b"))
    shop.end(2)
    assert shop.raised == []
    shop.end(1, first=2)
    assert shop.raised == [(2, (), 1)]  # the total, of which the shops make no difference


def test_a_total_that_falls_to_nothing_is_a_change_by_its_whole():
    shop = Shop(alert(RateOfChange(-1)), alert(RateOfChange(-1), name="grouped", by=("shop",))).sell(Sold(0))
    shop.end(4)
    assert shop.raised == [(1, (), 0)]


def test_two_alerts_that_look_at_the_same_windows_do_not_keep_each_other_from_the_window_before():
    rules = [alert(RateOfChange(1)), alert(Above(5), name="many")]
    for alerts in (rules, rules[::-1]):
        shop = Shop(*alerts).sell(Sold(0), Sold(1), Sold(1))
        shop.end(1, first=1)
        assert shop.raised == [(1, (), 2)]


# ── the overflow group ──


def test_the_overflow_group_is_in_the_total_and_in_no_group():
    shop = Shop(alert(Above(0), metric="small"), alert(Above(0), name="grouped", metric="small", by=("shop",)))
    shop.sell(Sold(0, "a"), Sold(0, "b"), Sold(0, "c"))
    shop.end(1, metric=SMALL)
    assert shop.raised == [(0, (), 3), (0, ("a",), 1)]


# ── once ──


def test_an_alert_is_put_once_by_a_container_and_stored_once_by_all():
    shop = Shop(alert(Above(0))).sell(Sold(0))
    shop.end(1)
    shop.end(1)
    assert shop.store.puts == 1
    shop.look = shop.fresh()
    shop.sell(Sold(0))
    shop.end(1)
    assert (shop.store.puts, shop.raised) == (2, [(0, (), 1)])
    assert [dict(report.raised) for report in shop.reports] == [{"sold": 1}, {}, {}]


def test_what_a_container_remembers_is_bounded():
    shop = Shop(alert(Above(0), by=("shop",)))
    for minute in range(3):
        shop.sell(*(Sold(minute, f"shop {number}") for number in range(STORED_IDS_MAX // 2)))
    shop.end(3)
    assert len(shop.look._stored._ids) == STORED_IDS_MAX


def test_an_alert_that_could_not_be_stored_is_raised_when_the_windows_are_seen_to_again():
    shop = Shop(alert(Above(0)), alert(Above(0), name="other")).sell(Sold(0))
    shop.store.refused = {"sold"}
    assert not shop.end(1)
    assert dict(shop.reports[0].failed) == {"sold": 1}
    assert dict(shop.reports[0].errors) == {"ThrottlingException": 1}
    shop.store.refused = set()
    assert shop.end(1)
    assert shop.raised == [(0, (), 1), (0, (), 1)]


def test_windows_that_cannot_be_read_are_not_seen_to():
    shop = Shop(alert(Above(0))).sell(Sold(0))
    with pytest.raises(TransientError):
        shop.look.see_to(SALES, START_MS, START_MS + MINUTE_MS, lambda: 0)


def test_settling_sees_to_every_window_once_from_the_first_one_with_data_on():
    shop = Shop(alert(Below(2))).sell(Sold(1), Sold(2), Sold(2), Sold(3, price=9))
    settle = Settle(CATALOG.metrics.values(), shop.look, shop.aggregates)
    for minutes in (1, 2, 2, 61):
        settle(START_MS + minutes * MINUTE_MS + 5_000, lambda: 60_000)
    assert shop.raised == [(minute, (), int(minute in (1, 3))) for minute in (1, 3, *range(4, 61))]
    assert shop.store.puts == len(shop.raised)


# ── thresholds at run time ──


def test_a_threshold_set_at_run_time_holds_and_is_what_the_alert_tells():
    shop = Shop(alert(Above(5))).sell(Sold(0), Sold(0))
    shop.end(1)
    assert shop.raised == []
    shop.thresholds.texts = {"sold": "1.5"}
    shop.end(1)
    (raised,) = shop.store.alerts.values()
    assert raised.threshold == Decimal("1.5")


def test_what_is_wrong_with_thresholds_is_told_and_stops_nothing():
    shop = Shop(alert(Above(0))).sell(Sold(0))
    shop.thresholds.texts = {"sold": "much", "nobody": "1"}
    shop.thresholds.error = "AccessDeniedException"
    assert shop.end(1)
    assert shop.raised == [(0, (), 1)]
    (report,) = shop.reports
    assert (report.refused, report.unknown, report.unread) == (("sold",), 1, "AccessDeniedException")


def test_where_no_alert_is_declared_no_threshold_is_asked_for():
    shop = Shop().sell(Sold(0))
    assert shop.end(1)
    assert (shop.thresholds.asked, shop.reports) == (0, [])


# ── against a naive recomputation ──

sales = st.builds(
    Sold,
    st.integers(0, 130),
    st.sampled_from("ab"),
    st.sampled_from("xy"),
    st.integers(-3, 3),
    st.sampled_from(["shard-0", "shard-1"]),
)
rules = st.builds(
    lambda kind, threshold: kind(threshold),
    st.sampled_from([Above, Below, RateOfChange]),
    st.decimals(-4, 4, places=1),
)
alerts = st.builds(
    alert,
    rules,
    st.sampled_from(list(MEASURES)),
    by=st.sampled_from([(), ("shop",), ("clerk",), ("clerk", "shop")]),
    step=st.sampled_from([None, "1h"]),
)


def naive_value(measure, sold):
    prices = [sale.price for sale in sold]
    match measure:
        case "n":
            return len(prices)
        case "total":
            return sum(prices)
        case "low":
            return min(prices)
        case "high":
            return max(prices)
        case "mean":
            return round(Decimal(sum(prices)) / len(prices), 6)


def naive_fires(rule, value, before):
    if isinstance(rule, RateOfChange):
        if before in (None, 0):
            return False
        rate = Fraction(value - before) / Fraction(abs(before))
        return rate >= Fraction(rule.threshold) if rule.threshold >= 0 else rate <= Fraction(rule.threshold)
    return value > rule.threshold if isinstance(rule, Above) else value < rule.threshold


def naive_alerts(declared, sold, minutes):
    """What an alert raises of windows that end within so many minutes: (minute, group, value)."""
    size = 60 if declared.step else 1
    windows = defaultdict(lambda: defaultdict(list))
    for sale in sold:
        windows[sale.minute // size * size][tuple(getattr(sale, field) for field in declared.by)].append(sale)
    first = min((sale.minute for sale in sold), default=10**9)
    values = {
        minute: {group: naive_value(declared.measure, each) for group, each in windows[minute].items()}
        for minute in range(-size, minutes, size)
    }
    for minute in range(0, minutes - size + 1, size):
        if not values[minute] and not declared.by and declared.measure in ("n", "total") and minute + size > first:
            values[minute] = {(): 0}
        for group, value in values[minute].items():
            if naive_fires(declared.rule, value, values[minute - size].get(group) if windows[minute - size] else None):
                yield minute, group, value


@given(alerts, st.lists(sales, max_size=30), st.lists(st.integers(1, 60), max_size=6))
def test_what_is_raised_is_what_a_naive_recomputation_raises_however_the_minutes_are_cut(declared, sold, cuts):
    shop = Shop(declared)
    if sold:
        shop.sell(*sold)
    minutes = 0
    for cut in cuts:
        minutes += cut
        settle_slices(shop, minutes - cut, minutes)
    assert shop.raised == sorted(naive_alerts(declared, sold, minutes))
    assert shop.store.puts == len(shop.raised)


def settle_slices(shop, first, last):
    """As Settle cuts them: none goes over the end of an hour."""
    while first < last:
        end = min(last, window_start(first, 60) + 60)
        assert shop.end(end - first, first)
        first = end
