"""Ingest on stores in memory: containers that come and go, and what is counted in the end."""

from collections import Counter

from chalicelib.consumers.counted_ids import IDS_MAX, CountedIds
from chalicelib.consumers.ingest import Ingest
from tests.builders import CATALOG, MINUTE_MS, json_line, lambda_event, make_decoder, order
from tests.fakes import MemoryAggregates, MemoryDeadLetters, MemoryEffects, MemoryIds, MemoryShards

DECODER = make_decoder()
HORIZON_MS = 15 * MINUTE_MS
POISON = b"not an event"


class World:
    """The stores, and containers that come and go."""

    def __init__(self, *shards, ids_max=IDS_MAX, handlers=(), catalog=CATALOG, decoder=DECODER):
        self.catalog = catalog
        self.decoder = decoder
        self.aggregates = MemoryAggregates()
        self.dead_letters = MemoryDeadLetters()
        self.ids = MemoryIds()
        self.shards = MemoryShards(*shards)
        self.ids_max = ids_max
        self.handlers = handlers
        self.effects = MemoryEffects()

    def container(self):
        ids = CountedIds(self.ids, self.shards, HORIZON_MS, self.ids_max)
        return Ingest(
            self.catalog,
            self.decoder,
            partials=self.aggregates,
            dead_letters=self.dead_letters,
            progress=self.aggregates,
            ids=ids,
            handlers=self.handlers,
            effects=self.effects,
        )

    def counted(self, metric="orders"):
        """(window, group) → (count, revenue), merged over partials."""
        totals = Counter()
        for key, partial in self.aggregates.partials.items():
            for group, states in partial.groups.items():
                if key.metric == metric:
                    totals[key.window_start_ms, group, "count"] += states[0]
                    totals[key.window_start_ms, group, "sum"] += states[1]
        return totals

    @property
    def progress(self):
        return {shard: known[1] for (_, shard), known in self.aggregates.progress.items()}


def plenty():
    return 60_000


def events(*payloads, first=1, **more):
    return lambda_event(list(payloads), first=first, **more)


def orders(*numbers, **changes):
    return [json_line(order(number, **changes)) for number in numbers]


def total(world, metric="orders", what="count"):
    return sum(value for (_, _, kind), value in world.counted(metric).items() if kind == what)
