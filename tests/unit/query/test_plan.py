from itertools import product

from chalicelib.aggregates.windows import format_instant
from chalicelib.query.plan import GROUPS_MAX, plan_reads
from chalicelib.query.request import parse_request
from tests.unit.query.shop import DAY_MS, HOUR_MS, NOW_MS, SALES, SMALL, START_MS, TOTALS


def plan(metric, **parameters):
    request = parse_request(metric, {name: [*values] for name, values in parameters.items()}, NOW_MS)
    (whole,) = plan_reads(request, None, DAY_MS)
    return whole


def test_every_bucket_is_read_when_not_all_dimensions_are_named():
    every = tuple(range(SALES.buckets * SALES.spread))
    assert plan(SALES).partitions == every
    assert plan(SALES, where=["shop:a"]).partitions == every


def test_only_the_buckets_of_named_groups_are_read():
    for shop, clerk in product("abcdef", "xyz"):
        read = plan(SALES, where=[f"clerk:{clerk}", f"shop:{shop}"]).partitions
        assert read == tuple(SALES.partitions_of(SALES.bucket_of((shop, clerk))))


def test_a_bucket_of_several_named_groups_is_read_once():
    partitions = plan(SALES, where=["shop:a,b,c,d,e,f", "clerk:x,y,z"]).partitions
    assert partitions == tuple(range(SALES.buckets * SALES.spread))


def test_very_many_named_groups_are_not_dealt_one_by_one():
    many = ",".join(map(str, range(GROUPS_MAX)))
    assert plan(SALES, where=[f"shop:{many}", f"clerk:{many}"]).partitions == tuple(range(8))


def test_a_metric_of_one_bucket_is_read_from_it():
    assert plan(TOTALS).partitions == plan(SMALL, where=["shop:a"]).partitions == (0,)


def test_exactly_the_range_is_read():
    asked = plan(SALES, start=[format_instant(START_MS)], end=[format_instant(START_MS + HOUR_MS)], step=["7m"])
    assert (asked.start_ms, asked.end_ms) == (START_MS, START_MS + HOUR_MS)
