"""A stage that runs, held against its package: botocore answers from what was packaged, then from what is broken.

The clients are boto3's own, so what is asked is validated as on AWS; only the answers do not come over a network.
"""

import copy

import boto3
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from ops.preflight import live
from ops.preflight.data import BLOCKED
from ops.preflight.mappings import QUEUES, STREAMS, of_function
from ops.preflight.stage import ALARM, ALIAS, BUCKET, FUNCTION, QUEUE, STREAM, TABLE


class Aws:
    """Answers each operation by the method that is named as it, as a stage that was deployed from the package."""

    def __init__(self, stage):
        self.stage = copy.deepcopy(stage)
        self.answers = {}  # by operation, an answer, or an error's code, in place of the usual one
        self.functions = {each["FunctionName"]: each for each in stage.of_type(FUNCTION).values()}
        self.tables = {each["TableName"]: each for each in stage.of_type(TABLE).values()}

    def client(self, service):
        client = boto3.client(service)

        def answer(model, params, **_rest):
            given = self.answers.get(model.name, getattr(self, xform_name(model.name)))
            if isinstance(given, str):
                error = {"Error": {"Code": given, "Message": "as said"}}
                raise ClientError(error, model.name)
            return (type("Http", (), {"status_code": 200})(), given(params))

        client.meta.events.register("before-call", answer)
        client.meta.events.register("before-parameter-build", self._hear)
        return client

    def _hear(self, params, model, **_rest):
        self.asked = params

    def get_function_configuration(self, _params):
        function = self.functions[self.asked["FunctionName"]]
        return {**function, "State": "Active"}

    def get_function_concurrency(self, _params):
        reserved = self.functions[self.asked["FunctionName"]].get("ReservedConcurrentExecutions")
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    def get_alias(self, _params):
        return {"Name": "live", "FunctionVersion": "1"}

    def get_provisioned_concurrency_config(self, _params):
        return {"Status": "READY"}

    def list_event_source_mappings(self, _params):
        function, _, alias = self.asked["FunctionName"].partition(":")
        if not alias:
            return {"EventSourceMappings": []}
        (name,) = [name for name in STREAMS | QUEUES if self.stage.properties(name)["FunctionName"] == function]
        (mapping,) = of_function(self.stage, name).values()
        destination = {"OnFailure": {"Destination": "arn:aws:s3:::letters"}}
        answer = {**mapping, "UUID": name, "State": "Enabled", "DestinationConfig": destination}
        return {"EventSourceMappings": [answer]}

    def describe_log_groups(self, _params):
        groups = self.stage.of_type("AWS::Logs::LogGroup").values()
        return {
            "logGroups": [
                {"logGroupName": each["LogGroupName"], "retentionInDays": each["RetentionInDays"]} for each in groups
            ]
        }

    def describe_alarms(self, _params):
        alarms = self.stage.of_type(ALARM).values()
        return {
            "MetricAlarms": [
                {"AlarmName": each["AlarmName"], "ActionsEnabled": True, "AlarmActions": ["arn"]} for each in alarms
            ]
        }

    def describe_table(self, _params):
        return {"Table": {"SSEDescription": {"Status": "ENABLED"}}}

    def describe_continuous_backups(self, _params):
        status = {"PointInTimeRecoveryStatus": "ENABLED"}
        return {"ContinuousBackupsDescription": {"PointInTimeRecoveryDescription": status}}

    def describe_time_to_live(self, _params):
        attribute = self.tables[self.asked["TableName"]]["TimeToLiveSpecification"]["AttributeName"]
        return {"TimeToLiveDescription": {"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}}

    def describe_stream_summary(self, _params):
        (stream,) = self.stage.of_type(STREAM).values()
        return {
            "StreamDescriptionSummary": {
                "EncryptionType": "KMS",
                "RetentionPeriodHours": stream["RetentionPeriodHours"],
            }
        }

    def get_public_access_block(self, _params):
        (bucket,) = self.stage.of_type(BUCKET).values()
        return {"PublicAccessBlockConfiguration": bucket["PublicAccessBlockConfiguration"]}

    def get_bucket_versioning(self, _params):
        return {"Status": "Enabled"}

    def get_bucket_encryption(self, _params):
        rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
        return {"ServerSideEncryptionConfiguration": {"Rules": [rule]}}

    def get_queue_url(self, _params):
        return {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/000000000000/queue"}

    def get_queue_attributes(self, _params):
        return {"Attributes": {"SqsManagedSseEnabled": "true"}}


@pytest.fixture
def aws(stage_of):
    return Aws(stage_of())


def judged(aws):
    return live.judge(live.LiveStage(aws.stage, aws.client))


def usual(operation, **changes):
    """The usual answer, with changes."""

    def change(aws):
        usual_answer = getattr(aws, xform_name(operation))
        aws.answers[operation] = lambda params: {**usual_answer(params), **changes}

    return change


def instead(operation, answer):
    def change(aws):
        aws.answers[operation] = answer if isinstance(answer, str) else lambda _params: answer

    return change


def mapping(**changes):
    def change(aws):
        def answer(params):
            found = aws.list_event_source_mappings(params)
            return {"EventSourceMappings": [{**each, **changes} for each in found["EventSourceMappings"]]}

        aws.answers["ListEventSourceMappings"] = answer

    return change


def block(is_set):
    return {"PublicAccessBlockConfiguration": dict.fromkeys(BLOCKED, True) | {"BlockPublicAcls": is_set}}


NO_BACKUPS = {"PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "DISABLED"}}
EXPIRES_NOT = {"TimeToLiveStatus": "DISABLED"}
BROKEN = [
    ("live-functions", usual("GetFunctionConfiguration", MemorySize=128)),
    ("live-functions", usual("GetFunctionConfiguration", State="Failed")),
    ("live-functions", usual("GetFunctionConfiguration", TracingConfig={"Mode": "PassThrough"})),
    ("live-functions", instead("GetFunctionConfiguration", "ResourceNotFoundException")),
    ("live-functions", instead("GetFunctionConfiguration", "AccessDeniedException")),
    ("live-concurrency", instead("GetFunctionConcurrency", {})),
    ("live-aliases", instead("GetAlias", "ResourceNotFoundException")),
    ("live-aliases", usual("GetAlias", RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}})),
    ("live-aliases", instead("GetProvisionedConcurrencyConfig", {"Status": "FAILED"})),
    ("live-mappings", mapping(ParallelizationFactor=10)),
    ("live-mappings", mapping(State="Disabled")),
    ("live-mappings", mapping(MaximumRetryAttempts=3)),
    ("live-mappings", mapping(DestinationConfig={})),
    ("live-mappings", instead("ListEventSourceMappings", {"EventSourceMappings": []})),
    ("live-logs", instead("DescribeLogGroups", {"logGroups": []})),
    ("live-alarms", instead("DescribeAlarms", {"MetricAlarms": []})),
    ("live-tables", instead("DescribeContinuousBackups", {"ContinuousBackupsDescription": NO_BACKUPS})),
    ("live-tables", instead("DescribeTimeToLive", {"TimeToLiveDescription": EXPIRES_NOT})),
    ("live-tables", instead("DescribeTable", {"Table": {}})),
    ("live-stream", instead("DescribeStreamSummary", {"StreamDescriptionSummary": {"EncryptionType": "NONE"}})),
    ("live-buckets", instead("GetPublicAccessBlock", block(is_set=False))),
    ("live-buckets", instead("GetPublicAccessBlock", {"PublicAccessBlockConfiguration": {}})),
    ("live-buckets", instead("GetPublicAccessBlock", "NoSuchPublicAccessBlockConfiguration")),
    ("live-buckets", instead("GetPublicAccessBlock", "NoSuchBucket")),
    ("live-buckets", instead("GetBucketVersioning", {})),
    ("live-buckets", instead("GetBucketEncryption", "ServerSideEncryptionConfigurationNotFoundError")),
    ("live-queues", instead("GetQueueAttributes", {})),
]


def test_a_stage_that_runs_as_packaged_holds(aws):
    assert [verdict for verdict in judged(aws) if not verdict.holds] == []


@pytest.mark.parametrize(("check", "change"), BROKEN, ids=[each[0] for each in BROKEN])
def test_what_is_broken_fails_its_own_line_and_no_other(aws, check, change):
    change(aws)
    verdicts = judged(aws)
    assert {verdict.check.id for verdict in verdicts if verdict.fails} == {check}


def test_every_line_is_broken_by_some_test():
    assert {check for check, _ in BROKEN} == {check.id for check in live.CHECKS}


def test_a_bucket_without_a_configuration_is_named_and_said_to_have_none(aws):
    aws.answers["GetPublicAccessBlock"] = "NoSuchPublicAccessBlockConfiguration"
    aws.answers["GetBucketEncryption"] = "ServerSideEncryptionConfigurationNotFoundError"
    (verdict,) = [verdict for verdict in judged(aws) if verdict.fails]
    where = "DeadLettersBucket (highwater-prod-dead-letters)"
    found = [(finding.where, finding.found, finding.wanted) for finding in verdict.findings]
    assert found == [
        *((f"{where}: {setting}", "not set", "true") for setting in BLOCKED),
        (f"{where}: Encryption", "not set", "aws:kms"),
    ]


def test_what_is_not_there_is_named_and_the_others_are_looked_at_all_the_same(aws):
    aws.answers["DescribeTable"] = "ResourceNotFoundException"
    (verdict,) = [verdict for verdict in judged(aws) if verdict.fails]
    assert [finding.where for finding in verdict.findings] == [
        f"{logical_id} ({table['TableName']})" for logical_id, table in aws.stage.of_type(TABLE).items()
    ]
    assert {finding.found for finding in verdict.findings} == {"ResourceNotFoundException, asked by DescribeTable"}


def test_whoever_is_nobody_to_aws_gets_no_verdict(aws):
    aws.answers["GetFunctionConfiguration"] = "ExpiredTokenException"
    with pytest.raises(ClientError, match="ExpiredToken"):
        judged(aws)


def test_an_alarm_that_somebody_has_silenced_is_a_finding(aws):
    alarms = aws.describe_alarms({})["MetricAlarms"]
    alarms[0]["ActionsEnabled"] = False
    aws.answers["DescribeAlarms"] = lambda _params: {"MetricAlarms": alarms}
    (verdict,) = [verdict for verdict in judged(aws) if verdict.fails]
    assert [finding.found for finding in verdict.findings] == ["disabled, or none"]


def test_what_an_emulator_does_not_know_is_told_so_and_fails_nothing(aws):
    aws.answers["GetFunctionConcurrency"] = "UnknownOperationException"
    (verdict,) = [verdict for verdict in judged(aws) if not verdict.holds]
    assert (verdict.fails, verdict.unknown) == (False, "GetFunctionConcurrency is not known here")


def test_aliases_and_queues_that_are_packaged_are_all_asked_for(aws):
    assert len(aws.stage.of_type(ALIAS)) == len(aws.functions) - 1, "the hook has none"
    assert len(aws.stage.of_type(QUEUE)) == 2
