"""The packaged functions at work on an emulated AWS, each started from the package alone by AWS's own runtime client.

What a function is told (handler, variables, memory, time-out, layers) is read in the packaged template.
"""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chalicelib.access.grant import Grant
from chalicelib.access.tokens import IssuedToken, digest_of, token_of, write_tokens
from chalicelib.aggregates.windows import format_instant
from localstage.authorizer import TokenAuthorizer
from localstage.aws import client, environment_variables
from localstage.declarations import Api
from localstage.gateway import Gateway
from localstage.packaged import Packaged
from localstage.runtime import Function, InitError
from localstage.schedule import scheduled_event
from ops import resources
from ops.subscription import subscription
from ops.template import intrinsic_values, load, resolved
from tests.builders import (
    MINUTE_MS,
    aggregated,
    gzipped,
    json_line,
    json_lines,
    key_change,
    lambda_event,
    letter,
    letters_object,
    order,
    table_change,
    zstd,
)

PROJECT = Path(__file__).parents[2]
STAGE = "dev"  # of the package
STREAM, BUCKET, TABLE = (f"highwater-{STAGE}-{name}" for name in ("events", "dead-letters", "aggregates"))
TOKEN, UNKNOWN_TOKEN = token_of(bytes(32)), token_of(bytes(31) + b"1")
FAR_MS = 4_000_000_000_000
NOW_MS = int(time.time() * 1000)
NOW = format_instant(NOW_MS)
WINDOWS = "/v1/metrics/{metric}/windows"


class Lambda:
    """The packaged functions, each started when first asked for, and the AWS that they work on."""

    def __init__(self, packaged: Packaged, endpoint_url: str, logs: Path) -> None:
        self.packaged = packaged
        self.endpoint_url = endpoint_url
        there = resources.ensure(STAGE, endpoint_url=endpoint_url, outputs=intrinsic_values(load(PROJECT)))
        self._outputs = there.outputs
        self._logs = logs
        self._functions: dict[str, Function] = {}
        self._running = ExitStack()
        self.kinesis, self.s3 = client("kinesis", endpoint_url), client("s3", endpoint_url)
        self.shard = self.kinesis.list_shards(StreamName=STREAM)["Shards"][0]["ShardId"]
        client("secretsmanager", endpoint_url).put_secret_value(
            SecretId=f"highwater-{STAGE}-api-tokens",
            SecretString=write_tokens([IssuedToken(Grant("ada", ("*",), FAR_MS), digest_of(TOKEN))]),
        )

    def function(self, name: str) -> Function:
        if name not in self._functions:
            environment = environment_variables(self.endpoint_url)
            spec = self.packaged.spec(name, environment, lambda node: resolved(node, self._outputs))
            self._functions[name] = Function(spec, self._logs / f"{name}.log")
            self._running.callback(self._functions[name].close)
        return self._functions[name]

    def invoke(self, name: str, event: Mapping[str, Any]) -> Any:
        answer = self.function(name).invoke(json.dumps(event).encode())
        assert not answer.function_error, answer.payload
        return json.loads(answer.payload)

    def get(self, route: str, target: str, token: str | None = TOKEN) -> tuple[int, Any]:
        """Ask the API, by the event that API Gateway makes of a request, if the authorizer lets it in."""
        guard = TokenAuthorizer(self.function("Authorize"), "Authorization", ttl_seconds=0)
        api = Api(routes={route: ["GET"]}, guards={route: {"GET": "authorize"}})
        gateway = Gateway(api, self.function("APIHandler"), "api", guards={"authorize": guard})
        headers = {"authorization": [f"Bearer {token}"]} if token else {}
        response = gateway.answer("GET", target, headers, b"")
        return response.status, json.loads(response.body)

    def on_the_stream(self) -> list[bytes]:
        payloads: list[bytes] = []
        for shard in self.kinesis.list_shards(StreamName=STREAM)["Shards"]:
            at = self.kinesis.get_shard_iterator(
                StreamName=STREAM, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )
            payloads += [
                each["Data"] for each in self.kinesis.get_records(ShardIterator=at["ShardIterator"])["Records"]
            ]
        return payloads

    def close(self) -> None:
        self._running.close()


@pytest.fixture(scope="module")
def running(packaged: Packaged, endpoint_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    lambda_ = Lambda(packaged, endpoint_url, tmp_path_factory.mktemp("logs"))
    yield lambda_
    lambda_.close()


@pytest.fixture(scope="module")
def counted(running: Lambda) -> list[dict[str, Any]]:
    """Five orders, as producers put them: plain, several lines gzipped, zstd, aggregated by the KPL."""
    orders = [order(number, time=NOW, user_id=f"user-{number}", currency="EUR") for number in range(5)]
    plain, first, second, compressed, last = orders
    payloads = [json_line(plain), gzipped(json_lines(first, second)), zstd(json_line(compressed))]
    batch = lambda_event(
        [*payloads, aggregated(json_line(last))], shard=running.shard, stream=STREAM, arrived_at_ms=NOW_MS
    )
    assert running.invoke("Ingest", batch) == {"batchItemFailures": []}
    return orders


def test_every_function_starts_from_the_package_alone(running: Lambda) -> None:
    for name, properties in running.packaged.functions.items():
        started = running.function(name).cold_start()
        assert started.seconds < 10, f"{name}: Lambda's own limit"
        assert 0 < started.memory_bytes < properties["MemorySize"] * 1024 * 1024 / 2, name


def test_what_the_package_lacks_is_missed(packaged: Packaged, tmp_path: Path) -> None:
    shutil.copytree(packaged.code, tmp_path / "task", ignore=shutil.ignore_patterns("msgspec"))
    lacking = Packaged(packaged.template, tmp_path / "task", packaged.layers, packaged.client)
    function = Function(lacking.spec("Ingest", environment_variables("http://127.0.0.1:9")), tmp_path / "log")
    try:
        with pytest.raises(InitError, match="No module named 'msgspec'"):
            function.cold_start()
    finally:
        function.close()


def test_only_functions_that_sketch_have_the_layer(packaged: Packaged) -> None:
    with_layer = {name for name in packaged.functions if len(packaged.spec(name, {}).imports or ()) > 1}
    assert with_layer == {"APIHandler", "CheckRelease", "FanOut", "Ingest", "Rollup", "Tick"}


def test_ingest_counts_and_the_api_answers_whoever_is_let_in(running: Lambda, counted: list[dict[str, Any]]) -> None:
    minute_ms = NOW_MS // MINUTE_MS * MINUTE_MS
    question = f"?step=all&start={format_instant(minute_ms)}&end={format_instant(minute_ms + MINUTE_MS)}"
    status, answer = running.get(WINDOWS, f"/v1/metrics/orders/windows{question}&measures=count,revenue")
    assert (status, answer["data"][0]["count"]) == (200, len(counted))
    status, answer = running.get(WINDOWS, f"/v1/metrics/customers_distinct/windows{question}")
    assert (status, answer["data"][0]["customers"]) == (200, len(counted)), "by a sketch"
    assert running.get(WINDOWS, f"/v1/metrics/orders/windows{question}", token=None)[0] == 401
    assert running.get(WINDOWS, f"/v1/metrics/orders/windows{question}", token=token_of(bytes(31) + b"1"))[0] == 401


def keys_of(running: Lambda, metric: str) -> list[tuple[str, str]]:
    items = client("dynamodb", running.endpoint_url).scan(TableName=TABLE)["Items"]
    return [(each["pk"]["S"], each["sk"]["S"]) for each in items if each["pk"]["S"].startswith(f"{metric}#")]


@pytest.mark.usefixtures("counted")
def test_rollup_keeps_hours_and_fan_out_tells_subscribers(running: Lambda) -> None:
    minutes = keys_of(running, "orders")
    changes = {"Records": [key_change(*key, str(number)) for number, key in enumerate(minutes, 1)]}
    assert running.invoke("Rollup", changes) == {"batchItemFailures": []}
    assert [pk for pk, sk in keys_of(running, "orders") if "#1h#" in pk and sk.endswith("#")]
    sns, sqs = (client(name, running.endpoint_url) for name in ("sns", "sqs"))
    with subscription(sns, sqs, STAGE) as messages:
        assert running.invoke("FanOut", changes) == {"batchItemFailures": []}
        told = [json.loads(message) for message in messages.receive()]
    assert ("window", "orders") in {(each["kind"], each["metric"]) for each in told}


def test_capture_puts_changes_on_the_stream(running: Lambda) -> None:
    change = table_change(
        None, {"order_id": "order-captured", "status": "open", "amount": 5}, created_at=NOW_MS // 1000
    )
    assert running.invoke("Capture", {"Records": [change]}) == {"batchItemFailures": []}
    assert any(b"order-captured" in payload for payload in running.on_the_stream())


def test_tick_puts_a_record_on_every_shard(running: Lambda) -> None:
    before = len(running.on_the_stream())
    told = running.invoke("Tick", scheduled_event("Tick", datetime.now(UTC)))
    shards = len(running.kinesis.list_shards(StreamName=STREAM)["Shards"])
    assert told == {"shards": shards, "failed": 0}
    assert len(running.on_the_stream()) == before + shards


def test_redrive_puts_what_is_mended_back_on_the_stream(running: Lambda) -> None:
    key = f"dead-letters/{STREAM}/2026-11-24/{running.shard}/7.jsonl.gz"
    mended = json_line(order(99, time=NOW) | {"id": "mended"})
    running.s3.put_object(Bucket=BUCKET, Key=key, Body=letters_object(letter(mended)))
    message = {
        "messageId": "1",
        "receiptHandle": "1",
        "body": json.dumps({"key": key}),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": f"arn:aws:sqs:us-east-1:000000000000:highwater-{STAGE}-redrive",
        "awsRegion": "us-east-1",
    }
    assert running.invoke("Redrive", {"Records": [message]}) == {"batchItemFailures": []}
    assert any(b'"mended"' in payload for payload in running.on_the_stream())
    assert key not in {each["Key"] for each in running.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}
