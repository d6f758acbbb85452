"""The producer against an emulated Kinesis: what was put is what GetRecords gives back."""

import base64
import gzip
from collections import defaultdict
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
import zstandard
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

from loadtest.cdnow import order_placed, read_purchases
from loadtest.producer import Encoding, Producer, to_wire
from loadtest.producer.__main__ import main
from localstage import aws

SHARDS = 3
ORDERS = 4_000


@pytest.fixture
def client(endpoint_url: str) -> Any:
    return aws.client("kinesis", endpoint_url)


@pytest.fixture
def stream(client: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"highwater-{request.function.__name__[:100]}-events"
    client.create_stream(StreamName=name, ShardCount=SHARDS)
    client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    yield name
    client.delete_stream(StreamName=name)


def records_of(client: Any, stream: str) -> dict[str, list[dict[str, Any]]]:
    """Every record on the stream, by shard."""
    records: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        shard_id = shard["ShardId"]
        iterator = client.get_shard_iterator(StreamName=stream, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON")
        position = iterator["ShardIterator"]
        while (page := client.get_records(ShardIterator=position, Limit=10_000))["Records"]:
            records[shard_id] += page["Records"]
            position = page["NextShardIterator"]
    return records


def lines_in(record: dict[str, Any]) -> list[bytes]:
    lines: list[bytes] = []
    for user_record in iter_deaggregate_records([record], data_format="Boto3"):
        data = user_record["kinesis"]["data"]
        if user_record["kinesis"].get("aggregated"):
            data = base64.b64decode(data)
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
        elif data.startswith(b"\x28\xb5\x2f\xfd"):
            data = zstandard.decompress(data)
        lines += data.split(b"\n")
    return lines


def test_orders_in_mixed_encodings_come_back_exactly(client: Any, stream: str) -> None:
    orders = [order_placed(purchase) for purchase in islice(read_purchases(), ORDERS)]
    with Producer(client, stream) as producer:
        for order, encoding in zip(orders, cycle(Encoding), strict=False):
            producer.put(order, encoding)

    records = records_of(client, stream)
    assert len(records) == SHARDS
    everything = [record for shard_records in records.values() for record in shard_records]
    assert sorted(line for record in everything for line in lines_in(record)) == sorted(map(to_wire, orders))

    receipt = producer.receipt
    assert (receipt.events, receipt.records, receipt.retries) == (ORDERS, len(everything), 0)
    assert receipt.last_sequence_numbers == {
        shard_id: shard_records[-1]["SequenceNumber"] for shard_id, shard_records in records.items()
    }


def test_the_command_puts_a_file_on_a_stages_stream(
    client: Any, stream: str, endpoint_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "orders.jsonl.gz"
    lines = [to_wire(order_placed(purchase)) for purchase in islice(read_purchases(), 100)]
    file.write_bytes(gzip.compress(b"\n".join(lines)))
    assert main(["--stage", "local", "--stream", stream, "--endpoint-url", endpoint_url, "--aggregate", str(file)]) == 0
    records = [record for shard_records in records_of(client, stream).values() for record in shard_records]
    assert len(records) <= SHARDS
    assert sorted(line for record in records for line in lines_in(record)) == sorted(lines)


def test_an_endpoint_where_nothing_answers_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "empty.jsonl"
    file.touch()
    assert main(["--stage", "local", "--endpoint-url", "http://127.0.0.1:1", str(file)]) == 2
    assert capsys.readouterr().err == "loadtest.producer: cannot send: nothing answers at http://127.0.0.1:1\n"
