"""A stage in memory to ask questions of: a shop's sales, folded as ingest folds them, and what was read of them."""

import json
from collections import defaultdict
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from chalicelib.access.grant import EVERYTHING
from chalicelib.aggregates.measures import Count, Max, Mean, Min, Sum
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.partial import Partial, absorb, fold
from chalicelib.aggregates.windows import parse_instant, window_start
from chalicelib.query import http
from chalicelib.query.endpoints import Query
from chalicelib.reading.ports import ShardProgress
from chalicelib.records.shard import Shard
from tests.fakes import MemoryAggregates

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
START_MS = parse_instant("2026-11-23T20:00:00Z")
NOW_MS = START_MS + HOUR_MS - 1


class Sale(Struct, frozen=True):
    shop: str
    clerk: str
    price: Decimal


MEASURES = {"n": Count(), "total": Sum("price"), "low": Min("price"), "high": Max("price"), "mean": Mean("price")}
SALES = Metric(name="sales", event_type="sale", by=("shop", "clerk"), measures=MEASURES, buckets=4, spread=2)
SMALL = Metric(name="small", event_type="sale", by=("shop",), measures=MEASURES, group_limit=1)
TOTALS = Metric(name="totals", event_type="sale", measures=MEASURES)
DAILY = Metric(name="daily", event_type="sale", measures=MEASURES, window="1d")
CATALOG = Catalog({"sale": Sale}, [SALES, SMALL, TOTALS, DAILY])


class Sold(NamedTuple):
    """A sale, when it was, and the writer (shard) that counted it."""

    time_ms: int
    sale: Sale
    writer: str = "shard-0"


def sold(second, shop="a", clerk="x", price="1", writer="shard-0"):
    return Sold(START_MS + second * 1000, Sale(shop, clerk, Decimal(price)), writer)


class Shares(MemoryAggregates):
    """What is stored; reads are noted. `error` is raised in the middle of a read."""

    def __init__(self, partials):
        super().__init__()
        self.partials = partials
        self.plans = []
        self.timeouts_ms = []
        self.error = None

    def read_shares(self, plans, take, timeout_ms):
        self.plans += plans
        self.timeouts_ms.append(timeout_ms)
        cost = super().read_shares(plans, take, timeout_ms)
        if self.error:
            raise self.error
        return cost


class Stream:
    """A ShardLister and ProgressReader over lists."""

    def __init__(self, shards=(), progress=()):
        self.shards, self.progress = shards, progress

    def list_shards(self, timeout_ms):
        return self.shards

    def read_progress(self, stream, timeout_ms):
        return self.progress


ONE_SHARD = Stream([Shard("shard-0", is_open=True)], [ShardProgress("shard-0", "0042", NOW_MS - 1500)])


def store(sales, catalog=CATALOG):
    """The partials that ingest makes of these sales."""
    partials = {}
    for metric in catalog.metrics.values():
        by_writer = defaultdict(list)
        for each in sales:
            by_writer[each.writer].append(each)
        for writer, mine in by_writer.items():
            windows_ms = [window_start(each.time_ms, metric.window_ms) for each in mine]
            columns = {name: [getattr(each.sale, name) for each in mine] for name in Sale.__struct_fields__}
            for key, delta in fold(metric, writer, windows_ms, columns).items():
                partials[key] = Partial("1", 1, absorb(metric, {}, delta)[0])
    return partials


class Stage:
    """Asks as HTTP does: errors are problems."""

    def __init__(self, sales=(), stream=ONE_SHARD, now_ms=NOW_MS, letters=None, catalog=CATALOG):
        self.shares = Shares(store(sales, catalog))
        self.now_ms = now_ms
        self.query = Query(
            catalog,
            stage="test",
            stream="events",
            lateness_ms=DAY_MS,
            shares=self.shares,
            progress=stream,
            settled=self.shares,
            shards=stream,
            letters=lambda: letters,
            clock_ms=lambda: self.now_ms,
        )

    def answer(self, metric="sales", accept=None, remaining_ms=60_000, **parameters):
        """The answer to a windows request; a parameter is a value or a list of them."""
        given = {name: value if isinstance(value, list) else [str(value)] for name, value in parameters.items()}
        return self.answer_to(given, metric, accept, remaining_ms)

    def answer_to(self, given, metric="sales", accept=None, remaining_ms=60_000):
        """The answer to parameters of any name."""
        return http.respond(lambda: self.query.windows(EVERYTHING, metric, given, accept, lambda: remaining_ms))

    def ask(self, metric="sales", **parameters):
        """The JSON document of an answer, its decimals exact."""
        answer = self.answer(metric, **parameters)
        assert answer.status == 200, answer.body
        return read_json(answer.body)

    def rows(self, metric="sales", **parameters):
        return self.ask(metric, **parameters)["data"]

    def problem(self, metric="sales", **parameters):
        answer = self.answer(metric, **parameters)
        assert answer.headers["Content-Type"] == "application/problem+json"
        problem = read_json(answer.body)
        assert problem["status"] == answer.status
        return problem


def read_json(text):
    return json.loads(text, parse_float=Decimal)
