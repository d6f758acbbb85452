"""Whether a stage that runs is what its package says: what AWS answers about it, held against the package.

The package is held against the checklist by itself, so what is wanted here is what stands there. Names are the
package's own; nothing is written.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import INVALID_CREDENTIALS
from ops.preflight.checklist import Finding, Line, Verdict, at, show
from ops.preflight.data import BLOCKED
from ops.preflight.mappings import QUEUES, STREAMS, of_function
from ops.preflight.stage import ALARM, ALIAS, BUCKET, FUNCTION, LIVE, QUEUE, STREAM, TABLE, PackagedStage, Properties

# What an emulator says of an operation that it does not have.
NOT_KNOWN = {"InvalidAction", "NotImplemented", "UnknownOperation", "UnknownOperationException", "501"}
NOT_SET = {"NoSuchPublicAccessBlockConfiguration", "ServerSideEncryptionConfigurationNotFoundError"}
NAMES = ("FunctionName", "TableName", "BucketName", "QueueName", "LogGroupName", "Name")
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


@dataclass(frozen=True, slots=True)
class LiveStage:
    """A stage that runs. Shapes: client, by a service's name, what asks it."""

    packaged: PackagedStage
    client: Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class LiveCheck(Line):
    """A line about a stage that runs.

    Shapes: subjects, what is looked at, by name; find, what is amiss with one, which may raise what botocore raises.
    """

    subjects: Callable[[PackagedStage], Mapping[str, Any]]
    find: Callable[[LiveStage, str, Any], Iterator[Finding]]
    mend: str = field(default="whatever was changed by hand, back; or make deploy", kw_only=True)


def judge(live: LiveStage) -> list[Verdict]:
    """Hold a stage that runs against its package.

    Raises: BotoCoreError, ClientError when AWS cannot be asked at all; what it does not know makes a line unknown, and
            what it does not find, or does not let us see, is a finding.
    """
    return [_verdict(check, live) for check in CHECKS]


def of_type(kind: str) -> Callable[[PackagedStage], Mapping[str, Any]]:
    """The resources of a type are looked at, each."""
    return lambda packaged: packaged.of_type(kind)


def consumers(packaged: PackagedStage) -> Mapping[str, Any]:
    """The functions that mappings invoke."""
    return {name: packaged.properties(name) for name in STREAMS | QUEUES}


def function(live: LiveStage, name: str, wanted: Properties) -> Iterator[Finding]:
    """A function is configured as packaged, and ready."""
    found = live.client("lambda").get_function_configuration(FunctionName=wanted["FunctionName"])
    for path in CONFIGURATION:
        yield from _difference(f"{name}.{path}", at(found, path), at(wanted, path))
    yield from _difference(f"{name}.State", found.get("State", "Active"), "Active")


def concurrency(live: LiveStage, name: str, wanted: Properties) -> Iterator[Finding]:
    """As much concurrency is reserved as packaged."""
    answer = live.client("lambda").get_function_concurrency(FunctionName=wanted["FunctionName"])
    path = "ReservedConcurrentExecutions"
    yield from _difference(f"{name}.{path}", answer.get(path), wanted.get(path))


def alias(live: LiveStage, logical_id: str, wanted: Properties) -> Iterator[Finding]:
    """An alias is there, nothing is half shifted, and warm containers are ready."""
    client = live.client("lambda")
    function_name = live.packaged.properties(wanted["FunctionName"]["Ref"])["FunctionName"]
    found = client.get_alias(FunctionName=function_name, Name=LIVE)
    if shifting := at(found, "RoutingConfig.AdditionalVersionWeights"):
        yield Finding(f"{logical_id}.RoutingConfig", show(shifting), "one version")
    if wanted.get("ProvisionedConcurrencyConfig"):
        warm = client.get_provisioned_concurrency_config(FunctionName=function_name, Qualifier=LIVE)
        yield from _difference(f"{logical_id}.ProvisionedConcurrencyConfig", warm.get("Status"), "READY")


def mapping(live: LiveStage, name: str, function: Properties) -> Iterator[Finding]:
    """A function's mapping has the options that were packaged, and is enabled."""
    there = [
        mapping
        for target in (f"{function['FunctionName']}:{LIVE}", function["FunctionName"])
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


def logs(live: LiveStage, logical_id: str, wanted: Properties) -> Iterator[Finding]:
    """A log group ends what it keeps, as packaged."""
    name = wanted["LogGroupName"]
    groups = live.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    days = [group.get("retentionInDays") for group in groups if group["logGroupName"] == name]
    found = days[0] if days else "not there"
    yield from _difference(f"{logical_id}.RetentionInDays", found, wanted.get("RetentionInDays"))


def alarms(live: LiveStage, _name: str, wanted_alarms: Mapping[str, Properties]) -> Iterator[Finding]:
    """Each packaged alarm is there, and does something. They are asked for at once: there are many."""
    pages = live.client("cloudwatch").get_paginator("describe_alarms").paginate()
    there = {alarm["AlarmName"]: alarm for page in pages for alarm in page["MetricAlarms"]}
    for logical_id, wanted in wanted_alarms.items():
        found = there.get(wanted.get("AlarmName"))
        if found is None:
            yield Finding(logical_id, "not there", show(wanted.get("AlarmName")))
        elif not found.get("ActionsEnabled") or not found.get("AlarmActions"):
            yield Finding(f"{logical_id}.AlarmActions", "disabled, or none", "a topic")


def table(live: LiveStage, logical_id: str, wanted: Properties) -> Iterator[Finding]:
    """A table is encrypted, can be restored and expires items, as packaged."""
    client, name = live.client("dynamodb"), wanted["TableName"]
    described = client.describe_table(TableName=name)["Table"]
    yield from _difference(f"{logical_id}.SSESpecification", at(described, "SSEDescription.Status"), "ENABLED")
    backups = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    status = at(backups, "PointInTimeRecoveryDescription.PointInTimeRecoveryStatus")
    yield from _difference(f"{logical_id}.PointInTimeRecovery", status, "ENABLED")
    if attribute := at(wanted, "TimeToLiveSpecification.AttributeName"):
        expiry = client.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
        found = {key: expiry.get(key) for key in ("TimeToLiveStatus", "AttributeName")}
        expected = {"TimeToLiveStatus": "ENABLED", "AttributeName": attribute}
        yield from _difference(f"{logical_id}.TimeToLive", found, expected)


def stream(live: LiveStage, logical_id: str, wanted: Properties) -> Iterator[Finding]:
    """The stream is encrypted, and keeps events as long as packaged."""
    answer = live.client("kinesis").describe_stream_summary(StreamName=wanted["Name"])
    found = answer["StreamDescriptionSummary"]
    yield from _difference(f"{logical_id}.StreamEncryption", found.get("EncryptionType"), "KMS")
    hours = wanted.get("RetentionPeriodHours")
    yield from _difference(f"{logical_id}.RetentionPeriodHours", found.get("RetentionPeriodHours"), hours)


def bucket(live: LiveStage, logical_id: str, wanted: Properties) -> Iterator[Finding]:
    """A bucket is closed, keeps versions and encrypts."""
    client, name = live.client("s3"), wanted["BucketName"]
    where = f"{logical_id} ({name})"
    blocked = _set(lambda: client.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"])
    for setting in BLOCKED:
        yield from _difference(f"{where}: {setting}", at(blocked, setting), True)
    yield from _difference(f"{where}: Versioning", client.get_bucket_versioning(Bucket=name).get("Status"), "Enabled")
    encryption = _set(lambda: client.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"])
    algorithm = at(encryption, "Rules.0.ApplyServerSideEncryptionByDefault.SSEAlgorithm")
    yield from _difference(f"{where}: Encryption", algorithm, "aws:kms")


def queue(live: LiveStage, logical_id: str, wanted: Properties) -> Iterator[Finding]:
    """A queue is encrypted."""
    client = live.client("sqs")
    url = client.get_queue_url(QueueName=wanted["QueueName"])["QueueUrl"]
    names = ["SqsManagedSseEnabled", "KmsMasterKeyId"]
    found = client.get_queue_attributes(QueueUrl=url, AttributeNames=names).get("Attributes", {})
    if found.get("SqsManagedSseEnabled") != "true" and not found.get("KmsMasterKeyId"):
        yield Finding(f"{logical_id}.SqsManagedSseEnabled", show(found.get("SqsManagedSseEnabled")), "true")


def _verdict(check: LiveCheck, live: LiveStage) -> Verdict:
    findings: list[Finding] = []
    for name, wanted in check.subjects(live.packaged).items():
        try:
            findings.extend(check.find(live, name, wanted))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if code in NOT_KNOWN or status == HTTPStatus.NOT_IMPLEMENTED:
                return Verdict(check, unknown=f"{error.operation_name} is not known here")
            if code in INVALID_CREDENTIALS:
                raise
            findings.append(Finding(_named(name, wanted), f"{code}, asked by {error.operation_name}", "an answer"))
    return Verdict(check, tuple(findings))


def _named(name: str, wanted: Properties) -> str:
    """What is looked at, as AWS knows it too."""
    called = next((wanted[key] for key in NAMES if isinstance(wanted.get(key), str)), "")
    return f"{name} ({called})" if called else name


def _set(ask: Callable[[], Any]) -> Any:
    """A configuration of a bucket; None where there is none, which S3 says by an error."""
    try:
        return ask()
    except ClientError as error:
        if error.response["Error"]["Code"] in NOT_SET:
            return None
        raise


def _difference(where: str, found: Any, wanted: Any) -> Iterator[Finding]:
    if found != wanted:
        yield Finding(where, show(found), show(wanted))


CHECKS = (
    LiveCheck(
        "live-functions", "Functions run as packaged", "somebody changed one by hand", of_type(FUNCTION), function
    ),
    LiveCheck(
        "live-concurrency",
        "Concurrency is reserved as packaged",
        "shards or callers wait",
        of_type(FUNCTION),
        concurrency,
    ),
    LiveCheck("live-aliases", "Aliases are settled and warm", "a deployment hangs half way", of_type(ALIAS), alias),
    LiveCheck(
        "live-mappings", "Mappings are as packaged, and enabled", "counts stand on these options", consumers, mapping
    ),
    LiveCheck("live-logs", "Logs end as packaged", "they cost for ever", of_type("AWS::Logs::LogGroup"), logs),
    LiveCheck(
        "live-alarms",
        "Alarms are there, and act",
        "somebody silenced one and forgot",
        lambda packaged: {"alarms": packaged.of_type(ALARM)},
        alarms,
    ),
    LiveCheck(
        "live-tables",
        "Tables are encrypted, restorable, expiring",
        "a wrong deployment could not be undone",
        of_type(TABLE),
        table,
    ),
    LiveCheck(
        "live-stream",
        "The stream is encrypted and keeps events",
        "a shard that cannot commit waits within the retention",
        of_type(STREAM),
        stream,
    ),
    LiveCheck(
        "live-buckets",
        "Buckets are closed, versioned, encrypted",
        "dead letters are whole events",
        of_type(BUCKET),
        bucket,
    ),
    LiveCheck("live-queues", "Queues are encrypted", "messages name what was in dead letters", of_type(QUEUE), queue),
)
