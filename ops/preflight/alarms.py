"""Which alarms there have to be: those of each function, and those that are declared here one by one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.telemetry import NAMESPACE, SERVICE
from ops.preflight.checklist import EVERYWHERE, RESOURCES, Check, Find, Finding, at, show
from ops.preflight.mappings import STREAMS
from ops.preflight.stage import ALARM, AUTHORIZER, FUNCTION, HOOK, PackagedStage, Properties

TICK = "Tick"
API_STAGE = "api"  # api_gateway_stage in .chalice/config.json
# An error is how the authorizer says 401, and the hook's fails its deployment: neither is for an alarm.
ERRORS_ARE_ANSWERS = (AUTHORIZER, HOOK)
OF_STAGE = {"service": SERVICE, "stage": "{stage}"}
OF_API = {"ApiName": "highwater-{stage}", "Stage": API_STAGE}


def alarms_of(stage: PackagedStage, namespace: str, metric: str) -> dict[str, Properties]:
    """The alarms that look at a metric, alone or within an expression."""
    return {
        logical_id: alarm
        for logical_id, alarm in stage.of_type(ALARM).items()
        if any(each.get("Namespace") == namespace and each.get("MetricName") == metric for each in _looked_at(alarm))
    }


def dimensions_of(alarm: Properties, metric: str) -> list[dict[str, Any]]:
    """The dimensions under which an alarm looks at a metric."""
    return [
        {dimension["Name"]: dimension["Value"] for dimension in each.get("Dimensions", [])}
        for each in _looked_at(alarm)
        if each.get("MetricName") == metric
    ]


def _looked_at(alarm: Properties) -> Iterator[Mapping[str, Any]]:
    yield alarm
    for query in alarm.get("Metrics", []):
        yield at(query, "MetricStat.Metric") or {}


def of_each_function(metric: str, spared: tuple[str, ...], names: tuple[str, ...] = ()) -> Find:
    """Every function but the spared ones, or each that is named, has an alarm on a metric of Lambda's."""

    def find(stage: PackagedStage) -> Iterator[Finding]:
        watched = [
            dimensions.get("FunctionName")
            for alarm in alarms_of(stage, "AWS/Lambda", metric).values()
            for dimensions in dimensions_of(alarm, metric)
        ]
        for name, function in stage.of_type(FUNCTION).items():
            is_asked_for = name in names if names else name not in spared
            if is_asked_for and {"Ref": name} not in watched and function.get("FunctionName") not in watched:
                mend = f"{RESOURCES}: an alarm on {metric} of {show(function.get('FunctionName'))}"
                yield Finding(name, "no alarm", f"an alarm on {metric}", mend)

    return find


def time_outs(stage: PackagedStage) -> Iterator[Finding]:
    """Every function has an alarm that is raised before its time is up, but for the tick, which uses its minute up."""
    yield from of_each_function("Duration", (TICK, HOOK))(stage)
    functions = {function.get("FunctionName"): function for function in stage.of_type(FUNCTION).values()}
    for logical_id, alarm in alarms_of(stage, "AWS/Lambda", "Duration").items():
        for dimensions in dimensions_of(alarm, "Duration"):
            timeout_ms = 1000 * functions.get(dimensions.get("FunctionName"), {}).get("Timeout", 0)
            threshold_ms = alarm.get("Threshold")
            if not isinstance(threshold_ms, int) or threshold_ms >= timeout_ms:
                yield Finding(f"{logical_id}.Threshold", show(threshold_ms), f"less than {timeout_ms}")


@dataclass(frozen=True, slots=True)
class Watched:
    """An alarm that has to be there, and what it is on.

    Shapes: name, after `highwater-{stage}-`; title and why, as those of a line; dimensions, all of them, with `{stage}`
            in their values; is_comfort, whether nothing is lost or wrong without it.
    """

    name: str
    metric: str
    title: str
    why: str
    namespace: str = NAMESPACE
    dimensions: Mapping[str, str] = field(default_factory=lambda: OF_STAGE)
    when_missing: str = ""
    is_comfort: bool = False

    def find(self, stage: PackagedStage) -> Iterator[Finding]:
        """Whether there is such an alarm, by what it is on and not by its name."""
        wanted = {name: value.format(stage=stage.name) for name, value in self.dimensions.items()}
        of = ", ".join(f"{name}={value}" for name, value in wanted.items())
        named, mend = f"highwater-{stage.name}-{self.name}", f"{RESOURCES}: an alarm highwater-${{Stage}}-{self.name}"
        alarms = alarms_of(stage, self.namespace, self.metric)
        there = {
            logical_id: alarm for logical_id, alarm in alarms.items() if wanted in dimensions_of(alarm, self.metric)
        }
        if not there:
            # Others on the same metric may be there for themselves; one of this name was to be it.
            own = [alarm for alarm in alarms.values() if alarm.get("AlarmName") == named]
            found = show(dimensions_of(own[0], self.metric)) if own else "no alarm"
            yield Finding(named, found, f"an alarm on {self.metric} ({self.namespace}) of {of}", mend)
        for logical_id, alarm in there.items():
            if self.when_missing and alarm.get("TreatMissingData") != self.when_missing:
                missing = show(alarm.get("TreatMissingData"))
                yield Finding(f"{logical_id}.TreatMissingData", missing, self.when_missing)

    def check(self) -> Check:
        """The line of the list."""
        only_warns = EVERYWHERE if self.is_comfort else frozenset[str]()
        return Check(f"alarm-{self.name}", f"Alarm: {self.title}", self.why, self.find, only_warns)


# All that docs/operations.md, "Alarms", has but those of each function; what is bold there is no comfort here.
ALARMS = (
    Watched("ingest-failing", "FailedBatches", "batches of ingest that fail", "their shards stand still"),
    Watched("capture-failing", "CapturesFailed", "batches of capture that fail", "after 24 hours changes are lost"),
    Watched("rollup-failing", "RollupBatchesFailed", "batches of rollup that fail", "rollups get no further"),
    Watched("fan_out-failing", "FanOutBatchesFailed", "batches of fan_out that fail", "subscribers are told nothing"),
    Watched("dead-letters", "DeadLetters", "dead letters", "what they hold is not counted"),
    Watched(
        "no-ticks",
        "Ticks",
        "no ticks",
        "answers say no more how complete they are, and nothing becomes final",
        when_missing="breaching",
    ),
    Watched("ids-forgotten", "IdsForgotten", "ids forgotten before their time", "repeats may be counted twice"),
    Watched(
        "overflowed-groups", "OverflowedGroups", "more groups than a metric takes", "they are never told apart again"
    ),
    Watched(
        "results-failing",
        "ResultsFailed",
        "results that are not published",
        "after 24 hours they are lost to subscribers, up to the final ones",
    ),
    Watched(
        "results-unsettled",
        "MetricsBehind",
        "final results that are not published",
        "subscribers wait for what is over",
        dimensions={**OF_STAGE, "duty": "results"},
    ),
    Watched(
        "alerts-unsettled",
        "MetricsBehind",
        "windows not looked at for alerts",
        "nobody is alerted of what was in them",
        dimensions={**OF_STAGE, "duty": "alerts"},
    ),
    Watched("access-unavailable", "AccessUnavailable", "credentials cannot be checked", "nobody is let in"),
    Watched("requests-failed", "RequestsFailed", "requests that fail by our fault", "only who asked would know"),
    Watched(
        "redrive-failed",
        "ApproximateNumberOfMessagesVisible",
        "redrives that failed",
        "they are kept for fourteen days, then gone",
        namespace="AWS/SQS",
        dimensions={"QueueName": "highwater-{stage}-redrive-failed"},
    ),
    Watched(
        "stream-is-full",
        "WriteProvisionedThroughputExceeded",
        "producers that are refused",
        "what they do not send again is lost, and nobody here knows of it",
        namespace="AWS/Kinesis",
        dimensions={"StreamName": "highwater-{stage}-events"},
    ),
    Watched(
        "api-5xx",
        "5XXError",
        "the API's errors",
        "analysts see them first",
        namespace="AWS/ApiGateway",
        dimensions=OF_API,
    ),
    Watched(
        "api-slow",
        "Latency",
        "the API's latency",
        "analysts see it first",
        namespace="AWS/ApiGateway",
        dimensions=OF_API,
    ),
    Watched(
        "deliveries-failed",
        "NumberOfNotificationsFailed",
        "SNS could not deliver",
        "subscribers miss results",
        namespace="AWS/SNS",
        dimensions={"TopicName": "highwater-{stage}-results"},
    ),
    Watched("ticks-failing", "TicksFailed", "ticks that are refused", "idle shards hold answers back", is_comfort=True),
    Watched(
        "redrive-waits",
        "ApproximateAgeOfOldestMessage",
        "redrives that wait",
        "whoever asked for one waits for it",
        namespace="AWS/SQS",
        dimensions={"QueueName": "highwater-{stage}-redrive"},
        is_comfort=True,
    ),
    Watched(
        "rollups-too-large", "RollupsTooLarge", "rollups without groups", "queries cost and take more", is_comfort=True
    ),
    Watched(
        "rollups-unsettled",
        "MetricsBehind",
        "rollups that are not settled",
        "queries cost and take more",
        dimensions={**OF_STAGE, "duty": "rollups"},
        is_comfort=True,
    ),
    Watched(
        "results-circuit-open",
        "CircuitChanges",
        "SNS is left alone",
        "it tells earlier than results that fail",
        dimensions={**OF_STAGE, "state": "open"},
        is_comfort=True,
    ),
    Watched(
        "thresholds-unread",
        "ThresholdsUnread",
        "thresholds that cannot be read",
        "what an operator sets is not heard",
        is_comfort=True,
    ),
    Watched(
        "aggregates-throttled",
        "WriteThrottleEvents",
        "a hot partition of aggregates",
        "it is why shards wait",
        namespace="AWS/DynamoDB",
        dimensions={"TableName": "highwater-{stage}-aggregates"},
        is_comfort=True,
    ),
    Watched(
        "ids-throttled",
        "WriteThrottleEvents",
        "a hot partition of the id log",
        "it is why a shard waits",
        namespace="AWS/DynamoDB",
        dimensions={"TableName": "highwater-{stage}-ids"},
        is_comfort=True,
    ),
)


CHECKS = (
    Check(
        "alarm-errors",
        "Alarm: errors of each function",
        "an invocation that fails is tried again, and again",
        of_each_function("Errors", ERRORS_ARE_ANSWERS),
    ),
    Check(
        "alarm-throttles",
        "Alarm: throttles of each function",
        "its concurrency is used up: shards, or callers, wait",
        of_each_function("Throttles", (HOOK,)),
    ),
    Check(
        "alarm-time-outs",
        "Alarm: time-outs of each function",
        "what is cut off is done again, for as long as nothing changes",
        time_outs,
    ),
    Check(
        "alarm-iterator-age",
        "Alarm: iterator age of each stream's function",
        "a shard that cannot commit waits within the retention, and then loses",
        of_each_function("IteratorAge", (), tuple(STREAMS)),
    ),
    *(each.check() for each in ALARMS),
)
