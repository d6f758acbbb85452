"""What the rollups write and read, beside what ingest does: minutes of steady load, the rollups once in 30 seconds.

    python -m benchmarks.rollup_units

Runs the real ingest and the real rollup against an emulated DynamoDB: several shards, a batch a second each, the
shipped metrics. The changes of the table are carried on in batches, as the event source mapping would cut them; each
change of an hour comes with the next batch. Units by the sizes of the items (`benchmarks.capacity`).
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.capacity import CountingClient
from benchmarks.ingest_cpu import EVENTS_PER_AGGREGATE, make_ingest
from benchmarks.orders import ARRIVED_AT_MS, aggregated, lambda_event, orders
from chalicelib import definitions
from chalicelib.aggregates.metric import Catalog
from chalicelib.aws.aggregates_keys import window_of
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.consumers.ports import StoredChange
from chalicelib.consumers.rollup import RollUp
from localstage import aws
from localstage.emulator import Emulator
from ops.resources import ensure

STAGE = "bench"
TABLE = f"highwater-{STAGE}-aggregates"
DAY_MS = 86_400_000
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


class Measured(NamedTuple):
    """Units: write and read units of DynamoDB."""

    ingest_writes: float
    ids_writes: float
    ids_reads: float
    rollup_writes: float
    rollup_reads: float


def measure(options: argparse.Namespace, endpoint_url: str) -> Measured:
    """Run the minutes."""
    ensure(STAGE, endpoint_url=endpoint_url, session=aws.session(), shards=1)
    client = ChangesClient(aws.client("dynamodb", endpoint_url))
    shard_ids = [f"shardId-{shard:012d}" for shard in range(options.shards)]
    ingests = {shard_id: make_ingest(client, STAGE, shard_id=shard_id) for shard_id in shard_ids}
    table = AggregatesTable(client, TABLE, CATALOG, DAY_MS)  # type: ignore[arg-type]
    roll_up = RollUp(CATALOG, DAY_MS, table, table)
    rollup_units, ingest_units = 0.0, 0.0
    events = options.events_per_second // options.shards
    for second in track(range(options.minutes * 60), "measuring", transient=True):
        before, arrived_at_ms = client.write_units[TABLE], ARRIVED_AT_MS + second * 1_000
        for shard, (shard_id, ingest) in enumerate(ingests.items()):
            made = orders(
                events,
                customers=options.customers,
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
        if second % options.window_seconds == options.window_seconds - 1:
            rollup_units += roll_up(client.take_changes(), lambda: 60_000).write_units
    ids = f"highwater-{STAGE}-ids"
    return Measured(
        ingest_units, client.write_units[ids], client.read_units[ids], rollup_units, client.read_units[TABLE]
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description="write units of the rollups beside those of ingest")
    arguments.add_argument("--minutes", type=int, default=10)
    arguments.add_argument("--shards", type=int, default=4)
    arguments.add_argument("--events-per-second", type=int, default=1_000)
    arguments.add_argument("--customers", type=int, default=1_000)
    arguments.add_argument("--window-seconds", type=int, default=30)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch, Emulator(0, Path(scratch) / "aws.log") as emulator:
        measured = measure(options, emulator.endpoint_url)
    table = Table(
        "",
        "write units",
        "of ingest's",
        "read units",
        title=f"{options.minutes} minutes of {options.events_per_second:,} events/s on {options.shards} shards, "
        f"rollups each {options.window_seconds} s",
    )
    writes, rollups = measured.ingest_writes, measured.rollup_writes
    table.add_row("ingest: partials and progress", f"{writes:,.0f}", "", "0")
    table.add_row("ingest: the id log", f"{measured.ids_writes:,.0f}", "", f"{measured.ids_reads:,.0f}")
    share = f"{rollups / (writes + measured.ids_writes):.1%}"
    table.add_row("rollups", f"{rollups:,.0f}", share, f"{measured.rollup_reads:,.0f}")
    table.add_row("rollups, the id log left out", "", f"{rollups / writes:.1%}", "")
    Console().print(table)


if __name__ == "__main__":
    main()
