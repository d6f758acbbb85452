"""A stage in memory that counts what a load test sends: the real ingest, on the fakes."""

from collections import Counter, defaultdict
from itertools import count, pairwise

from msgspec.structs import replace

from chalicelib import definitions
from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.partial import merge_groups
from chalicelib.records.shard import Shard
from loadtest.ledger import OpenLedger
from loadtest.producer.shards import ShardMap
from loadtest.traffic import PROBERS_FROM, PutRecord, Traffic, probe_due_ms, probe_event
from tests.builders import lambda_event, make_decoder
from tests.unit.consumers.ingest_world import World, plenty

HASH_KEYS = 2**128
CATALOG = Catalog(definitions.EVENT_TYPES, definitions.METRICS)


class Stream:
    """Shards that keep what they take. A record goes where its partition key belongs, whatever is in it."""

    def __init__(self, shards):
        edges = [HASH_KEYS * number // shards for number in range(shards + 1)]
        self.shards = [_shard(number, *bounds) for number, bounds in enumerate(pairwise(edges))]
        self.records = defaultdict(list)  # by shard: (arrived_at_ms, record)

    @property
    def map(self):
        listed = [
            {
                "ShardId": shard.shard_id,
                "HashKeyRange": {"StartingHashKey": shard.starting_hash_key},
                "SequenceNumberRange": {} if shard.is_open else {"EndingSequenceNumber": "1"},
            }
            for shard in self.shards
        ]
        return ShardMap(listed)

    def put(self, record, arrived_at_ms):
        self.records[self.map.shard_of(record.partition_key)].append((arrived_at_ms, record))

    def split(self):
        """Split every open shard in the middle."""
        numbers = count(len(self.shards))
        for place, shard in enumerate(list(self.shards)):
            if shard.is_open:
                start, end = int(shard.starting_hash_key), int(shard.ending_hash_key) + 1
                self.shards[place] = replace(shard, is_open=False)
                for bounds in ((start, (start + end) // 2), ((start + end) // 2, end)):
                    self.shards.append(_shard(next(numbers), *bounds, parents=(shard.shard_id,)))


def _shard(number, start, end, parents=()):
    return Shard(f"shardId-{number:012d}", True, parents, str(start), str(end - 1))


def send(run, stream, chance, *, times=lambda record: 1, delay_ms=0, split_at_ms=None):
    """Put all of a run's traffic, and 20 probes, on the stream.

    Within a slot the stream takes records in any order, as PutRecords may; `times`, how often it takes each, the answer
    to all but the last time being lost. That shards were split, senders learn five seconds later. Returns: the ledgers.
    """
    slots = []
    ledgers = [OpenLedger(worker) for worker in range(run.workers)]
    for worker in range(run.workers):
        slots += [(slot.due_ms, worker, slot) for slot in Traffic(run, worker).slots()]
    shards = stream.map
    for due_ms, worker, slot in sorted(slots, key=lambda each: each[:2]):
        if split_at_ms is not None and due_ms >= split_at_ms:
            if all(shard.is_open for shard in stream.shards):
                stream.split()
            if due_ms >= split_at_ms + 5_000:
                shards = stream.map
        records = slot.records(shards)
        chance.shuffle(records)
        for record in records:
            ledgers[worker].send(record.numbers)
            taken = times(record)
            for _ in range(taken):
                stream.put(record, due_ms + delay_ms)
            if taken:
                ledgers[worker].accept(record.numbers)
                ledgers[worker].resend(taken - 1)
            else:
                ledgers[worker].refuse(record.numbers)
    prober = OpenLedger(PROBERS_FROM + 3)
    for number in range(20):
        key, data = probe_event(run, 3, number)
        stream.put(PutRecord(key, data, [number]), probe_due_ms(run, number) + delay_ms)
        prober.accept([number])
    return [ledger.close() for ledger in [*ledgers, prober]]


def count_all(stream, run, chance):
    """Have the real ingest count the stream, a parent before its children, in batches cut anywhere."""
    decoder = make_decoder(CATALOG, run.lateness_ms)
    world = World(*stream.shards, handlers=definitions.HANDLERS, catalog=CATALOG, decoder=decoder)
    container = world.container()
    reports = []
    for shard in stream.shards:
        waiting = list(enumerate(sorted(stream.records[shard.shard_id], key=lambda each: each[0]), 1))
        while waiting:
            size = chance.randint(1, 300)
            batch, waiting = waiting[:size], waiting[size:]
            event = {"Records": []}
            for number, (arrived_at_ms, record) in batch:
                where = {"shard": shard.shard_id, "partition_key": record.partition_key}
                event["Records"] += lambda_event([record.data], first=number, arrived_at_ms=arrived_at_ms, **where)[
                    "Records"
                ]
            reports.append(container(event, plenty))
            assert reports[-1].failed_sequence_number is None
            assert reports[-1].overflowed_groups == 0
    return world, reports


def answers(world):
    """What the stage tells: by metric, then by window and group, each measure."""
    shares = defaultdict(list)
    for key, partial in world.aggregates.partials.items():
        shares[key.metric, key.window_start_ms].append(partial.groups.items())
    told = {metric: {} for metric in CATALOG.metrics}
    for (name, window_ms), groups in shares.items():
        metric = CATALOG.metrics[name]
        for group, states in merge_groups(metric, groups).items():
            told[name][window_ms, group] = metric.finish(states)
    return told


def totals(world, name):
    """What the stage tells of all windows together."""
    metric = CATALOG.metrics[name]
    shares = [partial.groups.items() for key, partial in world.aggregates.partials.items() if key.metric == name]
    return {group: metric.finish(states) for group, states in merge_groups(metric, shares).items()}


def letters(world):
    """Dead letters by reason."""
    return Counter(str(each.refusal.reason) for pieces in world.dead_letters.objects.values() for each in pieces)
