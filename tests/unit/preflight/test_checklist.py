"""Every line of the checklist holds of the template as it is, and fails by itself when what it is about is broken."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ops.preflight.__main__ import CHECKS
from ops.preflight.access import policy_file, roles_of_functions
from ops.preflight.alarms import ALARMS
from ops.preflight.checklist import PARAMETERS, judge
from ops.preflight.stage import ALARM
from tests.unit.preflight.conftest import ARCHIVES

PROJECT = Path(__file__).parents[3]
ARN, HERE = "arn:${AWS::Partition}", "${AWS::Region}:${AWS::AccountId}"
EVENTS = {
    "Ingest": "IngestKinesisEventSource",
    "Capture": "CaptureDynamodbEventSource",
    "Rollup": "RollupDynamodbEventSource",
    "FanOut": "FanOutDynamodbEventSource",
    "Redrive": "RedriveSqsEventSource",
}


def put(path, value):
    """Sets a value at a path below Resources: `Ingest.Properties.Timeout`."""
    *steps, last = path.split(".")

    def change(template):
        node = template["Resources"]
        for step in steps:
            node = node[int(step) if isinstance(node, list) else step]
        node[int(last) if isinstance(node, list) else last] = value

    return change


def cut(path):
    """Takes out what stands at a path below Resources."""
    *steps, last = path.split(".")

    def change(template):
        node = template["Resources"]
        for step in steps:
            node = node[int(step) if isinstance(node, list) else step]
        del node[last]

    return change


def mapped(function, option, value):
    return put(f"{function}.Properties.Events.{EVENTS[function]}.Properties.{option}", value)


def unmapped(function, option):
    return cut(f"{function}.Properties.Events.{EVENTS[function]}.Properties.{option}")


def both(*changes):
    def change(template):
        for each in changes:
            each(template)

    return change


def allow(role, action, resource):
    """Adds a statement to a role's policy."""

    def change(template):
        (policy,) = template["Resources"][role]["Properties"]["Policies"]
        statement = {"Effect": "Allow", "Action": action, "Resource": resource}
        policy["PolicyDocument"]["Statement"].append(statement)

    return change


def traced_with_content(template):
    template["Globals"]["Function"]["Environment"]["Variables"]["POWERTOOLS_TRACER_CAPTURE_ERROR"] = "true"


def api_calls_the_function_itself(template):
    integration = template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]["paths"]["/v1/health"]["get"]
    uri = integration["x-amazon-apigateway-integration"]["uri"]
    uri["Fn::Sub"] = uri["Fn::Sub"].replace("${APIHandlerAliaslive}", "${APIHandler.Arn}")


def a_route_for_all(template):
    del template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]["paths"]["/v1/stream"]["get"]["security"]


def an_alarm_without_dimensions(name):
    return put(f"{name}.Properties.Dimensions", [{"Name": "service", "Value": "highwater"}])


def logical_id(alarm):
    """That of an alarm by its name: `fan_out-failing` is FanOutFailing."""
    return "".join(part.capitalize() for part in re.split("[-_]", alarm))


BROAD = [  # patterns that are of no one resource of this stage
    "arn:aws:dynamodb:*:*:table/*",
    "arn:*:sns:*:*:highwater-*-results",
    "arn:aws:dynamodb:*:*:table/highwater-prod-ids",
    {"Fn::Sub": f"{ARN}:dynamodb:{HERE}:table/*"},
    {"Fn::Sub": f"{ARN}:dynamodb:{HERE}:table/highwater-*"},
    {"Fn::Sub": f"{ARN}:dynamodb:{HERE}:table/highwater-${{Stage}}*"},
    {"Fn::Sub": f"{ARN}:dynamodb:{HERE}:table/highwater-${{Stage}}-*"},
    {"Fn::Sub": f"{ARN}:dynamodb:{HERE}:table/highwater-${{Stage}}-id?"},
    {"Fn::Sub": f"{ARN}:dynamodb:{HERE}:table/highwater-dev-ids/*"},
    {"Fn::Sub": f"{ARN}:dynamodb:{HERE}:table/old-highwater-${{Stage}}-ids/*"},
    {"Fn::Sub": f"{ARN}:ssm:{HERE}:parameter/highwater/*"},
    {"Fn::Sub": f"{ARN}:logs:{HERE}:log-group:/aws/lambda/*"},
    {"Fn::Sub": "${DeadLettersBucket.Arn}*"},
    {"Fn::Join": ["", [{"Fn::GetAtt": ["IdsTable", "Arn"]}, "*"]]},
    {"Fn::Join": ["/", [{"Fn::GetAtt": ["IdsTable", "Arn"]}, "*"]]},  # might be narrow; not told apart
]
NARROW = [
    {"Fn::GetAtt": ["IdsTable", "Arn"]},
    {"Fn::Sub": "${IdsTable.Arn}/index/*"},
    {"Fn::Sub": "${DeadLettersBucket.Arn}/dead-letters/${EventsStream}/*/x/*"},
    {"Fn::Sub": "arn:aws:s3:::${DeadLettersBucket}/*"},
    {"Fn::Join": ["", [{"Fn::GetAtt": ["IdsTable", "Arn"]}, "/index/*"]]},
    {"Fn::Sub": f"{ARN}:logs:{HERE}:log-group:/aws/lambda/highwater-${{Stage}}-rollup:*"},
    {"Fn::Sub": f"{ARN}:ssm:{HERE}:parameter/highwater/${{Stage}}/alerts/*"},
    "arn:aws:sqs:eu-central-1:123456789012:somebody-elses",
]
HOOK_LOGS = "/aws/lambda/highwater-prod-hook"
STRAY_MAPPING = {
    "Type": "AWS::Lambda::EventSourceMapping",
    "Properties": {
        "FunctionName": {"Ref": "CheckRelease"},
        "EventSourceArn": {"Fn::GetAtt": ["RedriveFailedQueue", "Arn"]},
    },
}
ALL_CHANGES = {"Filters": [{"Pattern": '{"eventName": ["INSERT", "MODIFY"]}'}]}
REMOVALS_TOO = {"Filters": [{"Pattern": '{"eventName": ["INSERT", "MODIFY", "REMOVE"]}'}]}
NO_PATTERN = {"Filters": [{"Pattern": "{"}]}
NOTHING_PASSES = {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]}
BROKEN = [  # check, what breaks it: a change of the template, parameters, or archives
    ("memory", put("Ingest.Properties.MemorySize", 128), {}),
    ("memory", put("Ingest.Properties.MemorySize", 10_240), {}),
    ("timeout", put("Ingest.Properties.Timeout", 900), {}),
    ("api-timeout", put("APIHandler.Properties.Timeout", 60), {}),
    ("redrive-visibility", put("RedriveQueue.Properties.VisibilityTimeout", 60), {}),
    ("redrive-visibility", put("RedriveQueue.Properties.RedrivePolicy.maxReceiveCount", 10), {}),
    ("log-retention", cut("IngestLogs.Properties.RetentionInDays"), {}),
    ("log-retention", cut("TickLogs"), {}),
    ("tracing", put("Ingest.Properties.Tracing", "PassThrough"), {}),
    ("traces-without-content", traced_with_content, {}),
    ("reserved-concurrency", None, {"ReserveConcurrency": "false"}),
    ("shard-concurrency", None, {"IngestConcurrency": "3", "EventsShardCount": "4"}),
    ("account-concurrency", None, {"ApiConcurrency": "900"}),
    ("provisioned-concurrency", None, {"ApiProvisionedConcurrency": "0"}),
    ("provisioned-concurrency", None, {"ApiProvisionedConcurrency": "51", "ApiConcurrency": "50"}),
    ("runtime", put("Ingest.Properties.Runtime", "python3.8"), {}),
    ("runtime", put("Ingest.Properties.Runtime", "python2.99"), {}),
    ("architecture", put("Tick.Properties.Architectures", ["arm64"]), {}),
    ("architecture", put("SketchesLayer.Properties.CompatibleArchitectures", ["arm64"]), {}),
    (
        "stage-names",
        both(
            put("CheckRelease.Properties.FunctionName", "highwater-prod-hook"),
            put("CheckReleaseLogs.Properties.LogGroupName", HOOK_LOGS),
        ),
        {},
    ),
    ("settings", put("Ingest.Properties.Environment.Variables.LATENESS", "soon"), {}),
    ("settings", cut("Ingest.Properties.Environment.Variables.STAGE"), {}),
    ("settings", cut("FanOut.Properties.Environment.Variables.RESULTS_TOPIC_ARN"), {}),
    ("settings", put("Redrive.Properties.Environment.Variables.REDRIVE_QUEUE_URL", {"Ref": "EventsStream"}), {}),
    ("archive-size", None, {"archives": {**ARCHIVES, "deployment.zip": 30_000_001}}),
    ("archive-size", None, {"archives": {}}),
    ("sources", mapped("Ingest", "Enabled", False), {}),
    ("sources", mapped("Capture", "Stream", {"Fn::GetAtt": ["IdsTable", "StreamArn"]}), {}),
    ("one-at-a-time", mapped("Ingest", "ParallelizationFactor", 10), {}),
    ("partial-responses", unmapped("Redrive", "FunctionResponseTypes"), {}),
    ("bisect", mapped("Ingest", "BisectBatchOnFunctionError", False), {}),
    ("retries-for-ever", mapped("Rollup", "MaximumRetryAttempts", 10), {}),
    ("records-never-expire", unmapped("Capture", "MaximumRecordAgeInSeconds"), {}),
    ("failure-destination", unmapped("FanOut", "DestinationConfig"), {}),
    ("from-the-beginning", mapped("Ingest", "StartingPosition", "LATEST"), {}),
    ("filters", unmapped("FanOut", "FilterCriteria"), {}),
    ("filters", mapped("FanOut", "FilterCriteria", ALL_CHANGES), {}),
    ("filters", mapped("Rollup", "FilterCriteria", REMOVALS_TOO), {}),
    ("filters", mapped("Rollup", "FilterCriteria", NOTHING_PASSES), {}),
    ("filters", mapped("Rollup", "FilterCriteria", NO_PATTERN), {}),
    ("mapping-aliases", put("Stray", STRAY_MAPPING), {}),
    (
        "failed-messages",
        put("RedriveQueue.Properties.RedrivePolicy.deadLetterTargetArn", {"Fn::GetAtt": ["RedriveQueue", "Arn"]}),
        {},
    ),
    ("schedule", put("Tick.Properties.Events.TickEvent.Properties.Schedule", "rate(5 minutes)"), {}),
    ("stream-encryption", cut("EventsStream.Properties.StreamEncryption"), {}),
    ("table-encryption", put("IdsTable.Properties.SSESpecification.SSEEnabled", False), {}),
    ("topic-encryption", cut("ResultsTopic.Properties.KmsMasterKeyId"), {}),
    ("queue-encryption", put("RedriveQueue.Properties.SqsManagedSseEnabled", False), {}),
    ("bucket-encryption", cut("DeadLettersBucket.Properties.BucketEncryption"), {}),
    ("tls-only", cut("RedriveQueuesPolicy"), {}),
    ("tls-only", put("DeadLettersBucketPolicy.Properties.PolicyDocument.Statement.0.Effect", "Allow"), {}),
    ("public-access", put("DeadLettersBucket.Properties.PublicAccessBlockConfiguration.BlockPublicAcls", False), {}),
    ("versioning", put("DeadLettersBucket.Properties.VersioningConfiguration.Status", "Suspended"), {}),
    ("old-versions", cut("DeadLettersBucket.Properties.LifecycleConfiguration"), {}),
    ("point-in-time-recovery", cut("OrdersTable.Properties.PointInTimeRecoverySpecification"), {}),
    ("time-to-live", put("IdsTable.Properties.TimeToLiveSpecification.AttributeName", "expiration"), {}),
    ("on-demand", put("IdsTable.Properties.BillingMode", "PROVISIONED"), {}),
    ("table-streams", put("OrdersTable.Properties.StreamSpecification.StreamViewType", "NEW_IMAGE"), {}),
    ("kept", cut("AggregatesTable.UpdateReplacePolicy"), {}),
    ("stream-retention", None, {"EventsRetentionHours": "24"}),
    ("secret-is-empty", put("ApiTokens.Properties.SecretString", '{"tokens": ["x"]}'), {}),
    ("tags", cut("DeadLettersBucket.Properties.Tags"), {}),
    ("one-role-each", put("Tick.Properties.Role", {"Fn::GetAtt": ["RedriveRole", "Arn"]}), {}),
    (
        "trust",
        put("TickRole.Properties.AssumeRolePolicyDocument.Statement.0.Principal", {"AWS": "*"}),
        {},
    ),
    ("no-broad-actions", allow("TickRole", "sns:*", {"Ref": "ResultsTopic"}), {}),
    ("no-broad-resources", allow("TickRole", "sns:Publish", "*"), {}),
    *(("no-broad-resources", allow("RollupRole", "dynamodb:Query", resource), {}) for resource in BROAD),
    (
        "no-managed-policies",
        put("TickRole.Properties.ManagedPolicyArns", ["arn:aws:iam::aws:policy/AmazonKinesisFullAccess"]),
        {},
    ),
    ("api-auth", a_route_for_all, {}),
    ("one-api-stage", cut("RestAPI.Properties.OpenApiVersion"), {}),
    ("throttling", cut("RestAPI.Properties.MethodSettings"), {}),
    ("alarm-errors", cut("IngestErrors"), {}),
    ("alarm-throttles", cut("TickThrottles"), {}),
    ("alarm-time-outs", cut("AuthorizeNearTimeout"), {}),
    ("alarm-time-outs", put("IngestNearTimeout.Properties.Threshold", 60_000), {}),
    ("alarm-iterator-age", cut("RollupBehind"), {}),
    *((f"alarm-{each.name}", cut(logical_id(each.name)), {}) for each in ALARMS),
    ("alarm-no-ticks", put("NoTicks.Properties.TreatMissingData", "notBreaching"), {}),
    ("alarm-dead-letters", an_alarm_without_dimensions("DeadLetters"), {}),
    ("alarm-deliveries-failed", put("DeliveriesFailed.Properties.Dimensions.0.Value", "highwater-dev-results"), {}),
    ("alarm-actions", put("IngestErrors.Properties.ActionsEnabled", False), {}),
    ("alarm-actions", put("IngestErrors.Properties.AlarmActions", []), {}),
    ("alarm-actions", put("AlarmsTopic.Properties.KmsMasterKeyId", "alias/aws/sns"), {}),
    ("somebody-is-told", None, {"AlarmEmail": ""}),
    ("budget", None, {"MonthlyBudgetUSD": "0"}),
    ("dashboard", cut("Dashboard"), {}),
    ("aliases", put("Tick.Properties.AutoPublishAlias", "beta"), {}),
    ("api-alias", api_calls_the_function_itself, {}),
    ("gradual-api", None, {"ApiRelease": "LambdaAllAtOnce"}),
    ("gradual-consumers", None, {"ConsumerRelease": "LambdaAllAtOnce"}),
    ("rollback", None, {"ReleaseWatchesAlarms": "false"}),
    ("asked-first", cut("Ingest.Properties.DeploymentPreference.Hooks"), {}),
]
ONLY_WARNS_IN_DEV = {
    "budget",
    "provisioned-concurrency",
    "reserved-concurrency",
    "somebody-is-told",
    "stream-retention",
}


def amiss(stage):
    return {verdict.check.id for verdict in judge(CHECKS, stage) if not verdict.holds}


def test_every_line_holds_of_the_template_as_it_is(stage_of):
    assert [verdict for verdict in judge(CHECKS, stage_of()) if not verdict.holds] == []


@pytest.mark.parametrize(("check", "change", "parameters"), BROKEN, ids=[each[0] for each in BROKEN])
def test_what_is_broken_fails_its_own_line_and_no_other(stage_of, check, change, parameters):
    assert amiss(stage_of(change or (lambda _template: None), **parameters)) == {check}


def test_every_line_is_broken_by_some_test():
    assert {check for check, _, _ in BROKEN} == {check.id for check in CHECKS}
    assert len(CHECKS) == len({check.id for check in CHECKS})


def bold_alarms():
    """The names that the table of docs/operations.md, "Alarms", has in bold."""
    text = (PROJECT / "docs" / "operations.md").read_text()
    section = text.partition("\n## Alarms\n")[2].partition("\n## ")[0]
    firsts = [row.split("|")[1] for row in section.splitlines() if row.startswith("|")]
    return [
        name for first in firsts for bold in re.findall(r"\*\*(.+?)\*\*", first) for name in re.findall("`(.+?)`", bold)
    ]


def test_no_alarm_can_go_unnoticed_and_none_that_the_handbook_has_in_bold_may_go(stage_of):
    stage = stage_of()
    of_name = {alarm["AlarmName"]: logical_id for logical_id, alarm in stage.of_type(ALARM).items()}
    warned = set()
    for name, gone in of_name.items():
        without = {logical_id: entry for logical_id, entry in stage.resources.items() if logical_id != gone}
        verdicts = judge(CHECKS, replace(stage, resources=without))
        assert [verdict for verdict in verdicts if verdict.findings], name
        if not any(verdict.fails for verdict in verdicts):
            warned.add(name.removeprefix("highwater-prod-"))
    bold = bold_alarms()
    assert len(bold) == len(set(bold)) > 15
    assert {f"highwater-prod-{name}" for name in bold} <= of_name.keys()
    assert not warned & set(bold)
    assert warned == {each.name for each in ALARMS if each.is_comfort}


def test_patterns_within_a_resource_of_the_stage_are_no_finding(stage_of):
    assert amiss(stage_of(both(*(allow("RollupRole", "dynamodb:Query", resource) for resource in NARROW)))) == set()


def test_policies_are_told_by_the_file_that_has_them(stage_of):
    stage = stage_of()
    for name in roles_of_functions(stage):
        assert (PROJECT / policy_file(stage, name)).is_file(), name


def test_a_statement_is_told_by_its_file_and_sid(stage_of):
    change = put("IngestRole.Properties.Policies.0.PolicyDocument.Statement.0.Resource", "*")
    (finding,) = [each for verdict in judge(CHECKS, stage_of(change)) for each in verdict.findings]
    assert finding.where == ".chalice/policies/ingest.json CommitPartialsAndProgress: Resource"


def test_each_parameter_that_a_finding_tells_to_set_is_one_of_the_stack(stage_of):
    told = [check.mend.partition(": ")[2] for check in CHECKS if check.mend.startswith(PARAMETERS)]
    assert {name for each in told for name in each.split(" or ")} <= stage_of().declared.keys()
    assert len(told) > 5


def test_what_nobody_is_woken_for_only_warns_in_dev(stage_of):
    stage = stage_of(
        AlarmEmail="",
        MonthlyBudgetUSD="0",
        ApiProvisionedConcurrency="0",
        ReserveConcurrency="false",
        EventsRetentionHours="24",
    )
    in_prod = {verdict.check.id for verdict in judge(CHECKS, stage) if verdict.fails}
    assert in_prod == ONLY_WARNS_IN_DEV
    assert {check.id for check in CHECKS if "dev" in check.only_warns} == ONLY_WARNS_IN_DEV


def test_a_release_of_consumers_all_at_once_is_a_warning_for_one_that_changes_decisions_has_to_be(stage_of):
    verdicts = judge(CHECKS, stage_of(ConsumerRelease="LambdaAllAtOnce"))
    assert [(each.check.id, each.fails) for each in verdicts if each.findings] == [("gradual-consumers", False)]


def test_in_a_vpc_with_insights_the_managed_policies_that_these_need_are_no_finding(stage_of):
    stage = stage_of(
        LambdaInsightsLayerArn="arn:aws:lambda:us-east-1:580247275435:layer:LambdaInsightsExtension:60",
        VpcSubnetIds="subnet-0123456789abcdef0",
        VpcSecurityGroupIds="sg-0123456789abcdef0",
    )
    assert amiss(stage) == set()


def test_a_finding_says_where_and_what_was_found_and_wanted(stage_of):
    stage = stage_of(mapped("Ingest", "ParallelizationFactor", 10))
    (finding,) = [each for verdict in judge(CHECKS, stage) for each in verdict.findings]
    assert (finding.where, finding.found, finding.wanted) == (
        "IngestIngestKinesisEventSource.ParallelizationFactor",
        "10",
        "1",
    )
