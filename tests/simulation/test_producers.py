"""The producers do what they say: their descriptions fit their bytes, and what is meant to happen happens."""

from collections import Counter
from random import Random

import aws_kinesis_agg.deaggregator  # noqa: F401  must come before messages_pb2
import pytest
from aws_kinesis_agg import messages_pb2

from chalicelib.records.batch import Record as DecodableRecord
from tests.builders import NOON_MS, make_decoder
from tests.simulation.oracle import Limits, Oracle, expected
from tests.simulation.producer import Habits, Producers
from tests.simulation.stream import HASH_KEYS, Event, Shard, hash_key_of
from tests.simulation.wire import aggregated

LIMITS = Limits()
RUN_MS = 200_000
RUNS = 20


def drive(seed, habits=None):
    """Let the producers put records on shards that split and merge; no consumer is there."""
    chance = Random(seed)
    producers = Producers(chance, LIMITS, habits)
    shards, open_shards = [], []
    numbers = iter(range(1, 10**9))

    def add(keys, *parents):
        shards.append(Shard(f"s{len(shards)}", keys, tuple(parent.shard_id for parent in parents), []))
        open_shards.append(shards[-1])

    def accept(puts, now_ms):
        for put in puts:
            shard = next(shard for shard in open_shards if put.hash_key in shard.keys)
            shard.records.append(put.accepted(str(next(numbers)), now_ms))

    def reshard():
        open_shards.sort(key=lambda shard: shard.keys.start)
        place = chance.randrange(len(open_shards))
        if place and chance.random() < 0.5:
            right, left = open_shards.pop(place), open_shards.pop(place - 1)
            add(range(left.keys.start, right.keys.stop), left, right)
        else:
            split = open_shards.pop(place)
            middle = (split.keys.start + split.keys.stop) // 2
            add(range(split.keys.start, middle), split)
            add(range(middle, split.keys.stop), split)

    add(HASH_KEYS)
    now_ms = NOON_MS
    while now_ms < NOON_MS + RUN_MS:
        due_ms = producers.next_due_ms or now_ms
        now_ms = max(now_ms, due_ms) if chance.random() < 0.2 else now_ms + chance.randrange(2_500)
        if chance.random() < 0.05:
            reshard()
        accept(producers.next(now_ms, open_shards), now_ms)
    while producers.next_due_ms:
        now_ms = max(now_ms, producers.next_due_ms)
        accept(producers.due(now_ms, open_shards), now_ms)
    return shards


def test_the_same_seed_puts_the_same_records():
    assert drive(1) == drive(1)
    assert drive(1) != drive(2)


@pytest.mark.parametrize("seed", range(5))
def test_the_descriptions_fit_the_bytes(seed):
    """What the real decoder finds in a record is what its producer says is in it."""
    decode = make_decoder().decode
    oracle = Oracle(Limits(ids_max=0))  # so every event that can be counted is
    oracle.add_shard("all", HASH_KEYS)
    for record in (record for shard in drive(seed) for record in shard.records):
        verdict = oracle.judge("all", record)
        number = record.sequence_number
        found = decode(DecodableRecord(number, number, record.partition_key, record.arrived_at_ms, record.data))
        assert [(event.source, event.id, event.data.amount) for event in found.events] == [
            (event.source, event.id, event.order.amount) for event in verdict.counted
        ]
        times_ms = [time_ms for part in found.parts for time_ms in part.times_ms]
        assert sorted(times_ms) == sorted(event.time_ms for event in verdict.counted)
        assert [rejected.refusal.reason for rejected in found.rejected] == verdict.dead_letters


def test_everything_that_is_meant_to_happen_happens():
    happened = Counter()
    events = 0
    for seed in range(RUNS):
        shards = drive(seed)
        outcome = expected(shards, LIMITS)
        happened["duplicate"] += outcome.duplicates
        happened["misplaced"] += outcome.misplaced
        happened["large"] += len(outcome.large)
        happened.update(reason for reasons in outcome.dead_letters.values() for reason in reasons)
        pieces = [
            each for shard in shards for record in shard.records for user in record.user_records for each in user.pieces
        ]
        events += sum(isinstance(piece, Event) for piece in pieces)
        happened["huge id"] += sum(isinstance(piece, Event) and len(piece.id) > 2**16 for piece in pieces)
        happened["NUL in an id"] += sum(isinstance(piece, Event) and "\0" in piece.id for piece in pieces)
    meant = "duplicate, conflicting duplicate, misplaced, large, malformed, unknown type, invalid, broken aggregate"
    meant += ", too late, from the future, huge id, NUL in an id"
    assert all(happened[what] for what in meant.split(", ")), happened
    assert happened["duplicate"] >= events / 10, happened


@pytest.mark.parametrize(
    "other",
    [
        Limits(horizon_ms=LIMITS.horizon_ms - 1),
        Limits(horizon_ms=LIMITS.horizon_ms + 1),
        Limits(ids_max=LIMITS.ids_max - 1),
        Limits(ids_max=LIMITS.ids_max + 1),
        Limits(lateness_ms=LIMITS.lateness_ms - 1),
        Limits(lateness_ms=LIMITS.lateness_ms + 1),
        Limits(future_tolerance_ms=LIMITS.future_tolerance_ms - 1),
        Limits(future_tolerance_ms=LIMITS.future_tolerance_ms + 1),
    ],
    ids=str,
)
def test_every_edge_is_met(other):
    """Some stream tells each limit from the one beside it."""
    assert any(expected(shards, LIMITS) != expected(shards, other) for shards in map(drive, range(40)))


def test_what_the_kpl_lost_by_a_reshard_it_sends_again():
    misplaced, placed = set(), set()
    for shard in drive(3, Habits(plain=0, aggregator=0, imitator=0, broken=0, kpl=1)):
        for record in shard.records:
            for user_record in record.user_records:
                is_elsewhere = user_record.hash_key is not None and user_record.hash_key not in shard.keys
                (misplaced if is_elsewhere and record.partition_key == "a" else placed).add(user_record.pieces)
    assert misplaced
    assert misplaced <= placed


def test_an_aggregate_is_one_to_the_kpls_own_message_class():
    user_records = [("ada", None, b"1"), ("bob", 2**127, b""), ("ada", 0, b"3" * 70_000), ("é", 2**127, b"4")]
    message = messages_pb2.AggregatedRecord.FromString(aggregated(user_records)[4:-16])
    assert [
        (
            message.partition_key_table[record.partition_key_index],
            int(message.explicit_hash_key_table[record.explicit_hash_key_index])
            if record.HasField("explicit_hash_key_index")
            else None,
            record.data,
        )
        for record in message.records
    ] == user_records


def test_a_partition_keys_hash_is_the_one_that_kinesis_takes():
    assert hash_key_of("a") == 0x0CC175B9C0F1B6A831C399E269772661  # MD5 of "a", RFC 1321, appendix A.5
