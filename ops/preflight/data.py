"""What keeps data: encryption, who may reach it and how, and what is still there after a mistake."""

from collections.abc import Iterator, Mapping
from typing import Any

from ops.preflight.checklist import LENIENT, Check, Finding, at, differences, each, parameters, show
from ops.preflight.stage import BUCKET, QUEUE, STREAM, TABLE, TOPIC, PackagedStage
from ops.template import references

EXPIRES = {"AggregatesTable": "expires_at", "IdsTable": "expires_at", "IdempotencyTable": "expiration"}
TABLES_KEPT = ("AggregatesTable", "IdsTable", "IdempotencyTable", "OrdersTable")
KEPT = ("EventsStream", *TABLES_KEPT, "DeadLettersBucket", "ApiTokens")
POLICY_OF = {  # by type, the type of the policy that says who may use it, and the property that names it
    BUCKET: ("AWS::S3::BucketPolicy", "Bucket"),
    QUEUE: ("AWS::SQS::QueuePolicy", "Queues"),
    TOPIC: ("AWS::SNS::TopicPolicy", "Topics"),
}
BLOCKED = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
STREAM_HOURS_MIN = 72  # a shard that cannot commit waits within the retention: a weekend
FIRST_SECRET = '{"tokens": []}'  # noqa: S105 (no token, but that there is none)
TAGGED = (STREAM, TABLE, TOPIC, QUEUE, BUCKET, "AWS::Lambda::Function", "AWS::SecretsManager::Secret")
TAGS = ("application", "stage", "cost-center")


def topic_encryption(stage: PackagedStage) -> Iterator[Finding]:
    """Every topic has a key."""
    for logical_id, topic in stage.of_type(TOPIC).items():
        if not topic.get("KmsMasterKeyId"):
            yield Finding(f"{logical_id}.KmsMasterKeyId", "not set", "a key")


def queue_encryption(stage: PackagedStage) -> Iterator[Finding]:
    """Every queue is encrypted, by SQS's own key or another."""
    for logical_id, queue in stage.of_type(QUEUE).items():
        if queue.get("SqsManagedSseEnabled") is not True and not queue.get("KmsMasterKeyId"):
            yield Finding(f"{logical_id}.SqsManagedSseEnabled", show(queue.get("SqsManagedSseEnabled")), "true")


def tls_only(stage: PackagedStage) -> Iterator[Finding]:
    """Who comes without TLS is refused, by the policy of each bucket, queue and topic."""
    for kind, (policy_kind, names) in POLICY_OF.items():
        policies = stage.of_type(policy_kind).values()
        guarded = {
            target
            for policy in policies
            if any(map(refuses_plain_text, at(policy, "PolicyDocument.Statement") or []))
            for target in references(policy.get(names))
        }
        for logical_id in stage.of_type(kind):
            if logical_id not in guarded:
                yield Finding(logical_id, "no policy", "Deny where aws:SecureTransport is false")


def refuses_plain_text(statement: Mapping[str, Any]) -> bool:
    """Whether a statement denies everybody what comes without TLS."""
    return (
        statement.get("Effect") == "Deny"
        and statement.get("Principal") in ("*", {"AWS": "*"})
        and str(at(statement, "Condition.Bool.aws:SecureTransport")).lower() == "false"
    )


def public_access(stage: PackagedStage) -> Iterator[Finding]:
    """No bucket can be made public."""
    for setting in BLOCKED:
        yield from differences(stage.of_type(BUCKET), f"PublicAccessBlockConfiguration.{setting}", True)


def bucket_encryption(stage: PackagedStage) -> Iterator[Finding]:
    """Every bucket encrypts by KMS, with a key of its own so that it does not ask KMS for each object."""
    rule = "BucketEncryption.ServerSideEncryptionConfiguration.0"
    path = f"{rule}.ServerSideEncryptionByDefault.SSEAlgorithm"
    yield from differences(stage.of_type(BUCKET), path, "aws:kms")
    yield from differences(stage.of_type(BUCKET), f"{rule}.BucketKeyEnabled", True)


def old_versions(stage: PackagedStage) -> Iterator[Finding]:
    """What was overwritten or deleted goes for good after a while."""
    for logical_id, bucket in stage.of_type(BUCKET).items():
        rules = at(bucket, "LifecycleConfiguration.Rules") or []
        enabled = [rule for rule in rules if rule.get("Status") == "Enabled"]
        if not any("NoncurrentVersionExpiration" in rule for rule in enabled):
            yield Finding(f"{logical_id}.LifecycleConfiguration", show(rules), "an end for old versions")


def time_to_live(stage: PackagedStage) -> Iterator[Finding]:
    """Items whose time is over go by themselves."""
    for name, attribute in EXPIRES.items():
        table = {name: stage.properties(name)}
        wanted = {"AttributeName": attribute, "Enabled": True}
        yield from differences(table, "TimeToLiveSpecification", wanted)


def kept(stage: PackagedStage) -> Iterator[Finding]:
    """What cannot be made anew outlives its stack, and an update that would replace it."""
    for name in KEPT:
        for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
            found = stage.resources.get(name, {}).get(policy)
            if found not in ("Retain", "RetainExceptOnCreate"):
                yield Finding(f"{name}.{policy}", show(found), "Retain")


def stream_retention(stage: PackagedStage) -> Iterator[Finding]:
    """The stream keeps events for longer than a weekend."""
    hours = stage.properties("EventsStream").get("RetentionPeriodHours")
    if not isinstance(hours, int) or hours < STREAM_HOURS_MIN:
        yield Finding("EventsStream.RetentionPeriodHours", show(hours), f"at least {STREAM_HOURS_MIN}")


def table_streams(stage: PackagedStage) -> Iterator[Finding]:
    """Each table's stream carries what its consumers need, and no more."""
    for name, wanted in (("AggregatesTable", "KEYS_ONLY"), ("OrdersTable", "NEW_AND_OLD_IMAGES")):
        yield from differences({name: stage.properties(name)}, "StreamSpecification.StreamViewType", wanted)


def secret(stage: PackagedStage) -> Iterator[Finding]:
    """The secret begins without tokens, and always with the same text."""
    yield from differences({"ApiTokens": stage.properties("ApiTokens")}, "SecretString", FIRST_SECRET)


def tags(stage: PackagedStage) -> Iterator[Finding]:
    """What costs says whose it is."""
    for kind in TAGGED:
        for logical_id, properties in stage.of_type(kind).items():
            found = properties.get("Tags") or []
            keys = found.keys() if isinstance(found, Mapping) else {tag.get("Key") for tag in found}
            if missing := [tag for tag in TAGS if tag not in keys]:
                yield Finding(f"{logical_id}.Tags", f"without {', '.join(missing)}", ", ".join(TAGS))


CHECKS = (
    Check(
        "stream-encryption",
        "The stream is encrypted",
        "events are people's orders",
        each(STREAM, "StreamEncryption.EncryptionType", "KMS"),
    ),
    Check(
        "table-encryption",
        "Tables are encrypted by KMS",
        "with DynamoDB's own key nobody can see who used it",
        each(TABLE, "SSESpecification.SSEEnabled", True),
    ),
    Check("topic-encryption", "Topics are encrypted", "results hold revenue", topic_encryption),
    Check("queue-encryption", "Queues are encrypted", "as topics", queue_encryption),
    Check("bucket-encryption", "The bucket is encrypted by KMS", "dead letters are whole events", bucket_encryption),
    Check("tls-only", "TLS only", "nobody on the way reads along", tls_only),
    Check(
        "public-access", "No public access to the bucket", "one wrong policy would publish whole events", public_access
    ),
    Check(
        "versioning",
        "The bucket keeps versions",
        "what is overwritten or deleted by mistake can be had back",
        each(BUCKET, "VersioningConfiguration.Status", "Enabled"),
    ),
    Check("old-versions", "Old versions end", "they cost, and are data that was to be gone", old_versions),
    Check(
        "point-in-time-recovery",
        "Tables can be restored to a second",
        "a wrong deployment can be undone",
        each(TABLE, "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled", True),
    ),
    Check("time-to-live", "Items expire", "storage and queries would grow for ever", time_to_live),
    Check(
        "on-demand",
        "Tables are on demand",
        "provisioned ones throttle a burst, and shards wait",
        each(TABLE, "BillingMode", "PAY_PER_REQUEST"),
    ),
    Check(
        "table-streams",
        "Tables' streams carry what is read",
        "a change takes both images; keys alone are cheap",
        table_streams,
    ),
    Check("kept", "Data outlives the stack", "a deleted stack, or a replaced table, would take it along", kept),
    Check(
        "stream-retention",
        "The stream keeps events over a weekend",
        "a shard that cannot commit waits within the retention",
        stream_retention,
        only_warns=LENIENT,
        mend=parameters("EventsRetentionHours"),
    ),
    Check("secret-is-empty", "The secret begins empty", "another text would be written over the tokens", secret),
    Check("tags", "What costs is tagged", "the bill says then whose it is", tags),
)
