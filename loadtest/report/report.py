"""What a load test comes to, in figures. Pure, but for the table of prices. `README.md` tells the schema.

Percentiles are by nearest rank (`loadtest.percentiles`); a probe that was never visible, and a question that was not
answered, are longer than any that was.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from msgspec import Struct

from chalicelib.aggregates.windows import format_instant
from loadtest.percentiles import percentile
from loadtest.profile import Profile
from loadtest.proof.objectives import freshness_ms, latencies_ms
from loadtest.proof.verdict import Verdict
from loadtest.recording import FaultDone, Lag, Probe, Query, Recording, Second, Stage, Usage
from ops.cost.prices import Prices, dollars_by_unit, read_prices

SCHEMA = 1
MILLION = 1_000_000
NEVER = float("inf")


class Spread(Struct, frozen=True):
    """How values lie. Units: as the name that it stands under says.

    Shapes: count, of all; never, how many of them have no value, for what was waited for did not come: where that is so
            of a percentile or of the greatest, it is None. Of no values all are None.
    """

    count: int
    never: int
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class Rates(Struct, frozen=True):
    """What was sent. Units: means and peaks, events a second; peaks, of the best whole second.

    Shapes: seconds, of the load, until the last event was offered; the accepted mean is until the last was accepted.
            throttled, records that Kinesis refused, each time; waiting_max, events due and not yet accepted.
    """

    seconds: int
    offered: int
    accepted: int
    offered_mean: float
    offered_peak: int
    accepted_mean: float
    accepted_peak: int
    throttled: int
    records: int
    requests: int
    bytes: int
    waiting_max: int


class Latency(Struct, frozen=True):
    """How long the questions of one name took. Units: milliseconds; never are those that failed."""

    name: str
    ms: Spread


class ShardLag(Struct, frozen=True):
    """How far behind one shard was. Units: milliseconds."""

    shard_id: str
    ms: Spread


class UnitCount(Struct, frozen=True):
    """How much was used of what is paid for. Units: usd_per_million, dollars a million events; None without a price."""

    unit: str
    count: float
    per_million: float
    usd_per_million: float | None


class RequestCount(Struct, frozen=True):
    """How many requests of one operation there were, and for a million events."""

    operation: str
    count: int
    per_million: float


class TableUnits(Struct, frozen=True):
    """What a table took, for a million events."""

    table: str
    write_units_per_million: float
    read_units_per_million: float


class Cost(Struct, frozen=True):
    """What the load used, for a million events accepted; by_service, dollars of a million events.

    Shapes: source says who counted the units; prices, whose prices they are.
    """

    source: str
    prices: str
    usd_per_million: float
    by_service: dict[str, float]
    units: list[UnitCount]
    requests: list[RequestCount]
    tables: list[TableUnits]


class Report(Struct, frozen=True):
    """A load test in figures, with what they were made of. Units: instants are RFC 3339, or milliseconds (`_ms`)."""

    schema: int
    run_id: str
    profile_name: str
    profile: Profile
    stage: Stage
    workers: int
    started: str
    started_ms: int
    stopped_ms: int
    command: str
    machine: str
    versions: dict[str, str]
    verdict: Verdict
    rates: Rates
    freshness_ms: Spread
    queries: list[Latency]
    lags: list[ShardLag]
    cost: Cost | None
    faults: list[FaultDone]
    seconds: list[Second]
    probes: list[Probe]
    asked: list[Query]
    lag_samples: list[Lag]


def make(recording: Recording, verdict: Verdict, prices: Prices | None = None) -> Report:
    """Make the report of what was recorded, and what the proof made of it.

    Shapes: prices, those that are shipped if none are given.
    """
    return Report(
        schema=SCHEMA,
        run_id=recording.run.run_id,
        profile_name=recording.profile_name,
        profile=recording.run.profile,
        stage=recording.stage,
        workers=recording.run.workers,
        started=format_instant(recording.run.started_ms),
        started_ms=recording.run.started_ms,
        stopped_ms=recording.stopped_ms,
        command=recording.command,
        machine=recording.machine,
        versions=dict(sorted(recording.versions.items())),
        verdict=verdict,
        rates=rates_of(recording.seconds),
        freshness_ms=spread(freshness_ms(recording)),
        queries=_latencies(recording),
        lags=_lags(recording.lags),
        cost=_cost(recording, read_prices() if prices is None else prices),
        faults=recording.faults,
        seconds=sorted(recording.seconds, key=lambda second: second.at),
        probes=recording.probes,
        asked=recording.queries,
        lag_samples=recording.lags,
    )


def spread(values: Iterable[float]) -> Spread:
    """How these values lie; infinite ones are those that never came."""
    known = list(values)
    p50, p95, p99, most = (_finite(percentile(known, share)) for share in (0.5, 0.95, 0.99, 1.0))
    return Spread(len(known), sum(value == NEVER for value in known), p50, p95, p99, most)


def rates_of(seconds: Sequence[Second]) -> Rates:
    """What was sent, from its seconds."""
    offered, accepted = (sum(each) for each in ([s.offered for s in seconds], [s.accepted for s in seconds]))
    until_offered = max((second.at + 1 for second in seconds if second.offered), default=0)
    until_accepted = max((second.at + 1 for second in seconds if second.accepted), default=0)
    return Rates(
        seconds=until_offered,
        offered=offered,
        accepted=accepted,
        offered_mean=_share(offered, until_offered),
        offered_peak=max((second.offered for second in seconds), default=0),
        accepted_mean=_share(accepted, until_accepted),
        accepted_peak=max((second.accepted for second in seconds), default=0),
        throttled=sum(second.throttled for second in seconds),
        records=sum(second.records for second in seconds),
        requests=sum(second.requests for second in seconds),
        bytes=sum(second.bytes for second in seconds),
        waiting_max=max((second.waiting for second in seconds), default=0),
    )


def _latencies(recording: Recording) -> list[Latency]:
    by_name: defaultdict[str, list[Query]] = defaultdict(list)
    for query in recording.queries:
        by_name[query.name].append(query)
    return [Latency(name, spread(latencies_ms(queries))) for name, queries in sorted(by_name.items())]


def _lags(samples: Sequence[Lag]) -> list[ShardLag]:
    by_shard: defaultdict[str, list[float]] = defaultdict(list)
    for lag in samples:
        if lag.behind_ms is not None:
            by_shard[lag.shard_id].append(lag.behind_ms)
    return [ShardLag(shard_id, spread(values)) for shard_id, values in sorted(by_shard.items())]


def _cost(recording: Recording, prices: Prices) -> Cost | None:
    usage, accepted = recording.usage, sum(second.accepted for second in recording.seconds)
    if usage is None or not accepted:
        return None
    costs = dollars_by_unit({unit: count for unit, count in usage.units.items() if unit in prices}, prices)
    by_service: defaultdict[str, Decimal] = defaultdict(Decimal)
    for unit, cost in costs.items():
        by_service[unit.partition(".")[0]] += cost

    def per_million(count: float) -> float:
        return count / accepted * MILLION

    return Cost(
        source=usage.source,
        prices="ops/cost/prices.toml",
        usd_per_million=per_million(float(sum(costs.values()))),
        by_service={service: per_million(float(cost)) for service, cost in by_service.items()},
        units=[
            UnitCount(unit, count, per_million(count), per_million(float(costs[unit])) if unit in costs else None)
            for unit, count in usage.units.items()
        ],
        requests=[
            RequestCount(operation, count, per_million(count)) for operation, count in sorted(usage.requests.items())
        ],
        tables=_tables(usage, accepted),
    )


def _tables(usage: Usage, accepted: int) -> list[TableUnits]:
    def per_million(units: Mapping[str, float], name: str) -> float:
        return units.get(name, 0) / accepted * MILLION

    return [
        TableUnits(table, per_million(units, "write_units"), per_million(units, "read_units"))
        for table, units in sorted(usage.by_table.items())
    ]


def _share(count: int, seconds: int) -> float:
    return count / seconds if seconds else 0.0


def _finite(value: float | None) -> float | None:
    return None if value is None or value == NEVER else value
