"""Who is told when something goes wrong: alarms, what they do, and the budget."""

from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.telemetry import NAMESPACE, SERVICE
from ops.preflight.checklist import LENIENT, Check, Find, Finding, at, show
from ops.preflight.mappings import STREAMS
from ops.preflight.stage import ALARM, AUTHORIZER, FUNCTION, HOOK, TOPIC, PackagedStage, Properties
from ops.template import references

TICK = "Tick"
# An error is how the authorizer says 401, and the hook's fails its deployment: neither is for an alarm.
ERRORS_ARE_ANSWERS = (AUTHORIZER, HOOK)
CLOUDWATCH_CANNOT_USE = "alias/aws/sns"  # AWS's own key lets no alarm publish, and that alarm tells nobody


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
                yield Finding(name, "no alarm", f"an alarm on {metric}")

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


def of_ours(metric: str) -> Find:
    """There is an alarm on a metric that the code emits, under the dimensions under which it does."""

    def find(stage: PackagedStage) -> Iterator[Finding]:
        alarms = alarms_of(stage, NAMESPACE, metric)
        wanted = {"service": SERVICE, "stage": stage.name}
        found = [dimensions for alarm in alarms.values() for dimensions in dimensions_of(alarm, metric)]
        if wanted not in found:
            dimensions = show(found) if found else "no alarm"
            yield Finding(", ".join(alarms) or NAMESPACE, dimensions, f"an alarm on {metric} of {show(wanted)}")

    return find


def of_service(namespace: str, dimension: str, named: str, *metrics: str) -> Find:
    """There is an alarm on each of these metrics of a service. Shapes: named, what is watched, by `{stage}`."""

    def find(stage: PackagedStage) -> Iterator[Finding]:
        wanted = named.format(stage=stage.name)
        for metric in metrics:
            watched = [
                dimensions.get(dimension)
                for alarm in alarms_of(stage, namespace, metric).values()
                for dimensions in dimensions_of(alarm, metric)
            ]
            if wanted not in watched:
                yield Finding(namespace, show(watched) if watched else "no alarm", f"an alarm on {metric} of {wanted}")

    return find


def ticks(stage: PackagedStage) -> Iterator[Finding]:
    """There is an alarm on ticks, and that there are none raises it."""
    yield from of_ours("Ticks")(stage)
    for logical_id, alarm in alarms_of(stage, NAMESPACE, "Ticks").items():
        if alarm.get("TreatMissingData") != "breaching":
            yield Finding(f"{logical_id}.TreatMissingData", show(alarm.get("TreatMissingData")), "breaching")


def actions(stage: PackagedStage) -> Iterator[Finding]:
    """Each alarm does something: it tells a topic that it may publish to."""
    topics = stage.of_type(TOPIC)
    for logical_id, alarm in stage.of_type(ALARM).items():
        told = list(references(alarm.get("AlarmActions")))
        if alarm.get("ActionsEnabled", True) is not True or not told:
            yield Finding(f"{logical_id}.AlarmActions", show(alarm.get("AlarmActions")), "a topic")
        for topic in told:
            if topic in topics and topics[topic].get("KmsMasterKeyId") == CLOUDWATCH_CANNOT_USE:
                yield Finding(f"{topic}.KmsMasterKeyId", CLOUDWATCH_CANNOT_USE, "a key that CloudWatch may use")


def somebody_is_told(stage: PackagedStage) -> Iterator[Finding]:
    """Somebody is subscribed to the alarms."""
    told = {topic for alarm in stage.of_type(ALARM).values() for topic in references(alarm.get("AlarmActions"))}
    subscribed = {
        topic
        for subscription in stage.of_type("AWS::SNS::Subscription").values()
        for topic in references(subscription.get("TopicArn"))
    } | {name for name, topic in stage.of_type(TOPIC).items() if topic.get("Subscription")}
    for topic in sorted(told - subscribed):
        yield Finding(topic, "no subscription", "a subscription (AlarmEmail)")


def budget(stage: PackagedStage) -> Iterator[Finding]:
    """There is a budget, and a notice of it."""
    budgets = stage.of_type("AWS::Budgets::Budget")
    if not budgets:
        yield Finding("AWS::Budgets::Budget", "none", "a budget (MonthlyBudgetUSD)")
    for logical_id, each in budgets.items():
        if not each.get("NotificationsWithSubscribers"):
            yield Finding(f"{logical_id}.NotificationsWithSubscribers", "not set", "a notice")


def dashboard(stage: PackagedStage) -> Iterator[Finding]:
    """There is a dashboard."""
    if not stage.of_type("AWS::CloudWatch::Dashboard"):
        yield Finding("AWS::CloudWatch::Dashboard", "none", "a dashboard")


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
    Check("alarm-dead-letters", "Alarm: dead letters", "what they hold is not counted", of_ours("DeadLetters")),
    Check("alarm-ticks", "Alarm: no ticks", "answers say no more how complete they are", ticks),
    Check("alarm-access", "Alarm: credentials cannot be checked", "nobody is let in", of_ours("AccessUnavailable")),
    Check(
        "alarm-api",
        "Alarm: the API's errors and latency",
        "analysts see them first",
        of_service("AWS/ApiGateway", "ApiName", "highwater-{stage}", "5XXError", "Latency"),
    ),
    Check(
        "alarm-publish",
        "Alarm: SNS could not deliver",
        "subscribers miss results",
        of_service("AWS/SNS", "TopicName", "highwater-{stage}-results", "NumberOfNotificationsFailed"),
    ),
    Check(
        "alarm-redrive",
        "Alarm: redrives that failed",
        "they are kept for fourteen days, then gone",
        of_service("AWS/SQS", "QueueName", "highwater-{stage}-redrive-failed", "ApproximateNumberOfMessagesVisible"),
    ),
    Check("alarm-actions", "Alarms do something", "an alarm without an action tells nobody", actions),
    Check(
        "somebody-is-told",
        "Somebody is told",
        "a topic without a subscription tells nobody",
        somebody_is_told,
        only_warns=LENIENT,
    ),
    Check(
        "budget", "There is a budget with a notice", "a bill is seen when it is a month old", budget, only_warns=LENIENT
    ),
    Check("dashboard", "There is a dashboard", "who is woken needs to see all of it at once", dashboard),
)
