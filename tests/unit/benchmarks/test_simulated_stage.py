"""The simulated stage counts what the real stores would, and a shard that stands for others counts as they would."""

import pytest

from benchmarks.capacity import CountingClient
from benchmarks.memory_dynamodb import ConditionalCheckFailedException, MemoryDynamoDB
from benchmarks.priced import price
from benchmarks.simulated_stage import AGGREGATES, Load, SimulatedStage, partitions_needed
from chalicelib import definitions

METRICS = definitions.METRICS[:2]


def spending(ingesting, shards=4):
    return SimulatedStage(METRICS, Load(shards, ingesting, events=40, seconds=3)).run()


def units(spending):
    return {
        name: (spent.invocations, spent.requests, spent.write_units, spent.read_units, spent.publishes)
        for name, spent in spending.functions.items()
    }


def test_shards_that_others_stand_for_cost_what_they_cost_themselves():
    own, stood_for = spending(4), spending(2)
    assert units(own) == units(stood_for)
    assert own.tables == stood_for.tables
    assert own.partition_writes == stood_for.partition_writes


def test_what_ingest_takes_grows_with_the_shards_and_is_the_same_for_a_million_events():
    one, four = spending(1, shards=1), spending(4)
    assert units(four)["ingest"][1:] == tuple(4 * count for count in units(one)["ingest"][1:])
    prices = [price(each, 0) for each in (one, four)]
    assert prices[0].writes["ingest"] == pytest.approx(prices[1].writes["ingest"])
    assert prices[0].writes["id log"] == pytest.approx(prices[1].writes["id log"])
    assert prices[0].total == pytest.approx(sum(prices[0].dollars.values()))


def test_every_function_has_run():
    assert {name for name, spent in spending(1, shards=1).functions.items() if spent.invocations} == {
        "ingest",
        "fan_out",
        "rollup",
        "tick",
    }


def test_of_a_metric_that_is_not_published_no_open_hour_is_read_however_many_shards_there_are():
    customers = definitions.METRICS[1]
    assert not customers.published
    spent = SimulatedStage([customers], Load(3, events=40, seconds=3)).run().functions
    assert spent["fan_out"].invocations == 0, "filters keep its changes away"
    assert spent["rollup"].invocations
    assert spent["rollup"].requests == 0
    assert spent["tick"].write_units % 1 == pytest.approx(5 / 60), "its hour, four buckets, is made once an hour"


@pytest.mark.parametrize(("write_units", "partitions"), [(0, 4), (4_000, 4), (4_001, 5), (26_000, 26)])
def test_a_table_has_a_partition_for_each_thousand_write_units(write_units, partitions):
    assert partitions_needed(write_units) == partitions


def put(client, sort_key, **more):
    client.put_item(TableName=AGGREGATES, Item={"pk": {"S": "p"}, "sk": {"S": sort_key}, **more})


def test_units_and_requests_are_counted_as_dynamodb_counts_them():
    client = CountingClient(MemoryDynamoDB())
    put(client, "a", groups={"B": bytes(1_024)})
    put(client, "b", groups={"B": bytes(3_000)})
    assert client.write_units[AGGREGATES] == 2 + 3
    pages = client.get_paginator("query").paginate(
        TableName=AGGREGATES, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": "p"}}
    )
    assert [page["Count"] for page in pages] == [2]
    assert client.read_units[AGGREGATES] == 1  # both together, some 4 060 bytes
    assert client.requests == {(AGGREGATES, "PutItem"): 2, (AGGREGATES, "Query"): 1}


def test_a_put_that_is_refused_takes_its_units():
    client = CountingClient(MemoryDynamoDB())
    put(client, "a")
    with pytest.raises(ConditionalCheckFailedException):
        client.put_item(
            TableName=AGGREGATES,
            Item={"pk": {"S": "p"}, "sk": {"S": "a"}},
            ConditionExpression="attribute_not_exists(pk)",
        )
    assert client.write_units[AGGREGATES] == 2
