"""Whether a stage that runs is what its package says: what AWS answers about it, held against the package.

The package is held against the checklist by itself, so what is wanted here is what stands there. Names are the
package's own; nothing is written.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ops.preflight.checklist import Finding, Line, Verdict, at, show
from ops.preflight.mappings import QUEUES, STREAMS, of_function
from ops.preflight.stage import ALARM, ALIAS, BUCKET, FUNCTION, QUEUE, STREAM, TABLE, PackagedStage

# What an emulator says of an operation that it does not have.
NOT_KNOWN = {"InvalidAction", "NotImplemented", "UnknownOperation", "UnknownOperationException", "501"}
CONFIGURATION = ("MemorySize", "Timeout", "Runtime", "Architectures", "TracingConfig.Mode")
OPTIONS = (
    "BatchSize",
    "MaximumBatchingWindowInSeconds",
    "ParallelizationFactor",
    "FunctionResponseTypes",
    "BisectBatchOnFunctionError",
    "MaximumRetryAttempts",
    "MaximumRecordAgeInSeconds",
    "StartingPosition",
)
LIVE = "live"


@dataclass(frozen=True, slots=True)
class LiveStage:
    """A stage that runs. Shapes: client, by a service's name, what asks it."""

    packaged: PackagedStage
    client: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class LiveCheck(Line):
    """A line about a stage that runs; `find` asks AWS, and so may raise what botocore raises."""

    find: Callable[[LiveStage], Iterator[Finding]]


def judge(live: LiveStage) -> list[Verdict]:
    """Hold a stage that runs against its package.

    Raises: BotoCoreError, ClientError when AWS cannot be asked at all; what it does not know makes a line unknown, and
            what it does not find, or does not let us see, is a finding.
    """
    return [_verdict(check, live) for check in CHECKS]


def functions(live: LiveStage) -> Iterator[Finding]:
    """Functions are configured as packaged, and ready."""
    for name, wanted in live.packaged.of_type(FUNCTION).items():
        found = live.client("lambda").get_function_configuration(FunctionName=wanted["FunctionName"])
        for path in CONFIGURATION:
            yield from _difference(f"{name}.{path}", at(found, path), at(wanted, path))
        yield from _difference(f"{name}.State", found.get("State", "Active"), "Active")


def concurrency(live: LiveStage) -> Iterator[Finding]:
    """As much concurrency is reserved as packaged."""
    for name, wanted in live.packaged.of_type(FUNCTION).items():
        answer = live.client("lambda").get_function_concurrency(FunctionName=wanted["FunctionName"])
        path = "ReservedConcurrentExecutions"
        yield from _difference(f"{name}.{path}", answer.get(path), wanted.get(path))


def aliases(live: LiveStage) -> Iterator[Finding]:
    """Aliases are there, nothing is half shifted, and warm containers are ready."""
    client = live.client("lambda")
    functions_of = live.packaged.of_type(FUNCTION)
    for logical_id, wanted in live.packaged.of_type(ALIAS).items():
        function = functions_of[wanted["FunctionName"]["Ref"]]["FunctionName"]
        found = client.get_alias(FunctionName=function, Name=LIVE)
        if shifting := at(found, "RoutingConfig.AdditionalVersionWeights"):
            yield Finding(f"{logical_id}.RoutingConfig", show(shifting), "one version")
        if wanted.get("ProvisionedConcurrencyConfig"):
            warm = client.get_provisioned_concurrency_config(FunctionName=function, Qualifier=LIVE)
            yield from _difference(f"{logical_id}.ProvisionedConcurrencyConfig", warm.get("Status"), "READY")


def mappings(live: LiveStage) -> Iterator[Finding]:
    """Each mapping has the options that were packaged, and is enabled."""
    for name in STREAMS | QUEUES:
        function = live.packaged.properties(name)["FunctionName"]
        there = [
            mapping
            for target in (f"{function}:{LIVE}", function)
            for mapping in live.client("lambda").list_event_source_mappings(FunctionName=target)["EventSourceMappings"]
        ]
        by_id = {mapping["UUID"]: mapping for mapping in there}
        for wanted in of_function(live.packaged, name).values():
            if len(by_id) != 1:
                yield Finding(f"{name}: event source mappings", str(len(by_id)), "1")
                continue
            (found,) = by_id.values()
            for option in OPTIONS:
                if option in wanted:
                    yield from _difference(f"{name}: {option}", found.get(option), wanted[option])
            yield from _difference(f"{name}: State", found.get("State"), "Enabled")
            if name in STREAMS and not at(found, "DestinationConfig.OnFailure.Destination"):
                yield Finding(f"{name}: DestinationConfig.OnFailure", "not set", "the dead letters bucket")


def logs(live: LiveStage) -> Iterator[Finding]:
    """Log groups end what they keep, as packaged."""
    for logical_id, wanted in live.packaged.of_type("AWS::Logs::LogGroup").items():
        name = wanted["LogGroupName"]
        groups = live.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
        days = [group.get("retentionInDays") for group in groups if group["logGroupName"] == name]
        found = days[0] if days else "not there"
        yield from _difference(f"{logical_id}.RetentionInDays", found, wanted.get("RetentionInDays"))


def alarms(live: LiveStage) -> Iterator[Finding]:
    """Each packaged alarm is there, and does something."""
    pages = live.client("cloudwatch").get_paginator("describe_alarms").paginate()
    there = {alarm["AlarmName"]: alarm for page in pages for alarm in page["MetricAlarms"]}
    for logical_id, wanted in live.packaged.of_type(ALARM).items():
        found = there.get(wanted.get("AlarmName"))
        if found is None:
            yield Finding(logical_id, "not there", show(wanted.get("AlarmName")))
        elif not found.get("ActionsEnabled") or not found.get("AlarmActions"):
            yield Finding(f"{logical_id}.AlarmActions", "disabled, or none", "a topic")


def tables(live: LiveStage) -> Iterator[Finding]:
    """Tables are encrypted, can be restored and expire items, as packaged."""
    client = live.client("dynamodb")
    for logical_id, wanted in live.packaged.of_type(TABLE).items():
        name = wanted["TableName"]
        table = client.describe_table(TableName=name)["Table"]
        yield from _difference(f"{logical_id}.SSESpecification", at(table, "SSEDescription.Status"), "ENABLED")
        backups = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
        status = at(backups, "PointInTimeRecoveryDescription.PointInTimeRecoveryStatus")
        yield from _difference(f"{logical_id}.PointInTimeRecovery", status, "ENABLED")
        if attribute := at(wanted, "TimeToLiveSpecification.AttributeName"):
            expiry = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
            found = {key: expiry.get(key) for key in ("TimeToLiveStatus", "AttributeName")}
            expected = {"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}
            yield from _difference(f"{logical_id}.TimeToLive", found, expected)


def stream(live: LiveStage) -> Iterator[Finding]:
    """The stream is encrypted, and keeps events as long as packaged."""
    for logical_id, wanted in live.packaged.of_type(STREAM).items():
        answer = live.client("kinesis").describe_stream_summary(StreamName=wanted["Name"])
        found = answer["StreamDescriptionSummary"]
        yield from _difference(f"{logical_id}.StreamEncryption", found.get("EncryptionType"), "KMS")
        hours = wanted.get("RetentionPeriodHours")
        yield from _difference(f"{logical_id}.RetentionPeriodHours", found.get("RetentionPeriodHours"), hours)


def buckets(live: LiveStage) -> Iterator[Finding]:
    """Buckets are closed, keep versions and encrypt."""
    client = live.client("s3")
    for logical_id, wanted in live.packaged.of_type(BUCKET).items():
        name = wanted["BucketName"]
        blocked = client.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
        for setting, is_set in blocked.items():
            yield from _difference(f"{logical_id}.{setting}", is_set, True)
        yield from _difference(
            f"{logical_id}.Versioning", client.get_bucket_versioning(Bucket=name).get("Status"), "Enabled"
        )
        rules = client.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
        algorithm = at(rules, "0.ApplyServerSideEncryptionByDefault.SSEAlgorithm")
        yield from _difference(f"{logical_id}.Encryption", algorithm, "aws:kms")


def queues(live: LiveStage) -> Iterator[Finding]:
    """Queues are encrypted."""
    client = live.client("sqs")
    for logical_id, wanted in live.packaged.of_type(QUEUE).items():
        url = client.get_queue_url(QueueName=wanted["QueueName"])["QueueUrl"]
        names = ["SqsManagedSseEnabled", "KmsMasterKeyId"]
        found = client.get_queue_attributes(QueueUrl=url, AttributeNames=names).get("Attributes", {})
        if found.get("SqsManagedSseEnabled") != "true" and not found.get("KmsMasterKeyId"):
            yield Finding(f"{logical_id}.SqsManagedSseEnabled", show(found.get("SqsManagedSseEnabled")), "true")


def _verdict(check: LiveCheck, live: LiveStage) -> Verdict:
    findings: list[Finding] = []
    try:
        findings.extend(check.find(live))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in NOT_KNOWN or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 501:  # noqa: PLR2004
            return Verdict(check, unknown=f"{error.operation_name} is not known here")
        findings.append(Finding(error.operation_name, code, "an answer"))
    return Verdict(check, tuple(findings))


def _difference(where: str, found: Any, wanted: Any) -> Iterator[Finding]:
    if found != wanted:
        yield Finding(where, show(found), show(wanted))


CHECKS = (
    LiveCheck("live-functions", "Functions run as packaged", "somebody changed one by hand", functions),
    LiveCheck("live-concurrency", "Concurrency is reserved as packaged", "shards or callers wait", concurrency),
    LiveCheck("live-aliases", "Aliases are settled and warm", "a deployment hangs half way", aliases),
    LiveCheck("live-mappings", "Mappings are as packaged, and enabled", "counts stand on these options", mappings),
    LiveCheck("live-logs", "Logs end as packaged", "they cost for ever", logs),
    LiveCheck("live-alarms", "Alarms are there, and act", "somebody silenced one and forgot", alarms),
    LiveCheck("live-tables", "Tables are encrypted, restorable, expiring", "as for the package", tables),
    LiveCheck("live-stream", "The stream is encrypted and keeps events", "as for the package", stream),
    LiveCheck("live-buckets", "Buckets are closed, versioned, encrypted", "as for the package", buckets),
    LiveCheck("live-queues", "Queues are encrypted", "as for the package", queues),
)
