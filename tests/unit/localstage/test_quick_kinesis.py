"""The quick PutRecords and GetRecords do what MiniStack's own do."""

import json
import time
from base64 import b64encode

import pytest
from ministack.services import kinesis

from localstage import quick_kinesis
from localstage.quick_json import QuickJson, quick_json_response
from localstage.quick_kinesis import expire_iterators, expire_records

STREAM = "highwater-test-events"


@pytest.fixture(params=["own", "quick"])
def module(request, monkeypatch):
    if request.param == "quick":
        for name in ("_put_records", "_ensure_base64", "_expire_records", "_expire_iterators", "json_response", "json"):
            monkeypatch.setattr(kinesis, name, getattr(kinesis, name))  # so that what is installed is undone
        kinesis.json, kinesis.json_response = QuickJson, quick_json_response
        quick_kinesis.install(kinesis)
    kinesis.reset()
    kinesis._create_stream({"StreamName": STREAM, "ShardCount": 2})
    yield kinesis
    kinesis.reset()


def put(module, *records):
    status, _, body = module._put_records({"StreamName": STREAM, "Records": list(records)})
    return status, json.loads(body)


def read(module, shard_id):
    where = {"StreamName": STREAM, "ShardId": shard_id, "ShardIteratorType": "TRIM_HORIZON"}
    iterator = json.loads(module._get_shard_iterator(where)[2])["ShardIterator"]
    return json.loads(module._get_records({"ShardIterator": iterator})[2])["Records"]


def record(key, data=b"data", **more):
    return {"PartitionKey": key, "Data": b64encode(data).decode(), **more}


def test_records_are_put_and_read_as_they_came(module):
    status, answer = put(
        module, record("a", b"\x00\xff"), record("grün"), record("d"), record("c", ExplicitHashKey="0")
    )
    assert (status, answer["FailedRecordCount"], answer["EncryptionType"]) == (200, 0, "NONE")
    assert [sorted(result) for result in answer["Records"]] == [["EncryptionType", "SequenceNumber", "ShardId"]] * 4
    read_back = {}
    for shard_id in ("shardId-000000000000", "shardId-000000000001"):
        for each in read(module, shard_id):
            read_back[each["SequenceNumber"]] = (shard_id, each["PartitionKey"], each["Data"])
            assert abs(each["ApproximateArrivalTimestamp"] - time.time()) < 5
    # By MD5 of the key, unless a hash key is given.
    assert [read_back[result["SequenceNumber"]] for result in answer["Records"]] == [
        ("shardId-000000000000", "a", "AP8="),
        ("shardId-000000000000", "grün", "ZGF0YQ=="),
        ("shardId-000000000001", "d", "ZGF0YQ=="),
        ("shardId-000000000000", "c", "ZGF0YQ=="),
    ]


@pytest.mark.parametrize(
    "records",
    [
        [record("k")] * 501,
        [record("k" * 257)],
        [record("k", b"x" * (1024 * 1024 + 1))],
        [record("k", b"x" * 1024 * 1024)] * 5 + [record("k")],
    ],
    ids=["too many", "key", "record", "request"],
)
def test_what_is_too_much_is_refused_and_nothing_of_it_put(module, records):
    status, answer = put(module, *records)
    assert (status, answer["__type"]) == (400, "ValidationException")
    assert read(module, "shardId-000000000000") == read(module, "shardId-000000000001") == []


def test_a_stream_that_is_not_there_is_not_found(module):
    status, _, body = module._put_records({"StreamName": "another", "Records": [record("k")]})
    assert (status, json.loads(body)["__type"]) == (400, "ResourceNotFoundException")


def test_records_past_the_retention_are_forgotten_and_no_others():
    now = time.time()
    shard = {"records": [{"ApproximateArrivalTimestamp": now - age} for age in (90_000, 86_500, 86_300, 0)]}
    young = {"records": [{"ApproximateArrivalTimestamp": now}]}
    expire_records({"RetentionPeriodHours": 24, "shards": {"a": shard, "b": young}})
    assert [round(now - each["ApproximateArrivalTimestamp"]) for each in shard["records"]] == [86_300, 0]
    assert len(young["records"]) == 1


def test_iterators_are_forgotten_when_they_are_old():
    iterators = {f"i-{age}": {"created_at": 1_000 - age} for age in (400, 301, 300, 0)}
    expire_iterators(iterators, 300, 1_000)
    assert list(iterators) == ["i-300", "i-0"]


@pytest.mark.parametrize("number", [0.5, 1 << 70])
def test_an_answer_is_json_whatever_numbers_are_in_it(number):
    status, headers, body = quick_json_response({"n": number, "s": "grün"}, 201)
    assert (status, headers) == (201, {"Content-Type": "application/x-amz-json-1.0"})
    assert json.loads(body) == {"n": number, "s": "grün"}
    assert "grün".encode() in body
