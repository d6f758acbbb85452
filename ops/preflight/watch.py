"""Who is told when something goes wrong: what alarms do, the budget, and the dashboard."""

from collections.abc import Iterator

from ops.preflight.checklist import LENIENT, RESOURCES, Check, Finding, parameters, show
from ops.preflight.stage import ALARM, TOPIC, PackagedStage
from ops.template import references

CLOUDWATCH_CANNOT_USE = "alias/aws/sns"  # AWS's own key lets no alarm publish, and that alarm tells nobody


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
        yield Finding(topic, "no subscription", "a subscription")


def budget(stage: PackagedStage) -> Iterator[Finding]:
    """There is a budget, and a notice of it."""
    budgets = stage.of_type("AWS::Budgets::Budget")
    if not budgets:
        yield Finding("AWS::Budgets::Budget", "none", "a budget")
    for logical_id, each in budgets.items():
        if not each.get("NotificationsWithSubscribers"):
            yield Finding(f"{logical_id}.NotificationsWithSubscribers", "not set", "a notice")


def dashboard(stage: PackagedStage) -> Iterator[Finding]:
    """There is a dashboard."""
    if not stage.of_type("AWS::CloudWatch::Dashboard"):
        yield Finding("AWS::CloudWatch::Dashboard", "none", "a dashboard")


CHECKS = (
    Check("alarm-actions", "Alarms do something", "an alarm without an action tells nobody", actions),
    Check(
        "somebody-is-told",
        "Somebody is told",
        "a topic without a subscription tells nobody",
        somebody_is_told,
        only_warns=LENIENT,
        mend=parameters("AlarmEmail"),
    ),
    Check(
        "budget",
        "There is a budget with a notice",
        "a bill is seen when it is a month old",
        budget,
        only_warns=LENIENT,
        mend=parameters("MonthlyBudgetUSD"),
    ),
    Check(
        "dashboard",
        "There is a dashboard",
        "who is woken needs to see all of it at once",
        dashboard,
        mend=f"{RESOURCES}: Dashboard",
    ),
)
