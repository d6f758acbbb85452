"""How many units a load takes in a month of thirty days: counted by formula from what was measured.

What is measured is in MEASURED, with the commands that measure it; what is assumed, in the fields of `Load`, to be
replaced by what a stage's own metrics say. Pure.
"""

from bisect import bisect_left
from dataclasses import dataclass
from math import ceil

from ops.cost.prices import PriceError

DAYS, SECONDS_A_DAY, HOURS = 30, 86_400, 720
GB = 1_000_000_000
PUT_PAYLOAD_BYTES = 25_000  # of Kinesis; a record takes whole ones
SHARD_BYTES, SHARD_RECORDS = 1_000_000, 1_000  # a second
RETENTION_HOURS_FREE = 24
PUBLISH_BYTES = 64_000  # of SNS, likewise
POLLERS, POLL_SECONDS = 5, 20  # with which Lambda asks an empty queue
KEYS_KEPT_SECONDS = 300  # for how long services keep a data key before they ask KMS again
SECRET_KEPT_SECONDS = 60  # API_TOKENS_MAX_AGE
ROLLUP_WINDOW_S, FAN_OUT_WINDOW_S = 30, 1  # MaximumBatchingWindowInSeconds of the mappings
TRACES_A_SECOND, TRACED_SHARE = 1, 0.05  # X-Ray's default: the first request each second, and of the others 5 %


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a stage. Units: bytes, milliseconds (`_ms`), microseconds (`_us`), seconds (`_s`), GB (`_gb`).

    Shapes: shards, 0 for as many as the peak needs.
    """

    events_per_day: float
    event_bytes: int = 250  # as `benchmarks.orders` makes them
    events_per_record: int = 200  # of a KPL aggregate; a producer waits no longer than a second for them
    peak: float = 3.0  # the busiest second, in average ones: shards are there for it
    shards: int = 0
    retention_hours: int = 168
    batching_window_s: float = 1.0
    queries_per_day: float = 10_000
    query_read_units: float = 60.0
    published_metrics: int = 1  # of those that are shipped, with events at this rate
    changed_windows: float = 1.5  # of a metric, in a batch: events of a minute ago come, too
    message_bytes: int = 2_000
    bad_records_per_day: float = 100
    arm64: bool = True
    # Assumed until a stage's own Duration is known: milliseconds an invocation, and what an event adds.
    ingest_ms: float = 60
    ingest_event_us: float = 16
    rollup_ms: float = 400
    fan_out_ms: float = 80
    tick_ms: float = 600
    query_ms: float = 120
    authorize_ms: float = 30
    authorizations: float = 0.1  # a query: API Gateway keeps the answer for a minute
    # From the template.
    memory_gb: float = 1.0
    small_memory_gb: float = 0.5  # of `authorize`
    provisioned: int = 2  # containers of the API
    alarms: int = 60
    custom_metrics: int = 80
    log_bytes: int = 3_000  # an invocation: its line, its metrics, Lambda's report
    log_days: int = 90
    aggregates_days: int = 400  # a metric's retention
    table_partitions: int = 4  # of the aggregates table, each a shard of its stream

    @property
    def events_per_second(self) -> float:
        """On average."""
        return self.events_per_day / SECONDS_A_DAY

    @property
    def shards_needed(self) -> int:
        """As many as were asked for, or as the peak takes."""
        at_peak = self.events_per_second * self.peak
        by_records = at_peak / self.events_per_record / SHARD_RECORDS
        return self.shards or max(1, ceil(max(at_peak * self.event_bytes / SHARD_BYTES, by_records)))

    @property
    def records_per_second(self) -> float:
        """Full aggregates, or one a shard and second where there are too few events to fill them."""
        full = self.events_per_second / self.events_per_record
        return min(self.events_per_second, max(full, self.shards_needed))

    @property
    def batches_per_second(self) -> float:
        """Each shard's records make a batch each batching window."""
        return min(self.shards_needed / max(self.batching_window_s, 1.0), self.records_per_second)

    @property
    def events_per_batch(self) -> float:
        """On average."""
        return self.events_per_second / self.batches_per_second


@dataclass(frozen=True, slots=True)
class Batch:
    """Write units of a batch of so many events: the shipped metrics' partials and the shard's progress; the id log."""

    events: int
    partial_units: float
    id_units: float


# python -m benchmarks.write_units --events-per-batch 10 30 100 300 1000 3000 10000 ("all" and "ids (KPL)", a batch)
BATCHES: tuple[Batch, ...] = ()
# python -m benchmarks.rollup_units (ten minutes of 1 000 events/s on 4 shards), a minute
ROLLUP_WRITES_A_MINUTE = 0.0
ROLLUP_READS_A_MINUTE_AND_SHARD = 0.0
ITEM_AN_EVENT_UNITS = 1.0  # what one item for each event takes, of up to 1 KB


def units_of(load: Load) -> dict[str, float]:
    """Count the units of a month.

    Raises: PriceError for a load of no events, or of less.
    """
    if not 0 < load.events_per_day < float("inf"):
        raise PriceError(f"events a day: more than 0, not {load.events_per_day}")
    seconds = DAYS * SECONDS_A_DAY
    batches, shards = load.batches_per_second * seconds, load.shards_needed
    records = load.records_per_second * seconds
    batch = write_units(load.events_per_batch)
    rollups = load.table_partitions * seconds / ROLLUP_WINDOW_S
    fan_outs = min(load.table_partitions / FAN_OUT_WINDOW_S, load.batches_per_second) * seconds
    publishes = min(1 / FAN_OUT_WINDOW_S, load.batches_per_second) * load.published_metrics * load.changed_windows
    publishes = publishes * seconds + 2 * load.published_metrics * seconds / ROLLUP_WINDOW_S  # … its hour and its day
    queries, ticks = load.queries_per_day * DAYS, seconds / 60
    authorizations = queries * load.authorizations
    invocations = batches + rollups + fan_outs + ticks + queries + authorizations
    ingest_s = batches * load.ingest_ms / 1e3 + load.events_per_day * DAYS * load.ingest_event_us / 1e6
    others_s = (
        rollups * load.rollup_ms + fan_outs * load.fan_out_ms + ticks * load.tick_ms + queries * load.query_ms
    ) / 1e3
    record_bytes = load.events_per_day * load.event_bytes / (load.records_per_second * SECONDS_A_DAY)
    partial_bytes = batch.partial_units * 1_000  # a batch writes each of its partials whole
    stored = load.aggregates_days * (SECONDS_A_DAY / 60) * shards * partial_bytes
    stored += batches / DAYS * batch.id_units * 1_000 * load.retention_hours / 24
    logs = invocations * load.log_bytes
    arch = "arm64" if load.arm64 else "x86_64"
    return {
        "kinesis.shard_hours": shards * HOURS,
        "kinesis.extended_retention_shard_hours": shards * HOURS * (load.retention_hours > RETENTION_HOURS_FREE),
        "kinesis.put_payload_units": records * max(1, ceil(record_bytes / PUT_PAYLOAD_BYTES)) + ticks * shards,
        "lambda.requests": invocations,
        f"lambda.gb_seconds_{arch}": (ingest_s + others_s) * load.memory_gb
        + authorizations * load.authorize_ms / 1e3 * load.small_memory_gb,
        f"lambda.provisioned_gb_seconds_{arch}": load.provisioned * seconds * load.memory_gb,
        "dynamodb.write_units": batches * (batch.partial_units + batch.id_units) + ticks * ROLLUP_WRITES_A_MINUTE,
        "dynamodb.read_units": batches  # the id log, before each batch
        + ticks * ROLLUP_READS_A_MINUTE_AND_SHARD * shards
        + publishes * shards  # a window is read whole: an item of each writer
        + queries * load.query_read_units,
        "dynamodb.storage_gb_months": stored / GB,
        "dynamodb.recovery_gb_months": stored / GB,
        "s3.put_requests": load.bad_records_per_day * DAYS,
        "s3.storage_gb_months": load.bad_records_per_day * DAYS * record_bytes / GB,
        "sns.publishes": publishes * ceil(load.message_bytes / PUBLISH_BYTES),
        "sqs.requests": POLLERS * seconds / POLL_SECONDS,
        "apigateway.requests": queries,
        "cloudwatch.log_gb": logs / GB,
        "cloudwatch.log_gb_months": logs / DAYS * load.log_days / GB,
        "cloudwatch.metrics": load.custom_metrics,
        "cloudwatch.alarms": load.alarms,
        "cloudwatch.dashboards": 1,
        "xray.traces": sum(
            _traced(count / seconds) for count in (batches, rollups, fan_outs, ticks, queries, authorizations)
        )
        * seconds,
        "kms.keys": 1,  # of the alarms' topic
        "kms.requests": (shards + 4 * load.table_partitions + 2) * seconds / KEYS_KEPT_SECONDS,
        "secretsmanager.secrets": 1,
        "secretsmanager.requests": min(authorizations, seconds / SECRET_KEPT_SECONDS),
    }


def item_an_event_units(load: Load) -> dict[str, float]:
    """What one item for each event would write: the least that a handler with one record an event pays."""
    return {"dynamodb.write_units": load.events_per_day * DAYS * ITEM_AN_EVENT_UNITS}


def write_units(events: float) -> Batch:
    """What a batch of so many events writes: between two measured sizes in proportion, beyond them as the nearest.

    Why: a batch of fewer events than were measured writes no more than that one; of more, in proportion to it.
    """
    first, last = BATCHES[0], BATCHES[-1]
    if events <= first.events:
        return first
    if events >= last.events:
        more = events / last.events
        return Batch(round(events), last.partial_units * more, last.id_units * more)
    above = bisect_left([batch.events for batch in BATCHES], events)
    low, high = BATCHES[above - 1], BATCHES[above]
    share = (events - low.events) / (high.events - low.events)
    return Batch(
        round(events),
        low.partial_units + share * (high.partial_units - low.partial_units),
        low.id_units + share * (high.id_units - low.id_units),
    )


def _traced(rate: float) -> float:
    """How many of so many requests a second are traced."""
    return min(rate, TRACES_A_SECOND + TRACED_SHARE * max(0.0, rate - TRACES_A_SECOND))
