"""An alert on its whole way: from an order to the subscriber, by a threshold that is set in SSM while the stage runs.

Real here: `app.ingest` and `app.fan_out` in Lambda's runtime client, behind their mappings; AWS is MiniStack.
"""

import time
from decimal import Decimal
from pathlib import Path

import orjson

from chalicelib.aggregates.windows import format_instant, window_start
from localstage import LocalStage
from localstage.aws import client
from ops.subscription import subscription
from tests.builders import MINUTE_MS, json_line, order
from tests.permissions.recording import Recording

PATIENCE_SECONDS = 20  # on a busy machine; it takes some four
STAGE = "alerts"


def put(kinesis, *events):
    records = [{"Data": json_line(event), "PartitionKey": event["id"]} for event in events]
    assert not kinesis.put_records(StreamName=f"highwater-{STAGE}-events", Records=records)["FailedRecordCount"]


def test_revenue_above_the_threshold_set_in_ssm_is_told_once_while_its_window_goes_on(
    tmp_path: Path, recording: Recording
):
    with LocalStage(STAGE, shards=2, aws_port=0, api_port=0, settings=recording.settings, state_dir=tmp_path) as stage:
        kinesis, ssm, sns, sqs = (client(name, stage.endpoint_url) for name in ("kinesis", "ssm", "sns", "sqs"))
        ssm.put_parameter(Name=f"/highwater/{STAGE}/alerts/much_revenue/threshold", Value="99.5", Type="String")
        start_ms = window_start(int(time.time() * 1000), MINUTE_MS)
        now = format_instant(start_ms)
        with subscription(sns, sqs, STAGE, {"kind": ["alert"]}) as alerts:
            put(kinesis, order(1, time=now, amount=60), order(2, time=now, amount=99, currency="EUR"))
            put(kinesis, order(3, time=now, amount=40.25))
            deadline, told = time.monotonic() + PATIENCE_SECONDS, []
            while not told and time.monotonic() < deadline:
                told += alerts.receive(2)
            put(kinesis, *(order(number, time=now, amount=10) for number in range(4, 8)))  # and it changes further
            told += alerts.receive(5)
    (message,) = map(orjson.loads, told)
    ((row,), window) = message["rows"], (message["window_start"], message["window_end"])
    assert (message["alert"], message["metric"], message["measure"]) == ("much_revenue", "orders", "revenue")
    assert (message["rule"], message["threshold"], row) == ("above", 99.5, {"currency": "USD", "revenue": 100.25})
    assert window == (now, format_instant(start_ms + MINUTE_MS))
    assert b'"revenue":' + str(Decimal("100.25")).encode() in told[0].encode()
