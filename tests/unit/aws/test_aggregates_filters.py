"""The filters of the mappings, against what the consumers act on: the same for every key that the table can hold."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from chalicelib.aggregates.measures import Count
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aws.aggregates_filters import (
    CHANGES,
    FILTERS_MAX,
    PATTERN_CHARACTERS_MAX,
    fan_out_patterns,
    rollup_patterns,
)
from chalicelib.aws.aggregates_keys import alert_partition_key, share_partition_key, share_sort_key
from chalicelib.aws.aggregates_stream import parse_stored_changes
from chalicelib.consumers.fan_out import FanOut
from chalicelib.consumers.publish import Publish
from chalicelib.consumers.rollup import RollUp
from chalicelib.definitions import OrderPlaced
from chalicelib.wiring import filters
from chalicelib.wiring.stage import ALERTS, CATALOG
from localstage.filters import filter_of
from localstage.source import EncodedRecord
from tests.builders import DAY_MS, NOON_MS, STREAM, key_change
from tests.fakes import MemoryAggregates, MemoryAlerts, MemoryDeadLetters, MemoryShards, MemoryTopic

# Names of which one begins another, and one the other kinds of keys; metrics with and without larger windows.
NAMES = ("orders", "orders_x", "order", "alerts", "progress_x")
STEPS = {"usual": None, "none": (), "five": ("5m",), "hours": ("1h", "6h")}
LATENESS_MS = 60_000


def metric(name, rollups=None, *, published=True):
    return Metric(
        name=name,
        event_type="order.placed",
        by=("currency",),
        measures={"n": Count()},
        rollups=rollups,
        buckets=2,
        spread=3,
        published=published,
    )


def catalog_of(metrics):
    return Catalog({"order.placed": OrderPlaced}, metrics)


@st.composite
def definitions(draw):
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=len(NAMES)))
    metrics = [metric(name, draw(st.sampled_from([*STEPS.values()])), published=draw(st.booleans())) for name in names]
    return catalog_of(metrics), draw(st.sets(st.sampled_from(names))) if names else set()


def keys(catalog):
    """Partition keys and sort keys of everything that there can be in the table, of metrics not declared too."""
    for name in NAMES:
        declared = catalog.metrics.get(name, metric(name))
        for step_ms in declared.steps_ms:
            for partition in declared.all_partitions:
                yield share_partition_key(declared, step_ms, partition), share_sort_key(NOON_MS, "events/shard-0")
    yield alert_partition_key("too_few"), share_sort_key(NOON_MS, "id")
    yield from (("progress#events#x", "shard-0"), ("settled#rollups", "orders#1m,1h,1d"), ("settled#alerts", "orders"))


def let_through(patterns, catalog):
    lets_through = filter_of(patterns)
    return {
        partition_key
        for partition_key, sort_key in keys(catalog)
        if lets_through(EncodedRecord("1", 0, orjson.dumps(key_change(partition_key, sort_key))))
    }


def acted_on(acts, catalog):
    """The partition keys of changes that a consumer does anything about."""
    return {
        partition_key
        for partition_key, sort_key in keys(catalog)
        if acts(parse_stored_changes(catalog, {"Records": [key_change(partition_key, sort_key)]}))
    }


def rolls_up(catalog, watched):
    table = MemoryAggregates()
    settled_ms = NOON_MS + 2 * DAY_MS + LATENESS_MS
    roll_up = RollUp(catalog, LATENESS_MS, table, table, clock_ms=lambda: settled_ms, watched=watched)
    return lambda changes: roll_up(changes, lambda: 60_000).windows > 0


def tells(catalog, watched):
    table = MemoryAggregates()
    fan_out = FanOut(
        catalog,
        stage_lateness_ms=LATENESS_MS,
        stream=STREAM,
        shares=table,
        shards=MemoryShards(),
        progress=table,
        publish=Publish(MemoryTopic(), MemoryDeadLetters(), "aggregates", "fan_out", lambda: NOON_MS),
        clock_ms=lambda: NOON_MS,
        watched=watched,
        alerts=MemoryAlerts(),
    )
    return lambda changes: fan_out(changes, lambda: 60_000).ignored == 0


@given(definitions())
def test_rollup_is_given_what_it_acts_on_and_nothing_else(defined):
    catalog, watched = defined
    assert let_through(rollup_patterns(catalog), catalog) == acted_on(rolls_up(catalog, watched), catalog)


@given(definitions())
def test_fan_out_is_given_what_it_acts_on_and_nothing_else(defined):
    catalog, watched = defined
    assert let_through(fan_out_patterns(catalog, watched), catalog) == acted_on(tells(catalog, watched), catalog)


def test_the_shipped_metrics_that_anybody_is_told_of_are_those_that_pass_to_fan_out():
    watched = {alert.metric for alert in ALERTS}
    told = {metric.name for metric in CATALOG.metrics.values() if metric.published or metric.name in watched}
    lets_through = filter_of(filters.patterns()["fan_out"])
    passed = set()
    for each in CATALOG.metrics.values():
        key = share_partition_key(each, each.window_ms, 0)
        if lets_through(EncodedRecord("1", 0, orjson.dumps(key_change(key, share_sort_key(NOON_MS, "w"))))):
            passed.add(each.name)
    assert passed == told
    assert passed < CATALOG.metrics.keys()


def test_a_metric_that_is_not_published_passes_with_an_alert_and_only_then():
    kept = catalog_of([metric("orders", published=False)])
    of_orders = [
        {key for key in let_through(fan_out_patterns(kept, watched), kept) if key.startswith("orders#")}
        for watched in ((), ("orders",))
    ]
    assert [len(keys) for keys in of_orders] == [0, 3 * 6], "minutes, hours and days"


def test_where_nobody_is_told_of_anything_alerts_alone_pass_to_fan_out():
    silent = catalog_of([metric(name, published=False) for name in NAMES])
    assert let_through(fan_out_patterns(silent, ()), silent) == {"alert#too_few"}


@pytest.mark.parametrize("event_name", ["INSERT", "MODIFY", "REMOVE"])
def test_what_is_removed_passes_no_filter(event_name):
    record = EncodedRecord("1", 0, orjson.dumps(key_change("orders#1m#0", "x#y", event_name=event_name)))
    passed = [filter_of(patterns)(record) for patterns in filters.patterns().values()]
    assert passed == [event_name != "REMOVE"] * 2


def many(count):
    long_name = "a_metric_with_a_name_of_a_good_length"
    return catalog_of([replace(metric("orders"), name=f"{long_name}_{number}") for number in range(count)])


@pytest.mark.parametrize("count", [1, 50, 100, 150])
def test_more_prefixes_than_a_pattern_holds_go_into_several(count):
    catalog = many(count)
    patterns = rollup_patterns(catalog)
    assert all(len(pattern) <= PATTERN_CHARACTERS_MAX for pattern in patterns)
    assert 1 <= len(patterns) <= FILTERS_MAX
    told = [matcher["prefix"] for each in patterns for matcher in json.loads(each)["dynamodb"]["Keys"]["pk"]["S"]]
    assert told == [f"{name}#{step}#" for name in catalog.metrics for step in ("1m", "1h")]


def test_of_more_metrics_than_lambdas_filters_hold_every_change_passes_as_without():
    assert [json.loads(pattern) for pattern in rollup_patterns(many(500))] == [CHANGES]
    assert [json.loads(pattern) for pattern in fan_out_patterns(many(500), ())] == [CHANGES]
