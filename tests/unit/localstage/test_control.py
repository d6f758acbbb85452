"""What the emulated AWS counts and does on purpose, as AWS clients see it and as it is asked over HTTP."""

import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from urllib.error import HTTPError

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from benchmarks.capacity import CountingClient
from localstage import aws, control
from localstage.emulator import Emulator
from localstage.faults import Wanted

NAMES = (f"table-{number}" for number in count())
ONCE = Config(retries={"total_max_attempts": 1})


@pytest.fixture(scope="module")
def endpoint_url(tmp_path_factory):
    with Emulator(0, tmp_path_factory.mktemp("aws") / "aws.log") as emulator:
        yield emulator.endpoint_url


@pytest.fixture
def dynamodb(endpoint_url):
    return aws.session().client("dynamodb", endpoint_url=endpoint_url, config=ONCE)


@pytest.fixture
def table(dynamodb):
    name = next(NAMES)
    key = {"pk": "HASH", "sk": "RANGE"}
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": attribute, "KeyType": kind} for attribute, kind in key.items()],
        AttributeDefinitions=[{"AttributeName": attribute, "AttributeType": "S"} for attribute in key],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    return name


@pytest.fixture
def counted(endpoint_url, table):
    return lambda: control.usage(endpoint_url)["by_table"].get(table, {})


@pytest.fixture(autouse=True)
def calm(endpoint_url):
    yield
    control.change_faults(endpoint_url, Wanted(throttle_dynamodb=0, delay_sns_ms=0))


def item(sort_key, size=10, **more):
    return {"pk": {"S": "p"}, "sk": {"S": sort_key}, "body": {"B": b"x" * size}, "n": {"N": "12.50"}, **more}


# ---- usage


def test_units_are_those_that_the_benchmarks_count(dynamodb, table, counted):
    client = CountingClient(dynamodb)
    for size in (10, 1_000, 1_100, 30_000):
        client.put_item(TableName=table, Item=item(f"{size}", size))
    keys = [{"pk": {"S": "p"}, "sk": {"S": sort_key}} for sort_key in ("10", "30000", "not there")]
    client.batch_get_item(RequestItems={table: {"Keys": keys, "ConsistentRead": True}})
    query = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": "p"}}}
    list(client.get_paginator("query").paginate(TableName=table, ConsistentRead=True, **query))
    assert counted() == {"write_units": client.write_units[table], "read_units": client.read_units[table]}
    assert counted() == {"write_units": 1 + 1 + 2 + 30, "read_units": (1 + 8 + 1) + 8}


def test_a_put_over_a_larger_item_takes_what_that_did(dynamodb, table, counted):
    for size in (5_000, 10):
        answer = dynamodb.put_item(TableName=table, Item=item("a", size), ReturnConsumedCapacity="TOTAL")
        assert answer["ConsumedCapacity"] == {"TableName": table, "CapacityUnits": 5}
    assert counted() == {"write_units": 10}


def test_a_put_that_its_condition_refuses_takes_units_too(dynamodb, table, counted):
    dynamodb.put_item(TableName=table, Item=item("a", 1_500))
    with pytest.raises(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(TableName=table, Item=item("a", 2_500), ConditionExpression="attribute_not_exists(pk)")
    assert counted() == {"write_units": 2 + 3}


def test_a_deletion_takes_what_was_there_and_one_of_nothing_a_unit(dynamodb, table, counted):
    dynamodb.put_item(TableName=table, Item=item("a", 1_500))
    for _ in range(2):
        dynamodb.delete_item(TableName=table, Key={"pk": {"S": "p"}, "sk": {"S": "a"}})
    assert counted() == {"write_units": 2 + 2 + 1}


def test_a_read_takes_what_was_read_whatever_of_it_is_answered(dynamodb, table, counted):
    dynamodb.put_item(TableName=table, Item=item("a", 5_000))
    dynamodb.put_item(TableName=table, Item=item("b", 5_000))
    key = {"pk": {"S": "p"}, "sk": {"S": "a"}}
    dynamodb.get_item(TableName=table, Key=key, ProjectionExpression="pk", ConsistentRead=True)
    written = counted()["write_units"]
    dynamodb.scan(
        TableName=table,
        FilterExpression="sk = :sk",
        ExpressionAttributeValues={":sk": {"S": "a"}},
        ProjectionExpression="pk",
    )
    assert counted() == {"write_units": written, "read_units": 2 + 1.5}


def test_records_messages_and_requests_are_counted_by_the_names_of_their_prices(endpoint_url):
    kinesis, sns, sqs, s3 = (aws.client(service, endpoint_url) for service in ("kinesis", "sns", "sqs", "s3"))
    kinesis.create_stream(StreamName="counted", ShardCount=1)
    topic = sns.create_topic(Name="counted")["TopicArn"]
    s3.create_bucket(Bucket="counted")
    before = control.usage(endpoint_url)
    records = [{"Data": b"x" * size, "PartitionKey": "k"} for size in (1, 25_000, 25_001)]
    kinesis.put_records(StreamName="counted", Records=records)
    kinesis.put_record(StreamName="counted", Data=b"", PartitionKey="k")
    sns.publish(TopicArn=topic, Message="x" * 64_001)
    sns.publish_batch(
        TopicArn=topic, PublishBatchRequestEntries=[{"Id": f"{each}", "Message": "x" * 100} for each in range(10)]
    )
    sqs.list_queues()
    s3.put_object(Bucket="counted", Key="a/b", Body=b"x")
    s3.get_object(Bucket="counted", Key="a/b")
    s3.list_objects_v2(Bucket="counted")
    after = control.usage(endpoint_url)
    units = {name: count - before["units"].get(name, 0) for name, count in after["units"].items()}
    assert {name: count for name, count in units.items() if count} == {
        "kinesis.put_payload_units": 5,
        "sns.publishes": 3,
        "sqs.requests": 1,
        "s3.put_requests": 2,
    }
    requests = {name: count - before["requests"].get(name, 0) for name, count in after["requests"].items()}
    assert {name: count for name, count in requests.items() if count} == {
        "kinesis.PutRecords": 1,
        "kinesis.PutRecord": 1,
        "sns.Publish": 1,
        "sns.PublishBatch": 1,
        "sqs.ListQueues": 1,
        "s3.PutObject": 1,
        "s3.GetObject": 1,
        "s3.ListObjectsV2": 1,
    }


# ---- faults


def test_a_share_of_the_writes_is_refused_as_dynamodb_refuses_them_and_nothing_of_it_is_done(
    endpoint_url, dynamodb, table, counted
):
    before = control.change_faults(endpoint_url, Wanted(throttle_dynamodb=0.25)).writes_refused
    refused = []
    for number in range(200):
        try:
            dynamodb.put_item(TableName=table, Item=item(f"{number}"))
        except ClientError as error:
            refused.append(error)
    assert 30 <= len(refused) <= 70
    assert {type(error) for error in refused} == {dynamodb.exceptions.ProvisionedThroughputExceededException}
    assert {error.response["ResponseMetadata"]["HTTPStatusCode"] for error in refused} == {400}
    assert control.faults(endpoint_url).writes_refused - before == len(refused)
    assert counted() == {"write_units": 200 - len(refused)}
    items = dynamodb.scan(TableName=table)["Items"]
    assert len(items) == 200 - len(refused)


def test_a_publish_takes_its_time_and_keeps_nobody_else_waiting(endpoint_url):
    sns, sqs = (aws.client(service, endpoint_url) for service in ("sns", "sqs"))
    topic = sns.create_topic(Name="slow")["TopicArn"]
    control.change_faults(endpoint_url, Wanted(delay_sns_ms=700))

    def seconds(call, **request):
        began = time.perf_counter()
        call(**request)
        return time.perf_counter() - began

    with ThreadPoolExecutor() as pool:
        publishes = [pool.submit(seconds, sns.publish, TopicArn=topic, Message="x") for _ in range(3)]
        while control.faults(endpoint_url).publishes_delayed < 3:
            time.sleep(0.01)
        assert seconds(sqs.list_queues) < 0.5
        assert all(0.7 <= publish.result() < 2 for publish in publishes)


def test_an_iterator_of_kinesis_expires_once_and_the_next_reads_on(endpoint_url):
    kinesis = aws.client("kinesis", endpoint_url)
    kinesis.create_stream(StreamName="expiring", ShardCount=1)
    kinesis.put_record(StreamName="expiring", Data=b"1", PartitionKey="k")
    where = {"StreamName": "expiring", "ShardId": "shardId-000000000000"}
    first = kinesis.get_shard_iterator(**where, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    page = kinesis.get_records(ShardIterator=first)
    before = control.faults(endpoint_url)
    told = control.change_faults(endpoint_url, Wanted(expire_iterators=True))
    assert told.iterators_expired - before.iterators_expired == 1, "the first was read with"
    with pytest.raises(kinesis.exceptions.ExpiredIteratorException):
        kinesis.get_records(ShardIterator=page["NextShardIterator"])
    last = page["Records"][-1]["SequenceNumber"]
    kinesis.put_record(StreamName="expiring", Data=b"2", PartitionKey="k")
    another = kinesis.get_shard_iterator(
        **where, ShardIteratorType="AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=last
    )["ShardIterator"]
    assert [record["Data"] for record in kinesis.get_records(ShardIterator=another)["Records"]] == [b"2"]
    after = control.faults(endpoint_url)
    assert (after.expirations - before.expirations, after.reads_since_expiry) == (1, 1)


def test_an_iterator_of_a_tables_stream_expires_for_each_that_holds_one(endpoint_url, dynamodb, table):
    streams = aws.client("dynamodbstreams", endpoint_url)
    arn = dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]

    def iterator():
        where = {"StreamArn": arn, "ShardId": shard["ShardId"]}
        return streams.get_shard_iterator(**where, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]

    before = control.change_faults(endpoint_url, Wanted(expire_iterators=True)).iterators_expired  # of the other tests
    held = [iterator(), iterator()]
    assert control.change_faults(endpoint_url, Wanted(expire_iterators=True)).iterators_expired - before == 2
    for each in held:
        with pytest.raises(streams.exceptions.ExpiredIteratorException):
            streams.get_records(ShardIterator=each)
    assert streams.get_records(ShardIterator=iterator())["Records"] == []


# ---- HTTP


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (control.FAULTS, b'{"throttle_dynamodb": 2}', 400),
        (control.FAULTS, b'{"throttle": 1}', 400),
        (control.FAULTS, b"nothing", 400),
        (control.USAGE, b"{}", 405),
    ],
)
def test_what_cannot_be_is_refused(endpoint_url, path, body, status):
    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(endpoint_url + path, body, timeout=5)  # noqa: S310  http, on loopback
    assert refused.value.code == status
    refused.value.close()


def test_what_cannot_be_is_not_even_asked_for():
    with pytest.raises(ValueError, match="throttle_dynamodb"):
        control.change_faults("http://127.0.0.1:1", Wanted(throttle_dynamodb=1.5))
