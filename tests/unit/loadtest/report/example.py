"""A run of four minutes as a recording might have it, with all that a report shows; made up, and the same each time."""

import random

from msgspec.structs import replace

from loadtest import report
from loadtest.profile import Analysts, Arrivals, Events, Objectives, Profile
from loadtest.proof import prove
from loadtest.recording import FaultDone, Lag, Probe, Query, Second, Usage
from tests.unit.loadtest.proof.world import SHARES, STARTED_MS, make_world

SECONDS = 240
TROUBLE = range(90, 98)  # seconds in which writes are refused
QUESTIONS = ("orders by currency, an hour", "ten best customers", "quantiles of a day", "stream")
PROFILE = Profile(
    "An example, with <b>faults</b> & all",
    Arrivals(rate=60, seconds=SECONDS),
    Events(customers=50, shares=SHARES),
    Analysts(queries=2, probes=1),
    Objectives(freshness_p99_ms=2_000, query_p99_ms=500),
)


def make_report(seed: int = 3, *, slower: float = 1.0, is_wrong: bool = False) -> report.Report:
    """Shapes: slower, by how much waits are longer; is_wrong, the stage has lost and changed something."""
    chance = random.Random(seed)
    world = make_world(PROFILE, run_id=f"example{seed}")
    recording = replace(
        world.recording,
        seconds=[_second(at, chance) for at in range(SECONDS)],
        probes=[_probe(at, chance, slower) for at in range(SECONDS)],
        queries=[
            Query(chance.choice(QUESTIONS), STARTED_MS + at * 500, slower * chance.lognormvariate(3.4, 0.6), 200)
            for at in range(2 * SECONDS)
        ],
        lags=[_lag(at, shard, chance, slower) for at in range(SECONDS) for shard in range(4)],
        faults=[
            FaultDone("kill-worker", STARTED_MS + 60_000, "a process was killed in mid-batch", happened=True),
            FaultDone("throttle-dynamodb", STARTED_MS + 90_000, "1,204 writes were refused", happened=not is_wrong),
        ],
        usage=Usage(
            {"kinesis.put_payload_units": 310_000, "dynamodb.write_units": 21_340 * slower, "sns.publishes": 960},
            {"dynamodb.PutItem": 16_800, "kinesis.PutRecords": 9_800, "sns.Publish": 960},
            {
                "highwater-t-aggregates": {"write_units": 15_340, "read_units": 6_000},
                "highwater-t-ids": {"write_units": 6_000},
            },
            "an example",
        ),
        versions={"highwater": "0.1.0", "python": "3.11.9"},
        machine="2 cores, an example",
        profile_name="example",
        command="python -m loadtest --stage local --profile example",
    )
    if is_wrong:
        spent = world.api.rows["customers"]
        for place in sorted(spent)[:40]:
            spent[place]["orders"] += 1
        del world.api.rows["orders"][min(world.api.rows["orders"])]
        world.api.letters["invalid"] -= 1
    return report.make(recording, prove(recording, world.expected, world.api))


def _second(at: int, chance: random.Random) -> Second:
    is_troubled = at in TROUBLE
    accepted = 14_000 if is_troubled else 27_000 if TROUBLE.stop <= at < TROUBLE.stop + 4 else 20_000
    return Second(
        at,
        offered=20_000,
        accepted=accepted - chance.randrange(200),
        throttled=chance.randrange(300) if is_troubled else 0,
        records=200,
        bytes=4_900_000,
        requests=40,
        waiting=chance.randrange(4_000),
    )


def _probe(at: int, chance: random.Random, slower: float) -> Probe:
    accepted_ms = STARTED_MS + at * 1_000
    took_ms = slower * (700 + chance.expovariate(1 / 250) + (1_500 if at in TROUBLE else 0))
    return Probe(accepted_ms, None if at == TROUBLE.start + 3 else accepted_ms + int(took_ms))


def _lag(at: int, shard: int, chance: random.Random, slower: float) -> Lag:
    behind_ms = slower * (400 + chance.expovariate(1 / 200) + (2_500 if at in TROUBLE and shard == 2 else 0))
    return Lag(STARTED_MS + at * 1_000, f"shardId-{shard:012d}", int(behind_ms))
