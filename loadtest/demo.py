"""The demo: 69 659 real orders through the whole system, and every total checked against the file.

Starts a local stage of four shards, sends the CDNOW purchases (half of them KPL-aggregated, some as gzip JSON Lines,
the rest plain), asks the HTTP API for the results, and compares them with totals computed straight from the file. Any
difference is listed and makes the exit code 1.

Meanwhile it does to the stage what befalls a real one: 2 % of the batches are delivered twice, 1 % of the orders are
sent twice under the same id, and a process of `ingest` is killed in the middle of a batch. What follows the counts is
held against the truth as well: results and alerts that a subscriber gets through SNS and SQS, and the changes of the
`orders` table (`loadtest.downstream`). Totals that are exact though one of these did not happen prove less: the whole
file's demo then ends with 3.
"""

import argparse
import logging
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import msgspec
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from chalicelib.aws.dead_letters_reader import DeadLettersReader
from loadtest import cdnow
from loadtest.cdnow import Purchase, Total
from loadtest.downstream import watching
from loadtest.producer import Encoding, Producer, Receipt
from localstage import aws
from localstage.errors import StageError
from localstage.stage import LocalStage

EXACT, DIFFERENT, NOT_STARTED, UNPROVED = 0, 1, 2, 3
WAIT_SECONDS_MAX = 300
SHARDS = 4
CONSUMER = "ingest"
BATCH_RECORDS = 250  # small, so that there are batches enough to deliver some of them twice
REDELIVER = 0.02
LATENESS = "36500d"  # these orders are decades late
GZIP_EVERY = 10  # among the orders that are not aggregated
REPEAT_EVERY = 101  # nearly 1 %; a prime, so that the orders sent twice are of every encoding
REPEAT_LATER_BY = 5_000  # orders: in another batch by far, and within seconds of a horizon of 15 minutes
ANOTHER_ENCODING = {
    Encoding.AGGREGATE: Encoding.GZIP,
    Encoding.GZIP: Encoding.PLAIN,
    Encoding.PLAIN: Encoding.AGGREGATE,
}
ROLLUP_WINDOW_MS = 2_000  # app.py says half a minute, which nobody waits for here
KILL_AFTER = 0.4  # of the orders are counted: every process is warm, and much is yet to come
KILL_PATIENCE_SECONDS = 2
JSON = msgspec.json.Decoder(float_hook=Decimal)  # the API's numbers are exact; so is what we read


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was counted, and what was not: from the file, or from the system."""

    total: Total
    by_month: Mapping[str, Total]
    best_customers: Sequence[tuple[str, Total]]
    dead_letters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Faults:
    """What was done to the stage on purpose, and truly happened; duplicates, as the functions' logs report them."""

    batches_delivered_twice: int
    orders_sent_twice: int
    workers_killed: int
    duplicates_reported: int

    @property
    def not_shown(self) -> list[str]:
        """What did not happen, so that the totals say nothing about it."""
        happened = {
            "no batch was delivered twice": self.batches_delivered_twice,
            "no order was sent twice": self.orders_sent_twice,
            "no worker was killed": self.workers_killed,
        }
        return [what for what, count in happened.items() if not count]


@dataclass(frozen=True, slots=True)
class Sending:
    """One order on its way: the same order may be sent again, with the same bytes."""

    purchase: Purchase
    encoding: Encoding


class _Report(msgspec.Struct):
    """A line of a function's log; of those that report no batch both are missing."""

    message: str = ""
    duplicates: int = 0


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

    def orders_by_status(self) -> dict[str, Total]:
        """How many orders there are of each status, counted of the changes of the `orders` table."""
        rows = self.get("/v1/metrics/order_status/windows", start="1997-01-01", step="all", group_by="status")["data"]
        return {row["status"]: Total(row["orders"], Decimal(row["amount"])) for row in rows}

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


def is_sent_twice(purchase: Purchase) -> bool:
    """Whether the stream gets this order two times. Valid ones only: the id of a dead letter is free to come again."""
    return purchase.row_number % REPEAT_EVERY == 0 and cdnow.is_valid_order(purchase)


def is_repeated_at_once(purchase: Purchase) -> bool:
    """Whether an order that is sent twice is so at once, as it was; the others come later, in another encoding."""
    return purchase.row_number // (2 * REPEAT_EVERY) % 2 == 0  # two by two: an odd row, an even one


def sendings(purchases: Sequence[Purchase]) -> Iterator[Sending]:
    """All that is to be sent: every purchase in the order in which they were made, and the repeats among them."""
    later: deque[tuple[int, Sending]] = deque()
    for place, purchase in enumerate(sorted(purchases, key=lambda purchase: purchase.date)):
        if later and later[0][0] <= place:
            yield later.popleft()[1]
        first = Sending(purchase, encoding_of(purchase))
        yield first
        if is_sent_twice(purchase):
            if is_repeated_at_once(purchase):
                yield first
            else:
                later.append((place + REPEAT_LATER_BY, Sending(purchase, ANOTHER_ENCODING[first.encoding])))
    for _, sending in later:
        yield sending


def send(to_send: Sequence[Sending], stage: LocalStage, progress: Progress) -> Receipt:
    """Put all of it on the stream."""
    bar = progress.add_task("sent", total=len(to_send))
    kinesis = aws.client("kinesis", stage.endpoint_url)
    with Producer(kinesis, f"highwater-{stage.stage}-events") as producer:
        for sending in to_send:
            producer.put(cdnow.order_placed(sending.purchase), sending.encoding)
            progress.advance(bar)
        return producer.flush()


def wait_until_committed(
    api: Api,
    receipt: Receipt,
    months: Sequence[str],
    wanted: int,
    progress: Progress,
    *,
    kill_worker: Callable[[], bool],
) -> int:
    """Wait until every shard is committed up to the last sequence number that it accepted; kill a worker meanwhile.

    Returns: how many workers were killed in the middle of a batch: one, or none when all was counted before.
    Raises:  TimeoutError when it takes over five minutes.
    """
    bar = progress.add_task("counted", total=wanted)
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    killed = 0
    while time.monotonic() < deadline:
        checkpoints = api.checkpoints()
        orders = api.total(*days_of(months)).orders
        progress.update(bar, completed=orders)
        # A tick may have come in behind the last order.
        if all(int(checkpoints.get(shard) or 0) >= int(last) for shard, last in receipt.last_sequence_numbers.items()):
            return killed
        if not killed and orders >= wanted * KILL_AFTER:
            killed = int(kill_worker())
            if killed:
                progress.console.print(f"Killed a process of {CONSUMER} (SIGKILL) in mid-batch: the batch comes again.")
        time.sleep(0.5)
    raise TimeoutError(f"not every shard was committed within {WAIT_SECONDS_MAX} s")


def duplicates_reported(log: Iterable[bytes]) -> int:
    """How many duplicates the function's log says were dropped: a batch that was delivered again says so again."""
    return sum(_read_report(line).duplicates for line in log)


def _read_report(line: bytes) -> _Report:
    try:
        return msgspec.json.decode(line, type=_Report)
    except msgspec.DecodeError:  # what is not a structured log: a line of a traceback, say
        return _Report()


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


def show_faults(console: Console, faults: Faults) -> None:
    """Print what was done to the stage meanwhile."""
    console.print(
        f"Meanwhile, on purpose:\n"
        f"  batches delivered a second time: {faults.batches_delivered_twice}\n"
        f"  orders sent twice under the same id: {faults.orders_sent_twice} (the log of {CONSUMER} reports "
        f"{faults.duplicates_reported} duplicates dropped; a batch that comes again reports its own again)\n"
        f"  processes of {CONSUMER} killed (SIGKILL) in the middle of a batch: {faults.workers_killed}",
        soft_wrap=True,
    )


def run(purchases: Sequence[Purchase], console: Console, *, faults_needed: bool = True) -> int:
    """Run the demo on these purchases.

    Returns: the exit code; UNPROVED when all is exact, and a fault that was needed has not happened.
    """
    to_send = list(sendings(purchases))
    wanted = expected(purchases)
    months = list(wanted.by_month)
    with (
        LocalStage(
            "demo",
            shards=SHARDS,
            aws_port=0,
            api_port=0,
            settings={"LATENESS": LATENESS},
            redeliver=REDELIVER,
            mapping={CONSUMER: {"batch_size": BATCH_RECORDS}, "rollup": {"batching_window_ms": ROLLUP_WINDOW_MS}},
        ) as stage,
        watching(stage, purchases) as downstream,
    ):
        console.print(
            f"A local stage of {SHARDS} shards runs: AWS at {stage.endpoint_url}, the API at {stage.api_url}",
            soft_wrap=True,
        )
        api = Api(stage.api_url)
        columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        started = time.monotonic()
        with Progress(*columns, console=console) as progress:
            receipt = send(to_send, stage, progress)
            killed = wait_until_committed(
                api,
                receipt,
                months,
                wanted.total.orders,
                progress,
                kill_worker=lambda: stage.kill_worker(CONSUMER, KILL_PATIENCE_SECONDS),
            )
        seconds = time.monotonic() - started
        downstream.change_rows()
        reader = DeadLettersReader(aws.client("s3", stage.endpoint_url), f"highwater-{stage.stage}-dead-letters")
        got = counted(api, Counter(letter.reason for letter in reader.read_all()), months)
        show(console, got)
        with console.status("results, alerts and captured changes are on their way"):
            different = downstream.wait(api.orders_by_status)
        downstream.show(console, api.orders_by_status())
        with stage.log_path(CONSUMER).open("rb") as log:
            duplicates = duplicates_reported(log)
        faults = Faults(stage.redelivered_batches, receipt.events - len(purchases), killed, duplicates)
    console.print(
        f"{len(purchases):,} orders in {receipt.records:,} Kinesis records were sent, counted and readable within "
        f"{seconds:.1f} s: {len(purchases) / seconds:,.0f} orders a second on this machine.",
        soft_wrap=True,
    )
    show_faults(console, faults)
    different += differences(wanted, got)
    if faults.duplicates_reported < faults.orders_sent_twice:
        different.append(
            f"duplicates dropped: expected {faults.orders_sent_twice} or more, reported {faults.duplicates_reported}"
        )
    for difference in different:
        console.print(f"[red]different[/] {difference}")
    if faults.not_shown:
        console.print(
            f"[yellow]not shown[/] {', '.join(faults.not_shown)}: all was counted before, or too few orders",
            soft_wrap=True,
        )
    if not different:
        equal = "results and the file by day, alerts and the days above, order_status and a scan of the table"
        console.print(f"[green]Equal:[/] {equal}", soft_wrap=True)
    verdict = "[bold red]NOT EXACT[/]" if different else "[bold green]EXACT[/]"
    console.print(
        f"{verdict}  expected {wanted.total.orders:,} orders, revenue {wanted.total.revenue}, "
        f"{sum(wanted.dead_letters.values())} dead letters; counted {got.total.orders:,} orders, "
        f"revenue {got.total.revenue}, {sum(got.dead_letters.values())} dead letters (orders of 0.00)",
        soft_wrap=True,
    )
    if different:
        return DIFFERENT
    return UNPROVED if faults_needed and faults.not_shown else EXACT


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.demo", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--orders", type=int, metavar="N", help="only the first N orders of the file, however few faults that shows"
    )
    options = parser.parse_args(argv)
    if options.orders is not None and options.orders < 1:
        parser.error("--orders is not above 0")
    console = Console(highlight=False)
    logging.basicConfig(format="%(message)s", handlers=[RichHandler(console=console, show_time=False, show_path=False)])
    purchases = list(cdnow.read_purchases())[: options.orders]
    try:
        return run(purchases, console, faults_needed=options.orders is None)
    except StageError as error:
        console.print(f"[red]the local stage could not start:[/] {error}")
        return NOT_STARTED
    except (TimeoutError, OSError) as error:
        console.print(f"[red]the demo could not be finished:[/] {error}")
        return DIFFERENT


if __name__ == "__main__":
    sys.exit(main())
