"""How many units a load takes in a month of thirty days: counted by formula from what was measured.

What is measured stands here with the commands that measure it; what is assumed, in the fields of `Load`, to be replaced
by what a stage's own metrics say. Pure.
"""

from bisect import bisect_left
from collections.abc import Sequence
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
    arm64: bool = False  # as the stages are configured; arm64 is a fifth cheaper
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
    alarms: int = 52
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


# What a batch of a shard writes, by the shard's events a second: write units of the shipped metrics' partials and of
# its progress. A batch writes each partial whole, so what counts is the minute's state so far, not how it was cut.
# python -m benchmarks rollup_units --set minutes=2 --set shards=1 --set events_per_second=N; 250: of its default, 1 000
# on 4 shards.
PARTIAL_UNITS = ((10, 13.1), (30, 19.4), (100, 30.4), (250, 40.2), (1_000, 49.6), (3_000, 52.5))
# … and of the id log, by the batch's events.
# python -m benchmarks write_units --set events_per_batch=10,30,100,300,1000,3000,10000, "ids (KPL)"
ID_UNITS = ((10, 1.0), (30, 1.0), (100, 2.0), (300, 4.0), (1_000, 13.0), (3_000, 36.0), (10_000, 118.0))
# What the rollups write a minute: the open hour and day of `orders`, which is published, each 30 seconds, and all hours
# once they are settled. And what they read: of the open hour, each time, a part that is always there and one for each
# minute of it so far and each shard; of settled hours, each minute of each shard once.
# python -m benchmarks rollup_units; growth_shards for hours of thirty minutes.
ROLLUP_WRITES = 4.1
ROLLUP_READS, ROLLUP_READS_A_MINUTE_AND_SHARD = 3.0, 0.17
SETTLED_READS_A_MINUTE_AND_SHARD = 11.2
MINUTES_OF_AN_HOUR = 30  # on average
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
    partial_units = between(PARTIAL_UNITS, load.events_per_second / shards)
    id_units = between(ID_UNITS, load.events_per_batch)
    # The filter of fan-out lets changes of the metrics that are published through, each of which is in one of the
    # table's partitions (of several buckets, in as many).
    fan_outs = min(load.table_partitions, load.published_metrics) / FAN_OUT_WINDOW_S
    fan_outs = min(fan_outs, load.batches_per_second) * seconds
    rollups = load.table_partitions * seconds / ROLLUP_WINDOW_S
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
    # A minute of a shard is what its last batch has written; of the id log, every batch's items stay.
    stored = load.aggregates_days * (SECONDS_A_DAY / 60) * shards * partial_units * 1_000
    stored += batches / DAYS * id_units * 1_000 * load.retention_hours / 24
    rollup_reads = ROLLUP_READS + ROLLUP_READS_A_MINUTE_AND_SHARD * MINUTES_OF_AN_HOUR * shards
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
        "dynamodb.write_units": batches * (partial_units + id_units) + ticks * ROLLUP_WRITES,
        "dynamodb.read_units": batches  # the id log, before each batch
        + seconds / ROLLUP_WINDOW_S * rollup_reads
        + seconds / 60 * SETTLED_READS_A_MINUTE_AND_SHARD * shards
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


def between(measured: Sequence[tuple[int, float]], at: float) -> float:
    """A value between two measured ones, in proportion; below the first as the first, above the last as that grows.

    Shapes: measured, by size, ascending.
    """
    first, *_, last = measured
    if at <= first[0]:
        return first[1]
    if at >= last[0]:
        return last[1] * at / last[0]
    above = bisect_left(measured, (at,))
    (low, value), (high, next_value) = measured[above - 1], measured[above]
    return value + (at - low) / (high - low) * (next_value - value)


def _traced(rate: float) -> float:
    """How many of so many requests a second are traced."""
    return min(rate, TRACES_A_SECOND + TRACED_SHARE * max(0.0, rate - TRACES_A_SECOND))
