"""What each function has to have: room, time, a place for its logs, a share of the account's concurrency."""

from collections.abc import Iterator

from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource

from chalicelib.aggregates.windows import parse_duration
from chalicelib.errors import SettingError
from chalicelib.settings import read_settings
from ops.package import DEPLOYMENT_BYTES_MAX
from ops.preflight.checklist import LENIENT, Check, Finding, at, differences, each, parameters, show
from ops.preflight.stage import ALIAS, ANY_REGION, API, AUTHORIZER, BUCKET, FUNCTION, HOOK, QUEUE, TOPIC, PackagedStage
from ops.template import references

MEMORY_MB_MIN, MEMORY_MB_MAX = 256, 3_008  # below, imports alone take seconds; above, nothing of ours gets faster
TIMEOUT_S_MAX = 300  # a stream's function that takes longer holds its shard up
API_TIMEOUT_S_MAX = 29  # API Gateway's own time-out of an integration; who asked is gone after it
ACCOUNT_CONCURRENCY = 1_000  # Lambda's default for an account and region
UNRESERVED_MIN = 100  # Lambda lets nobody reserve these
ARCHIVE_BYTES_MAX = {"deployment.zip": DEPLOYMENT_BYTES_MAX, "sketches.zip": 50_000_000}  # the second is Lambda's
RESERVED = ("Ingest", "Capture", "Rollup", "FanOut", API)
ANY_ACCOUNT = "000000000000"  # settings only look at the form
TRACES_HOLD_NO_CONTENT = ("POWERTOOLS_TRACER_CAPTURE_RESPONSE", "POWERTOOLS_TRACER_CAPTURE_ERROR")


def memory(stage: PackagedStage) -> Iterator[Finding]:
    """Memory is set, and within what was measured to be of use."""
    for name, function in stage.of_type(FUNCTION).items():
        megabytes = function.get("MemorySize")
        if not isinstance(megabytes, int) or not MEMORY_MB_MIN <= megabytes <= MEMORY_MB_MAX:
            yield Finding(f"{name}.MemorySize", show(megabytes), f"{MEMORY_MB_MIN}..{MEMORY_MB_MAX}")


def timeout(stage: PackagedStage) -> Iterator[Finding]:
    """Time-outs are set, and none holds a shard up for long."""
    for name, function in stage.of_type(FUNCTION).items():
        seconds = function.get("Timeout")
        if not isinstance(seconds, int) or not 1 <= seconds <= TIMEOUT_S_MAX:
            yield Finding(f"{name}.Timeout", show(seconds), f"1..{TIMEOUT_S_MAX}")


def api_timeout(stage: PackagedStage) -> Iterator[Finding]:
    """What API Gateway waits for ends before it does."""
    for name in (API, AUTHORIZER):
        seconds = stage.properties(name).get("Timeout")
        if not isinstance(seconds, int) or seconds > API_TIMEOUT_S_MAX:
            yield Finding(f"{name}.Timeout", show(seconds), f"at most {API_TIMEOUT_S_MAX}")


def redrive_visibility(stage: PackagedStage) -> Iterator[Finding]:
    """A message comes again only when nobody is at it, and its last try within the id log's horizon."""
    timeout_s = stage.properties("Redrive").get("Timeout")
    queue = stage.properties("RedriveQueue")
    visible_s, tries = queue.get("VisibilityTimeout"), at(queue, "RedrivePolicy.maxReceiveCount")
    if not isinstance(timeout_s, int) or not isinstance(visible_s, int) or visible_s < 2 * timeout_s:
        yield Finding("RedriveQueue.VisibilityTimeout", show(visible_s), f"at least twice {show(timeout_s)}")
        return
    horizon = at(stage.properties("Redrive"), "Environment.Variables.DEDUP_HORIZON") or "15m"
    horizon_s = parse_duration(horizon) // 1000
    if not isinstance(tries, int) or visible_s * (tries - 1) + timeout_s >= horizon_s:
        wanted = f"its last try within DEDUP_HORIZON, {horizon}"
        yield Finding("RedriveQueue.RedrivePolicy.maxReceiveCount", show(tries), wanted)


def log_retention(stage: PackagedStage) -> Iterator[Finding]:
    """The template has each function's log group, and what it keeps ends."""
    groups = {group.get("LogGroupName"): (name, group) for name, group in stage.of_type("AWS::Logs::LogGroup").items()}
    for name, function in stage.of_type(FUNCTION).items():
        logs_to = f"/aws/lambda/{function.get('FunctionName')}"
        logical_id, group = groups.get(logs_to, (name, None))
        if group is None:
            yield Finding(f"{name}.FunctionName", "no log group", logs_to)
        elif group.get("RetentionInDays") != stage.values.get("LogRetentionDays"):
            yield Finding(f"{logical_id}.RetentionInDays", show(group.get("RetentionInDays")), "LogRetentionDays")


def reserved_concurrency(stage: PackagedStage) -> Iterator[Finding]:
    """The functions that carry load have a share of the account's concurrency that is theirs."""
    for name in RESERVED:
        reserved = stage.properties(name).get("ReservedConcurrentExecutions")
        if not isinstance(reserved, int) or reserved < 1:
            yield Finding(f"{name}.ReservedConcurrentExecutions", show(reserved), "at least 1")


def shard_concurrency(stage: PackagedStage) -> Iterator[Finding]:
    """`ingest` may work on all shards at once."""
    reserved = stage.properties("Ingest").get("ReservedConcurrentExecutions")
    shards = stage.properties("EventsStream").get("ShardCount")
    if isinstance(reserved, int) and (not isinstance(shards, int) or reserved < shards):
        yield Finding("Ingest.ReservedConcurrentExecutions", show(reserved), f"at least the {show(shards)} shards")


def account_concurrency(stage: PackagedStage) -> Iterator[Finding]:
    """What is reserved fits in an account as it comes."""
    reserved = [function.get("ReservedConcurrentExecutions") for function in stage.of_type(FUNCTION).values()]
    total = sum(each for each in reserved if isinstance(each, int))
    if total > ACCOUNT_CONCURRENCY - UNRESERVED_MIN:
        where = "the sum of ReservedConcurrentExecutions"
        yield Finding(where, str(total), f"at most {ACCOUNT_CONCURRENCY - UNRESERVED_MIN}")


def provisioned_concurrency(stage: PackagedStage) -> Iterator[Finding]:
    """The API's alias keeps containers warm, and no more than may run."""
    reserved = stage.properties(API).get("ReservedConcurrentExecutions")
    path = "ProvisionedConcurrencyConfig.ProvisionedConcurrentExecutions"
    aliases = [alias for alias in stage.of_type(ALIAS).values() if alias.get("FunctionName") == {"Ref": API}]
    warm = at(aliases[0], path) if aliases else None
    if not isinstance(warm, int) or warm < 1:
        yield Finding(f"the alias of {API}.{path}", show(warm), "at least 1 (ApiProvisionedConcurrency)")
    elif isinstance(reserved, int) and warm > reserved:
        yield Finding(f"the alias of {API}.{path}", show(warm), f"at most the {reserved} that are reserved")


def runtime(stage: PackagedStage) -> Iterator[Finding]:
    """Lambda still supports the runtime. Source: cfn-lint's list of Lambda's runtimes."""
    lifecycle = load_resource(AdditionalSpecs, "LmbdRuntimeLifecycle.json")
    for name, function in stage.of_type(FUNCTION).items():
        known = lifecycle.get(function.get("Runtime"))
        ends = known["deprecated"] if known else "unknown to cfn-lint"
        if not known or ends <= stage.today.isoformat():
            yield Finding(f"{name}.Runtime", f"{show(function.get('Runtime'))} ({ends})", "one that is supported")


def architecture(stage: PackagedStage) -> Iterator[Finding]:
    """All functions run on the one processor that the archives were made for, and the layer is of it."""
    functions = {name: function.get("Architectures") for name, function in stage.of_type(FUNCTION).items()}
    of_ingest = functions.get("Ingest")
    if of_ingest not in (["arm64"], ["x86_64"]):
        yield Finding("Ingest.Architectures", show(of_ingest), "arm64 or x86_64")
    for name, found in functions.items():
        if found != of_ingest:
            yield Finding(f"{name}.Architectures", show(found), show(of_ingest))
    for name, layer in stage.of_type("AWS::Lambda::LayerVersion").items():
        if layer.get("CompatibleArchitectures") != of_ingest:
            found = show(layer.get("CompatibleArchitectures"))
            yield Finding(f"{name}.CompatibleArchitectures", found, show(of_ingest))


def names(stage: PackagedStage) -> Iterator[Finding]:
    """Functions are named by their stage. That they are told it, the package is refused without."""
    for name, function in stage.of_type(FUNCTION).items():
        # CodeDeploy's managed policy may invoke functions of this prefix alone.
        prefix = f"CodeDeployHook_highwater-{stage.name}" if name == HOOK else f"highwater-{stage.name}-"
        if not str(function.get("FunctionName")).startswith(prefix):
            yield Finding(f"{name}.FunctionName", show(function.get("FunctionName")), f"{prefix}…")


def settings(stage: PackagedStage) -> Iterator[Finding]:
    """Each function would start with its environment."""
    for name, function in stage.of_type(FUNCTION).items():
        variables = at(function, "Environment.Variables") or {}
        told = {key: value if isinstance(value, str) else located(stage, value) for key, value in variables.items()}
        try:
            read_settings({**told, "_HANDLER": function.get("Handler", "")})
        except SettingError as error:
            yield Finding(f"{name}.Environment.Variables", str(error), "settings that hold")


def located(stage: PackagedStage, reference: object) -> str:
    """What CloudFormation will say of a bucket, a topic or a queue, in some account; nothing of anything else."""
    for logical_id in references(reference):
        if name := stage.of_type(BUCKET).get(logical_id, {}).get("BucketName"):
            return str(name)
        if name := stage.of_type(TOPIC).get(logical_id, {}).get("TopicName"):
            return f"arn:aws:sns:{ANY_REGION}:{ANY_ACCOUNT}:{name}"
        if name := stage.of_type(QUEUE).get(logical_id, {}).get("QueueName"):
            return f"https://sqs.{ANY_REGION}.amazonaws.com/{ANY_ACCOUNT}/{name}"
    return ""


def traces_without_content(stage: PackagedStage) -> Iterator[Finding]:
    """No trace holds what a function answers, or what an error quotes."""
    for variable in TRACES_HOLD_NO_CONTENT:
        yield from differences(stage.of_type(FUNCTION), f"Environment.Variables.{variable}", "false")


def archive_size(stage: PackagedStage) -> Iterator[Finding]:
    """The archives are there, and within their budgets."""
    if "deployment.zip" not in stage.archive_bytes:
        yield Finding("deployment.zip", "not beside the template", "the functions' code")
    for name, size in stage.archive_bytes.items():
        if size > ARCHIVE_BYTES_MAX.get(name, 0):
            yield Finding(name, f"{size:,} bytes", f"at most {ARCHIVE_BYTES_MAX.get(name, 0):,}")


CHECKS = (
    Check(
        "memory",
        "Memory is set",
        "it is the share of a processor, too: too little is slow, too much only costs",
        memory,
    ),
    Check("timeout", "Time-outs are set", "a shard waits for as long as an invocation hangs", timeout),
    Check("api-timeout", "The API answers before API Gateway gives up", "who asked is gone after 29 s", api_timeout),
    Check(
        "redrive-visibility",
        "A redrive is not begun a second time while it runs",
        "what is sent again after the id log has forgotten it counts twice",
        redrive_visibility,
    ),
    Check(
        "log-retention",
        "Logs are kept for a while",
        "groups that Lambda makes by itself keep them for ever",
        log_retention,
    ),
    Check(
        "tracing",
        "Functions are traced",
        "without a trace nobody sees which call was slow",
        each(FUNCTION, "TracingConfig.Mode", "Active"),
    ),
    Check(
        "traces-without-content",
        "Traces hold no content",
        "events and tokens do not belong in them",
        traces_without_content,
    ),
    Check(
        "reserved-concurrency",
        "Concurrency is reserved",
        "another function of the account could take it all, and shards would stand still",
        reserved_concurrency,
        only_warns=LENIENT,
        mend=parameters("ReserveConcurrency"),
    ),
    Check(
        "shard-concurrency",
        "Ingest has a place for each shard",
        "the shards beyond it would be throttled",
        shard_concurrency,
        mend=parameters("IngestConcurrency", "EventsShardCount"),
    ),
    Check(
        "account-concurrency",
        "What is reserved fits in an account",
        "a stack that reserves more than there is fails midway",
        account_concurrency,
        mend=parameters("IngestConcurrency", "StreamConcurrency", "ApiConcurrency"),
    ),
    Check(
        "provisioned-concurrency",
        "The API has warm containers",
        "who asks first after a quiet minute waits for a cold start",
        provisioned_concurrency,
        only_warns=LENIENT,
        mend=parameters("ApiProvisionedConcurrency", "ApiConcurrency"),
    ),
    Check(
        "runtime",
        "The runtime is supported",
        "functions of a deprecated one cannot be mended any more",
        runtime,
        mend="PYTHON of make setup, with which packages are made",
    ),
    Check(
        "architecture",
        "One processor for all",
        "wheels of another one do not load",
        architecture,
        mend=".chalice/config.json: lambda_architecture; then make package",
    ),
    Check("stage-names", "Functions are named by their stage", "two stages of an account would be one", names),
    Check(
        "settings",
        "Settings hold",
        "functions with a bad one do not start",
        settings,
        mend=".chalice/config.json: environment_variables; .chalice/resources.yaml: those that name resources",
    ),
    Check(
        "archive-size",
        "Archives are within their budget",
        "start-up time grows with them",
        archive_size,
        mend="requirements.txt, then make package",
    ),
)
