"""What the rollups write and read beside ingest: as an hour grows, once in 30 seconds, and when it is settled.

    python -m benchmarks rollup_units

Runs the real ingest and the real rollup on tables in memory: several shards, a batch a second each, the shipped
metrics. The changes of the table are carried on in batches, as the event source mapping would cut them; each change of
an hour comes with the next batch. At the end the hour is settled, with as many minutes as there were. Units by the
sizes of the items (`benchmarks.capacity`).
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from rich.progress import Progress

from benchmarks.capacity import CountingClient
from benchmarks.ingest_cpu import EVENTS_PER_AGGREGATE, make_ingest
from benchmarks.memory_dynamodb import MemoryDynamoDB
from benchmarks.orders import ARRIVED_AT_MS, aggregated, lambda_event, orders
from benchmarks.page import Headline, Part, Table
from benchmarks.suite import Options
from chalicelib import definitions
from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.windows import window_start
from chalicelib.aws.aggregates_keys import window_of
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.consumers.ports import StoredChange
from chalicelib.consumers.rollup import RollUp

NAME = "rollup_units"
STAGE = "bench"
TABLE = f"highwater-{STAGE}-aggregates"
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
CATALOG = Catalog(definitions.EVENT_TYPES, definitions.METRICS)


class ChangesClient(CountingClient):
    """A counting client that notes the changes of the aggregates table, as its stream would tell them."""

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self.changes: list[StoredChange] = []

    def put_item(self, **request: Any) -> dict[str, Any]:
        """DynamoDB's PutItem."""
        answer = super().put_item(**request)
        if request["TableName"] == TABLE:
            key = window_of(CATALOG, request["Item"]["pk"]["S"], request["Item"]["sk"]["S"])
            self.changes.append(StoredChange(str(len(self.changes)), key))
        return answer

    def take_changes(self) -> list[StoredChange]:
        """The changes since the last time."""
        taken, self.changes = self.changes, []
        return taken


class Settings(Struct, frozen=True):
    """How much load for how long. Units: events_per_second of all shards; window_seconds between rollups."""

    minutes: int = 3
    shards: int = 4
    events_per_second: int = 1_000
    customers: int = 1_000
    window_seconds: int = 30


QUICK = Settings(minutes=1, shards=1, events_per_second=20)


def measure(options: Options, progress: Progress) -> dict[str, float]:
    """Returns: units that ingest, its id log and the rollups have written and read."""
    settings: Settings = options.settings
    client = ChangesClient(MemoryDynamoDB())
    shard_ids = [f"shardId-{shard:012d}" for shard in range(settings.shards)]
    ingests = {shard_id: make_ingest(client, STAGE, shard_id=shard_id) for shard_id in shard_ids}
    table = AggregatesTable(client, TABLE, CATALOG, DAY_MS)  # type: ignore[arg-type]
    roll_up = RollUp(CATALOG, DAY_MS, table, table, clock_ms=lambda: ARRIVED_AT_MS)
    rollup_units, ingest_units = 0.0, 0.0
    events = settings.events_per_second // settings.shards
    for second in progress.track(range(settings.minutes * 60), description="seconds"):
        before, arrived_at_ms = client.write_units[TABLE], ARRIVED_AT_MS + second * 1_000
        for shard, (shard_id, ingest) in enumerate(ingests.items()):
            made = orders(
                events,
                customers=settings.customers,
                spread_ms=2_000,
                seed=second * 100 + shard,
                arrived_at_ms=arrived_at_ms,
            )
            event = lambda_event(
                aggregated(made, EVENTS_PER_AGGREGATE),
                first_sequence_number=1 + second * events,
                shard_id=shard_id,
                arrived_at_ms=arrived_at_ms,
            )
            report = ingest(event, lambda: 60_000)
            if report.failed_sequence_number:
                raise RuntimeError(f"a batch failed: {dict(report.errors)}")
        ingest_units += client.write_units[TABLE] - before
        if second % settings.window_seconds == settings.window_seconds - 1:
            rollup_units += roll_up(client.take_changes(), lambda: 60_000).write_units
    ids = f"highwater-{STAGE}-ids"
    carried_reads, before = client.read_units[TABLE], client.write_units[TABLE]
    hour_ms = window_start(ARRIVED_AT_MS, HOUR_MS)
    for metric in CATALOG.metrics.values():
        if not roll_up.see_to(metric, hour_ms, hour_ms + HOUR_MS, lambda: 600_000):
            raise RuntimeError(f"the hour of {metric.name} could not be settled")
    return {
        "ingest_writes": ingest_units,
        "ids_writes": client.write_units[ids],
        "ids_reads": client.read_units[ids],
        "rollup_writes": rollup_units,
        "rollup_reads": carried_reads,
        "settle_writes": client.write_units[TABLE] - before,
        "settle_reads": client.read_units[TABLE] - carried_reads,
        "minutes": settings.minutes,
    }


def describe(figures: Mapping[str, float]) -> Part:
    """What rollups take beside ingest."""
    writes, ids, rollups = (figures[name] for name in ("ingest_writes", "ids_writes", "rollup_writes"))
    share = rollups / (writes + ids)
    return Part(
        "What rollups take",
        "Minutes of steady load. Open hours of metrics that are published are recomputed each 30 seconds, and written "
        "small; all hours once more, or for the first time, when they are settled.",
        [
            Table(
                "units of DynamoDB",
                ["", "write units", "of ingest's", "read units"],
                [
                    ["ingest: partials and progress", f"{writes:,.0f}", "", "0"],
                    ["ingest: the id log", f"{ids:,.0f}", "", f"{figures['ids_reads']:,.0f}"],
                    ["rollups", f"{rollups:,.0f}", f"{share:.1%}", f"{figures['rollup_reads']:,.0f}"],
                    ["rollups, the id log left out", "", f"{rollups / writes:.1%}", ""],
                    [
                        f"settling an hour of these {figures['minutes']:.0f} minutes",
                        f"{figures['settle_writes']:,.0f}",
                        "",
                        f"{figures['settle_reads']:,.0f}",
                    ],
                ],
            )
        ],
        headlines=[Headline("write units of the rollups beside those of `ingest`, rollups each 30 s", f"{share:.2%}")],
    )
