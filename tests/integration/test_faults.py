"""Each fault of a load test happens to a local stage while orders flow, and the totals are exact nevertheless."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from chalicelib.aggregates.windows import format_instant, parse_instant
from loadtest.cdnow import Total
from loadtest.demo import Api
from loadtest.faults import FaultsUnderLoad
from loadtest.producer import Encoding, Producer
from loadtest.profile import Fault, FaultKind
from localstage import LocalStage
from localstage.aws import client
from tests.waiting import wait_until

ORDERS_A_ROUND = 40
PATIENCE_SECONDS = 30


class Orders(threading.Thread):
    """Puts orders on the stream, one round after the other, until stopped."""

    def __init__(self, stage: LocalStage) -> None:
        super().__init__(daemon=True)
        self.put = 0
        self.stopping = threading.Event()
        self._kinesis = client("kinesis", stage.endpoint_url)
        self._stream = f"highwater-{stage.stage}-events"

    def run(self) -> None:
        with Producer(self._kinesis, self._stream) as producer:
            while not self.stopping.wait(0.05):
                for _ in range(ORDERS_A_ROUND):
                    producer.put(self._next(), Encoding.AGGREGATE if self.put % 3 else Encoding.PLAIN)
                producer.flush()

    def _next(self) -> dict[str, object]:
        self.put += 1
        return {
            "specversion": "1.0",
            "id": f"order-{self.put}",
            "source": "/test",
            "type": "order.placed",
            "time": format_instant(int(time.time() * 1000)),
            "data": {"order_id": f"order-{self.put}", "user_id": f"customer-{self.put % 50}", "amount": 1},
        }


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStage]:
    state_dir = tmp_path_factory.mktemp("stage")
    with LocalStage("faults", shards=2, aws_port=0, api_port=0, state_dir=state_dir) as running:
        yield running


def test_totals_are_exact_whatever_befalls_the_stage_under_load(stage: LocalStage) -> None:
    orders = Orders(stage)
    orders.start()
    today = datetime.now(UTC).date()
    api, window = Api(stage.api_url), (f"{today - timedelta(days=1)}", f"{today + timedelta(days=2)}")
    wait_until(lambda: api.total(*window).orders > 0, PATIENCE_SECONDS)
    faults = [
        Fault(FaultKind.KILL_WORKER, at_seconds=0),
        Fault(FaultKind.THROTTLE_DYNAMODB, at_seconds=0.5, seconds=3, share=0.3),
        Fault(FaultKind.DELAY_SNS, at_seconds=0.5, delay_ms=300),  # until the load ends
        Fault(FaultKind.EXPIRE_ITERATORS, at_seconds=4),
        Fault(FaultKind.REPLAY, at_seconds=5),
        Fault(FaultKind.KILL_WORKER, at_seconds=3_600),
    ]
    with FaultsUnderLoad(stage, faults, started_ms=int(time.time() * 1000)) as caused:
        wait_until(lambda: len(caused.done) == len(faults) - 2 and stage.faults.publishes_delayed, PATIENCE_SECONDS)
    orders.stopping.set()
    orders.join()
    wait_until(lambda: api.total(*window).orders >= orders.put, PATIENCE_SECONDS)
    assert api.total(*window) == Total(orders.put, orders.put)
    assert sorted((done.kind, done.happened) for done in caused.done) == [
        ("delay-sns", True),
        ("expire-iterators", True),
        ("kill-worker", False),
        ("kill-worker", True),
        ("replay", True),
        ("throttle-dynamodb", True),
    ], caused.done
    assert stage.faults.throttle_dynamodb == stage.faults.delay_sns_ms == 0


def test_answers_are_complete_without_waiting_for_the_minute(stage: LocalStage) -> None:
    before_ms = int(time.time()) * 1000  # the emulator stamps arrivals by the second
    api = Api(stage.api_url)
    stage.run_schedules()
    today = f"{datetime.now(UTC).date()}"

    def is_complete() -> bool:
        until = api.get("/v1/metrics/orders/windows", start=today)["complete_until"]
        return until is not None and parse_instant(until) >= before_ms

    wait_until(is_complete, PATIENCE_SECONDS)


def test_usage_tells_what_the_orders_took(stage: LocalStage) -> None:
    usage = stage.usage()
    assert usage["requests"]["kinesis.PutRecords"] > 0
    assert usage["units"]["kinesis.put_payload_units"] > 0
    assert usage["units"]["dynamodb.write_units"] == sum(of["write_units"] for of in usage["by_table"].values())
    assert usage["by_table"]["highwater-faults-aggregates"]["write_units"] > 0
    assert usage["units"]["sns.publishes"] > 0
    assert usage["units"]["lambda.requests"] > 0
