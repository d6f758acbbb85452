"""A stage that runs on the emulated AWS, held against its package: the answers' form is not ours.

The stage has its data and its watch, and no functions. What the emulator's CloudFormation forgets is set by the calls
that an operator would make; each line that fails before holds then.
"""

import json
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from localstage import aws
from ops.package.template import copy_project, generate
from ops.preflight import live
from ops.preflight.stage import ALARM, BUCKET, QUEUE, STREAM, TABLE, transform
from ops.resources import ensure

PROJECT = Path(__file__).parents[2]
WITHOUT_FUNCTIONS = {"live-functions", "live-concurrency", "live-aliases", "live-mappings"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory, endpoint_url):
    directory = tmp_path_factory.mktemp("packaged") / "project"
    copy_project(PROJECT, directory, "prod")
    given = json.loads((PROJECT / ".chalice" / "parameters.json").read_text())["prod"]
    ensure("prod", endpoint_url=endpoint_url, session=aws.session(), shards=1)
    return transform(generate(directory, "prod"), "prod", given, {}, datetime.now(UTC).date())


@pytest.fixture(scope="module")
def client(endpoint_url):
    """Makes a client of a service, once each: making one takes longer than most calls."""
    return cache(lambda service: aws.client(service, endpoint_url))


def failing(stage, client):
    return {verdict.check.id for verdict in live.judge(live.LiveStage(stage, client)) if not verdict.holds}


def set_right(stage, client):
    dynamodb, s3, logs = client("dynamodb"), client("s3"), client("logs")
    for table in stage.of_type(TABLE).values():
        name, enabled = table["TableName"], {"PointInTimeRecoveryEnabled": True}
        dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=enabled)
        dynamodb.update_table(TableName=name, SSESpecification={"Enabled": True, "SSEType": "KMS"})
    for bucket in stage.of_type(BUCKET).values():
        name = bucket["BucketName"]
        blocked = bucket["PublicAccessBlockConfiguration"]
        s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=blocked)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
        s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    for queue in stage.of_type(QUEUE).values():
        url = client("sqs").get_queue_url(QueueName=queue["QueueName"])["QueueUrl"]
        client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"SqsManagedSseEnabled": "true"})
    for stream in stage.of_type(STREAM).values():
        key = "alias/aws/kinesis"
        client("kinesis").start_stream_encryption(StreamName=stream["Name"], EncryptionType="KMS", KeyId=key)
    for group in stage.of_type("AWS::Logs::LogGroup").values():
        name, days = group["LogGroupName"], group["RetentionInDays"]
        with suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_group(logGroupName=name)
        logs.put_retention_policy(logGroupName=name, retentionInDays=days)
    for alarm in stage.of_type(ALARM).values():
        client("cloudwatch").put_metric_alarm(
            AlarmName=alarm["AlarmName"],
            Namespace="AWS/Lambda",
            MetricName="Errors",
            Statistic="Sum",
            Period=60,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            AlarmActions=["arn:aws:sns:us-east-1:000000000000:highwater-prod-alarms"],
        )


def test_what_is_not_as_packaged_is_found_until_it_is_set_right(stage, client):
    before = failing(stage, client)
    assert {"live-alarms", "live-logs", "live-tables", "live-buckets"} <= before
    set_right(stage, client)
    assert failing(stage, client) == WITHOUT_FUNCTIONS


@pytest.mark.parametrize(
    ("check", "breaks"),
    [
        (
            "live-alarms",
            lambda client: client("cloudwatch").disable_alarm_actions(AlarmNames=["highwater-prod-no-ticks"]),
        ),
        (
            "live-logs",
            lambda client: client("logs").delete_retention_policy(logGroupName="/aws/lambda/highwater-prod-tick"),
        ),
        (
            "live-buckets",
            lambda client: client("s3").put_bucket_versioning(
                Bucket="highwater-prod-dead-letters", VersioningConfiguration={"Status": "Suspended"}
            ),
        ),
        (
            "live-tables",
            lambda client: client("dynamodb").update_continuous_backups(
                TableName="highwater-prod-ids", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False}
            ),
        ),
    ],
)
def test_what_somebody_changes_by_hand_is_found(stage, client, check, breaks):
    set_right(stage, client)
    breaks(client)
    assert failing(stage, client) == WITHOUT_FUNCTIONS | {check}
