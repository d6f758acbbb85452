"""P7 for real: a metric is added to a stage that has counted, and its stream is read again from the beginning.

    stream    orders, repeats, poison, ticks │ added: order_types │ more orders
    orders    counted ───────────────────────│ do not move ───────│ counted ──▶
    order_types                              │ filled by replay ──│ counted ──▶

Real here: `app.ingest` in Lambda's runtime client, the event source mapping with the options that are declared for it
(batches smaller, some delivered twice), the queries over HTTP. Emulated: AWS, by MiniStack.
"""

import json
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from chalicelib.aggregates.windows import format_instant, parse_instant
from chalicelib.aws.events_stream import EventsStream
from chalicelib.consumers.tick import Tick
from localstage import LocalStage, StageError
from localstage.aws import client
from tests.builders import MINUTE_MS, json_line, order
from tests.permissions.recording import Recording

PROJECT_DIR = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 20  # for one step on a busy machine; each takes some seconds
CALL_MS = 10_000
ORDER_TYPES = ("standard", "express", "gift")
ADDED = """METRICS = (
    Metric(
        name="order_types",
        event_type="order.placed",
        by=("order_type",),
        measures={"count": Count(), "revenue": Sum("amount")},
    ),"""

Totals = dict[str, tuple[int, Decimal]]


def now_ms() -> int:
    return int(time.time() * 1000)


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not in {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.1)


class Shop:
    """A stage of a copy of the project, and what it has been sent."""

    def __init__(self, stage: LocalStage) -> None:
        self.stage = stage
        self.definitions = stage.project_dir / "chalicelib" / "definitions.py"
        self._name = f"highwater-{stage.stage}"
        self._began_ms = now_ms()
        self._kinesis = client("kinesis", stage.endpoint_url)
        self._dynamodb = client("dynamodb", stage.endpoint_url)
        self._s3 = client("s3", stage.endpoint_url)
        self.before = self.orders(range(1, 301))
        self.settled_ms = 0  # all that was put before it is committed
        self._tick = Tick(EventsStream(self._kinesis, f"{self._name}-events"))

    # ---- what is sent

    def orders(self, numbers: range) -> list[dict[str, Any]]:
        """Orders of the last two hours; one in fifty is large, so that a handler runs."""
        return [
            order(
                number,
                time=format_instant(self._began_ms - number % 120 * MINUTE_MS),
                amount=6_000 if number % 50 == 0 else number % 90 + 0.25,
                user_id=f"user-{number % 30}",
                order_type=ORDER_TYPES[number % 3],
            )
            for number in numbers
        ]

    def put(self, *events: dict[str, Any] | bytes) -> None:
        """Put each as a record of its own, under its user's key: a repeat comes to the same shard."""
        for start in range(0, len(events), 500):
            records = [
                {"Data": event, "PartitionKey": "poison"}
                if isinstance(event, bytes)
                else {"Data": json_line(event), "PartitionKey": event["data"]["user_id"]}
                for event in events[start : start + 500]
            ]
            assert not self._kinesis.put_records(StreamName=f"{self._name}-events", Records=records)[
                "FailedRecordCount"
            ]

    def settle(self) -> None:
        """Wait until all that was put is committed, by what answers promise: `complete_until` behind a tick."""
        put_until_ms = (now_ms() // 1000 + 1) * 1000  # MiniStack stamps arrivals to the second, downwards
        time.sleep((put_until_ms - now_ms()) / 1000)
        report = self._tick(now_ms(), lambda: CALL_MS)
        assert (report.shards, report.failed) == (2, 0)
        wait_until(lambda: (self.complete_until_ms() or 0) >= put_until_ms, "complete until the tick")
        self.settled_ms = put_until_ms

    # ---- what has become of it

    def get(self, path: str, **parameters: str) -> Any:
        url = f"{self.stage.api_url}{path}?{urlencode(parameters)}"
        with urlopen(url, timeout=CALL_MS / 1000) as answer:  # noqa: S310  our own loopback address
            return json.loads(answer.read(), parse_float=Decimal)

    def complete_until_ms(self) -> int | None:
        instant = self.get("/v1/stream")["complete_until"]
        return parse_instant(instant) if instant else None

    def totals(self, metric: str) -> Totals:
        """Count and revenue by order type."""
        return self.answer(metric)[0]

    def answer(self, metric: str) -> tuple[Totals, int]:
        """The same, and until when it claims to be complete; 0 when it does not know."""
        answer = self.get(
            f"/v1/metrics/{metric}/windows",
            start=format_instant((self._began_ms - 180 * MINUTE_MS) // MINUTE_MS * MINUTE_MS),
            end=format_instant((self._began_ms + 60 * MINUTE_MS) // MINUTE_MS * MINUTE_MS),
            step="all",
            group_by="order_type",
            measures="count,revenue",
        )
        totals = {row["order_type"]: (row["count"], Decimal(row["revenue"])) for row in answer["data"]}
        return totals, parse_instant(answer["complete_until"]) if answer["complete_until"] else 0

    def watch(self, metric: str, expected: Totals) -> None:
        """Wait until an answer claims all that has been put; from the first such answer on it has to be there."""
        claims = [0]

        def is_complete() -> bool:
            totals, complete_until_ms = self.answer(metric)
            assert complete_until_ms >= claims[-1], "a claim went back"
            claims.append(complete_until_ms)
            assert complete_until_ms < self.settled_ms or totals == expected
            return complete_until_ms >= self.settled_ms

        wait_until(is_complete, f"{metric} is complete")

    def partials(self, *metrics: str) -> list[dict[str, Any]]:
        """The items of these metrics, every attribute of them."""
        pages = self._dynamodb.get_paginator("scan").paginate(TableName=f"{self._name}-aggregates", ConsistentRead=True)
        items = [item for page in pages for item in page["Items"] if item["pk"]["S"].split("#")[0] in metrics]
        return sorted(items, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))

    def handled(self) -> list[dict[str, Any]]:
        """What the idempotency table remembers."""
        items = self._dynamodb.scan(TableName=f"{self._name}-idempotency")["Items"]
        return sorted(items, key=lambda item: item["id"]["S"])

    def dead_letters(self) -> dict[str, str]:
        """The dead letters' keys, with what tells whether their bytes are the same."""
        listed = self._s3.list_objects_v2(Bucket=f"{self._name}-dead-letters").get("Contents", [])
        return {each["Key"]: each["ETag"] for each in listed}

    def logged(self, message: str) -> list[dict[str, Any]]:
        """What ingest has logged since it was started."""
        lines = (self.stage.state_dir / f"highwater-{self.stage.stage}-ingest.log").read_text().splitlines()
        parsed = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in parsed if line.get("message") == message]


def totals_of(orders: list[dict[str, Any]]) -> Totals:
    """What must come out, computed straight from the orders."""
    counts: Counter[str] = Counter()
    revenue: defaultdict[str, Decimal] = defaultdict(Decimal)
    for each in orders:
        counts[each["data"]["order_type"]] += 1
        revenue[each["data"]["order_type"]] += Decimal(str(each["data"]["amount"]))
    return {order_type: (count, revenue[order_type]) for order_type, count in counts.items()}


@contextmanager
def shop(tmp_path: Path, recording: Recording) -> Iterator[Shop]:
    project = tmp_path / "project"
    for name in ("chalicelib", ".chalice"):
        shutil.copytree(PROJECT_DIR / name, project / name, ignore=shutil.ignore_patterns("__pycache__", "deployments"))
    shutil.copy(PROJECT_DIR / "app.py", project)
    with LocalStage(
        "replay",
        shards=2,
        aws_port=0,
        api_port=0,
        settings={"POWERTOOLS_LOG_LEVEL": "INFO", **recording.settings},
        redeliver=0.2,
        mapping={"ingest": {"batch_size": 40}},
        project_dir=project,
        state_dir=tmp_path / "state",
    ) as stage:
        running = Shop(stage)
        repeats = running.before[::7]
        conflict = running.before[10] | {"data": running.before[10]["data"] | {"amount": 1}}
        poison = [b"no JSON", json_line(order(901, amount=-1)), json_line(order(902) | {"type": "unknown"})]
        running.put(*running.before[:200], *poison, *repeats[:20], *running.before[200:], *repeats, conflict)
        running.settle()
        yield running


def test_a_metric_that_is_added_fills_from_the_past_and_nothing_else_moves(
    tmp_path: Path, recording: Recording
) -> None:
    with shop(tmp_path, recording) as running:
        expected = totals_of(running.before)
        assert running.totals("orders") == expected
        standing, handled, letters = running.partials("orders", "customers"), running.handled(), running.dead_letters()
        assert (len(handled), len(letters)) == (6, 4)

        text = running.definitions.read_text()
        running.definitions.write_text(text.replace("METRICS = (", ADDED, 1))
        running.stage.redeploy()
        assert running.answer("order_types") == ({}, 0), "of these metrics nothing is committed yet"
        assert running.totals("orders") == expected, "what was counted can be asked for meanwhile"

        running.stage.replay()
        running.watch("order_types", expected)
        running.settle()
        assert running.totals("order_types") == expected
        assert running.partials("orders", "customers") == standing
        assert running.handled() == handled
        assert running.dead_letters() == letters

        live = running.orders(range(401, 501))
        running.put(*live[:60], running.before[0], *live[60:], live[0])
        running.settle()
        both = totals_of(running.before + live)
        assert running.totals("orders") == running.totals("order_types") == both
        assert len(running.dead_letters()) == len(letters)
        assert not running.logged("batch committed in part")


def test_a_replay_by_itself_moves_nothing(tmp_path: Path, recording: Recording) -> None:
    with shop(tmp_path, recording) as running:
        names = ("orders", "customers")
        standing, handled, letters = running.partials(*names), running.handled(), running.dead_letters()
        complete_until_ms = running.complete_until_ms()
        running.stage.redeploy()
        running.stage.replay()
        assert running.complete_until_ms() >= complete_until_ms
        running.settle()
        assert sum(line["records"] for line in running.logged("batch committed")) > len(running.before)
        assert running.partials(*names) == standing
        assert running.handled() == handled
        assert running.dead_letters() == letters
        assert running.totals("orders") == totals_of(running.before)


def test_a_mistake_in_what_is_deployed_leaves_the_stage_as_it_was(tmp_path: Path, recording: Recording) -> None:
    with shop(tmp_path, recording) as running:
        text = running.definitions.read_text()
        running.definitions.write_text(text.replace('Sum("amount")', 'Sum("ammount")'))
        with pytest.raises(StageError, match="no field 'ammount' to measure"):
            running.stage.redeploy()
        live = running.orders(range(401, 411))
        running.put(*live)
        running.settle()
        assert running.totals("orders") == totals_of(running.before + live)
