"""A stage's resources on the emulated AWS, where a stack can be made to fail."""

import json
from typing import Any

import pytest

from localstage.aws import client, environment_variables, session
from ops.resources import ResourcesError, StageResources, ensure, main


def make(endpoint_url: str, stage: str, **more: Any) -> StageResources:
    return ensure(stage, endpoint_url=endpoint_url, session=session(), shards=1, **more)


def test_the_projects_resources_are_made_and_made_again_without_loss(endpoint_url: str) -> None:
    once = make(endpoint_url, "twice")
    dynamodb = client("dynamodb", endpoint_url)
    dynamodb.put_item(TableName="highwater-twice-orders", Item={"order_id": {"S": "kept"}})
    secrets, secret = client("secretsmanager", endpoint_url), "highwater-twice-api-tokens"
    assert secrets.get_secret_value(SecretId=secret)["SecretString"] == '{"tokens": []}'
    secrets.put_secret_value(SecretId=secret, SecretString="kept")
    assert make(endpoint_url, "twice") == once
    assert secrets.get_secret_value(SecretId=secret)["SecretString"] == "kept"
    assert dynamodb.scan(TableName="highwater-twice-orders")["Count"] == 1


def test_the_number_of_shards_can_be_given(endpoint_url: str) -> None:
    ensure("shards", endpoint_url=endpoint_url, session=session(), shards=3)
    assert len(client("kinesis", endpoint_url).list_shards(StreamName="highwater-shards-events")["Shards"]) == 3


def test_what_else_is_asked_for_is_put_out(endpoint_url: str) -> None:
    there = make(endpoint_url, "more", outputs={"TableArn": {"Fn::GetAtt": ["OrdersTable", "Arn"]}})
    assert there.outputs["TableArn"].endswith(":table/highwater-more-orders")


def test_the_command_shows_what_is_there(
    endpoint_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment_variables(endpoint_url).items():
        monkeypatch.setenv(name, value)
    assert main(["--stage", "shown", "--shards", "1"]) == 0
    shown = capsys.readouterr().out
    for name in ("events", "aggregates", "orders", "results", "dead-letters", "redrive-failed"):
        assert f"highwater-shown-{name}" in shown


def test_a_time_to_live_that_the_emulator_forgets_is_set(endpoint_url: str) -> None:
    make(endpoint_url, "ttl")
    described = client("dynamodb", endpoint_url).describe_time_to_live(TableName="highwater-ttl-aggregates")
    assert described["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"


@pytest.mark.parametrize("view", ["KEYS_ONLY", "NEW_AND_OLD_IMAGES"])
def test_a_tables_stream_holds_what_is_declared(endpoint_url: str, view: str) -> None:
    table = {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {
            "TableName": f"viewed-{view}",
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "StreamSpecification": {"StreamViewType": view},
        },
    }
    stage = f"view-{view.lower().replace('_', '-')}"
    make(endpoint_url, stage, template={"Resources": {"Table": table}})
    described = client("dynamodb", endpoint_url).describe_table(TableName=f"viewed-{view}")["Table"]
    assert described["StreamSpecification"] == {"StreamEnabled": True, "StreamViewType": view}


def test_a_redrive_policy_that_the_emulator_forgets_is_set(endpoint_url: str) -> None:
    make(endpoint_url, "queues")
    sqs = client("sqs", endpoint_url)
    url = sqs.get_queue_url(QueueName="highwater-queues-redrive")["QueueUrl"]
    policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]["RedrivePolicy"]
    assert json.loads(policy) == {
        "deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:highwater-queues-redrive-failed",
        "maxReceiveCount": 5,
    }


def test_a_stack_that_failed_half_way_says_why_and_is_made_when_the_reason_is_gone(endpoint_url: str) -> None:
    stream = {"Type": "AWS::Kinesis::Stream", "Properties": {"Name": "half-way-events", "ShardCount": 1}}
    unknown = {"Type": "AWS::SNS::NothingOfThisKind", "DependsOn": "EventsStream"}
    failing = {"Resources": {"EventsStream": stream, "Unknown": unknown}}
    with pytest.raises(ResourcesError, match=r"stack highwater-half-resources ended as \w+: Unknown: "):
        make(endpoint_url, "half", template=failing)
    there = make(endpoint_url, "half", template={"Resources": {"EventsStream": stream}})
    assert there.physical_ids == {"EventsStream": "half-way-events"}


def test_a_failed_update_leaves_what_was_there(endpoint_url: str) -> None:
    stream = {"Type": "AWS::Kinesis::Stream", "Properties": {"Name": "kept-events", "ShardCount": 1}}
    unknown = {"Type": "AWS::SNS::NothingOfThisKind"}
    make(endpoint_url, "kept", template={"Resources": {"EventsStream": stream}})
    with pytest.raises(ResourcesError, match="ended as UPDATE_ROLLBACK_COMPLETE: Unknown: "):
        make(endpoint_url, "kept", template={"Resources": {"EventsStream": stream, "Unknown": unknown}})
    assert make(endpoint_url, "kept", template={"Resources": {"EventsStream": stream}}).physical_ids
