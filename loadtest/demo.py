"""The demo: 69 659 real orders through the whole system, and every total checked against the file.

Starts a local stage of four shards, sends the CDNOW purchases (half of them KPL-aggregated, some as gzip JSON Lines,
the rest plain) while 2 % of the batches are delivered twice, asks the HTTP API for the results, and compares them with
totals computed straight from the file. Any difference is listed and makes the exit code 1.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from chalicelib.aws.dead_letters_reader import DeadLettersReader
from loadtest import cdnow
from loadtest.cdnow import Purchase, Total
from loadtest.producer import Encoding, Producer, Receipt
from localstage import aws
from localstage.errors import StageError
from localstage.stage import LocalStage

EXACT, DIFFERENT, NOT_STARTED = 0, 1, 2
WAIT_SECONDS_MAX = 300
SHARDS = 4
BATCH_RECORDS = 250  # small, so that there are batches enough to deliver some of them twice
REDELIVER = 0.02
LATENESS = "36500d"  # these orders are decades late
GZIP_EVERY = 10  # among the orders that are not aggregated
JSON = msgspec.json.Decoder(float_hook=Decimal)  # the API's numbers are exact; so is what we read


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was counted, and what was not: from the file, or from the system."""

    total: Total
    by_month: Mapping[str, Total]
    best_customers: Sequence[tuple[str, Total]]
    dead_letters: Mapping[str, int]


class Api:
    """The stage's HTTP API, as an analyst uses it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **parameters: str) -> Any:
        """Ask for JSON."""
        query = f"?{urlencode(parameters)}" if parameters else ""
        with urlopen(f"{self._url}{path}{query}", timeout=60) as answer:  # noqa: S310  our own loopback address
            return JSON.decode(answer.read())

    def total(self, start: str, end: str) -> Total:
        """Orders and revenue of all windows in `[start, end)`."""
        rows = self.get("/v1/metrics/orders/windows", start=start, end=end, step="all", measures="count,revenue")[
            "data"
        ]
        return Total(rows[0]["count"], Decimal(rows[0]["revenue"])) if rows else Total(0, Decimal(0))

    def best_customers(self, start: str, end: str) -> list[tuple[str, Total]]:
        """The ten customers who spent most."""
        rows = self.get(
            "/v1/metrics/customers/windows",
            start=start,
            end=end,
            step="all",
            group_by="user_id",
            order_by="-spend,user_id",
            limit="10",
        )["data"]
        return [(row["user_id"], Total(row["orders"], Decimal(row["spend"]))) for row in rows]

    def checkpoints(self) -> dict[str, str | None]:
        """How far each shard has been committed: its last sequence number."""
        return {shard["shard_id"]: shard["checkpoint"] for shard in self.get("/v1/stream")["shards"]}


def expected(purchases: Sequence[Purchase]) -> Outcome:
    """What must come out, computed straight from the file."""
    refused = sum(not cdnow.is_valid_order(purchase) for purchase in purchases)
    return Outcome(
        cdnow.total(purchases),
        cdnow.total_by_month(purchases),
        cdnow.best_customers(purchases),
        {"invalid": refused} if refused else {},
    )


def counted(api: Api, dead_letters: Mapping[str, int], months: Sequence[str]) -> Outcome:
    """What the system answers over these months."""
    return Outcome(
        api.total(*days_of(months)),
        {month: api.total(*days_of([month])) for month in months},
        api.best_customers(*days_of(months)),
        dead_letters,
    )


def days_of(months: Sequence[str]) -> tuple[str, str]:
    """The first day of these months ("1997-01", in order), and the first after them."""
    year, number = map(int, months[-1].split("-"))
    return f"{months[0]}-01", f"{year + number // 12}-{number % 12 + 1:02d}-01"


def differences(expected: Outcome, counted: Outcome) -> list[str]:
    """Every way in which the two differ, a line each."""
    pairs = [
        ("all orders", expected.total, counted.total),
        *((month, total, counted.by_month.get(month)) for month, total in expected.by_month.items()),
        *(
            (f"best customer {place}", *pair)
            for place, pair in enumerate(zip(expected.best_customers, counted.best_customers, strict=False), 1)
        ),
        ("number of best customers", len(expected.best_customers), len(counted.best_customers)),
        ("dead letters", dict(expected.dead_letters), dict(counted.dead_letters)),
    ]
    return [f"{what}: expected {wanted}, counted {got}" for what, wanted, got in pairs if wanted != got]


def encoding_of(purchase: Purchase) -> Encoding:
    """Half of the orders aggregated, some compressed, the rest plain."""
    if purchase.row_number % 2:
        return Encoding.AGGREGATE
    return Encoding.GZIP if purchase.row_number % GZIP_EVERY == 0 else Encoding.PLAIN


def send(purchases: Sequence[Purchase], stage: LocalStage, progress: Progress) -> Receipt:
    """Put every purchase on the stream, in the order in which they were made."""
    bar = progress.add_task("sent", total=len(purchases))
    kinesis = aws.client("kinesis", stage.endpoint_url)
    with Producer(kinesis, f"highwater-{stage.stage}-events") as producer:
        for purchase in sorted(purchases, key=lambda purchase: purchase.date):
            producer.put(cdnow.order_placed(purchase), encoding_of(purchase))
            progress.advance(bar)
        return producer.flush()


def wait_until_committed(api: Api, receipt: Receipt, months: Sequence[str], wanted: int, progress: Progress) -> None:
    """Wait until every shard is committed up to the last sequence number that it accepted.

    Raises: TimeoutError when that takes over five minutes.
    """
    bar = progress.add_task("counted", total=wanted)
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        checkpoints = api.checkpoints()
        progress.update(bar, completed=api.total(*days_of(months)).orders)
        # A tick may have come in behind the last order.
        if all(int(checkpoints.get(shard) or 0) >= int(last) for shard, last in receipt.last_sequence_numbers.items()):
            return
        time.sleep(0.5)
    raise TimeoutError(f"not every shard was committed within {WAIT_SECONDS_MAX} s")


def show(console: Console, outcome: Outcome) -> None:
    """Print the results, as the API answered them."""
    months = Table("month", "orders", "revenue", title="Orders and revenue by month")
    customers = Table("customer", "orders", "spend", title="The ten best customers")
    reasons = Table("reason", "dead letters", title="Dead letters by reason")
    for table in (months, customers, reasons):
        for column in table.columns[1:]:
            column.justify = "right"
    for month, total in outcome.by_month.items():
        months.add_row(month, f"{total.orders:,}", f"{total.revenue}")
    months.add_section()
    months.add_row("all", f"{outcome.total.orders:,}", f"{outcome.total.revenue}")
    for customer, total in outcome.best_customers:
        customers.add_row(customer, f"{total.orders:,}", f"{total.revenue}")
    for reason, count in sorted(outcome.dead_letters.items()):
        reasons.add_row(reason, f"{count:,}")
    for table in (months, customers, reasons):
        console.print(table)


def run(purchases: Sequence[Purchase], console: Console) -> int:
    """Run the demo on these purchases. Returns: the exit code."""
    wanted = expected(purchases)
    months = list(wanted.by_month)
    with LocalStage(
        "demo",
        shards=SHARDS,
        aws_port=0,
        api_port=0,
        settings={"LATENESS": LATENESS},
        redeliver=REDELIVER,
        mapping={"batch_size": BATCH_RECORDS},
    ) as stage:
        console.print(
            f"A local stage of {SHARDS} shards runs: AWS at {stage.endpoint_url}, the API at {stage.api_url}",
            soft_wrap=True,
        )
        api = Api(stage.api_url)
        columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        started = time.monotonic()
        with Progress(*columns, console=console) as progress:
            receipt = send(purchases, stage, progress)
            wait_until_committed(api, receipt, months, wanted.total.orders, progress)
        seconds = time.monotonic() - started
        reader = DeadLettersReader(aws.client("s3", stage.endpoint_url), f"highwater-{stage.stage}-dead-letters")
        got = counted(api, Counter(letter.reason for letter in reader.read_all()), months)
        show(console, got)
        console.print(
            f"{receipt.events:,} orders in {receipt.records:,} Kinesis records were sent, counted and readable within "
            f"{seconds:.1f} s: {receipt.events / seconds:,.0f} orders a second on this machine.\n"
            f"{stage.redelivered_batches} batches were delivered a second time on purpose.",
            soft_wrap=True,
        )
    faults = differences(wanted, got)
    for fault in faults:
        console.print(f"[red]different[/] {fault}")
    verdict = "[bold red]NOT EXACT[/]" if faults else "[bold green]EXACT[/]"
    console.print(
        f"{verdict}  expected {wanted.total.orders:,} orders, revenue {wanted.total.revenue}, "
        f"{sum(wanted.dead_letters.values())} dead letters; counted {got.total.orders:,} orders, "
        f"revenue {got.total.revenue}, {sum(got.dead_letters.values())} dead letters (orders of 0.00)",
        soft_wrap=True,
    )
    return DIFFERENT if faults else EXACT


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--orders", type=int, metavar="N", help="only the first N orders of the file")
    options = parser.parse_args(argv)
    if options.orders is not None and options.orders < 1:
        parser.error("--orders is not above 0")
    console = Console(highlight=False)
    try:
        return run(list(cdnow.read_purchases())[: options.orders], console)
    except StageError as error:
        console.print(f"[red]the local stage could not start:[/] {error}")
        return NOT_STARTED
    except (TimeoutError, OSError) as error:
        console.print(f"[red]the demo could not be finished:[/] {error}")
        return DIFFERENT


if __name__ == "__main__":
    sys.exit(main())
