"""What watches a stage: alarms, dashboard, saved queries, budget; held against what the code emits, and AWS."""

import inspect
import io
import json
import re
from collections import Counter
from contextlib import redirect_stdout

import botocore.session
import pytest
from botocore.exceptions import ClientError
from pybreaker import STATE_OPEN

from chalicelib import telemetry
from chalicelib.access.errors import Refusal
from chalicelib.consumers.alerts import AlertReport, Alerts
from chalicelib.consumers.capture import CaptureReport
from chalicelib.consumers.fan_out import FanOutReport
from chalicelib.consumers.final_results import FinalResults
from chalicelib.consumers.ingest import IngestReport
from chalicelib.consumers.publish import PublishReport
from chalicelib.consumers.redrive import RedriveReport
from chalicelib.consumers.rollup import RollUp, RollupReport
from chalicelib.consumers.settle import SettleReport
from chalicelib.consumers.tick import TickReport
from chalicelib.records.rejection import Reason
from chalicelib.release.check import ReleaseReport
from tests.lambda_process import Context
from tests.packaging import resources_of

STAGE = "test"  # as in all tests: Powertools warns of a process that changes it
DUTIES = {Alerts.purpose, RollUp.purpose, FinalResults.purpose}
FAILED = {"failed_sequence_number": "1", "errors": Counter(["throttled"])}
LETTERS = Counter([Reason.INVALID])
# Of each function that publishes, one call that makes it say all that it can.
PUBLISHED = {
    "publish_access_unavailable": ["no secret"],
    "publish_alerts": [
        AlertReport(Counter(["a"]), Counter(["a"]), Counter(["throttled"]), ("a",), unknown=1, unread="not there")
    ],
    "publish_answer": [200, 1.0],
    "publish_capture": [CaptureReport("orders", 1, 1, LETTERS, "1", Counter(["throttled"]))],
    "publish_circuit": ["results", STATE_OPEN],
    "publish_failure": [ValueError("a fault")],
    "publish_raised": (ClientError({"Error": {"Code": "AccessDeniedException"}}, "PutItem"),),
    "publish_fan_out": [FanOutReport(results=PublishReport(1, 1, 1, 1), **FAILED)],
    "publish_grant": ["analysts"],
    "publish_ingest": [IngestReport("events", "shard", 1, dead_letters=LETTERS, **FAILED), 1.0],
    "publish_release": [ReleaseReport("ingest", "7", ["it decodes nothing"])],
    "publish_redrive": [RedriveReport(["1"], Counter(["done"]), Counter([Reason.INVALID]), Counter(["throttled"]))],
    "publish_refusal": [Refusal.UNKNOWN],
    "publish_results": [PublishReport(1, 1, 1, 1)],
    "publish_rollup": [RollupReport(**FAILED)],
    "publish_settled": [dict.fromkeys(DUTIES, SettleReport(1, 1, Counter(["throttled"])))],
    "publish_tick": [TickReport(1, 1)],
}
# Emitted, and on no dashboard and in no alarm: each is for who looks into something.
LOOKED_UP = {
    "AlertsFailed": "by alert, whose names are the adopter's; an alert that fails is tried again",
    "AlertsRaised": "by alert; who wants to be told subscribes to results",
    "Batches": "Records say the load",
    "Effects": "of the adopter's handlers",
    "IdsHeld": "IdsForgotten says when they are too many",
    "LettersRedriven": "by reason, of one redrive",
    "Partials": "WriteUnits say what they cost",
    "Redrives": "by outcome, of one redrive",
    "RedrivesFailed": "the queue of those that failed is watched",
    "RequestsRefused": "by reason; strangers may try, and a saved query tells of them",
    "RollupsOvertaken": "two at once, and no loss",
    "RollupsStored": "RollupWriteUnits say what they cost",
    "SlicesSettled": "MetricsBehind say what is left",
    "ThresholdsRefused": "by alert; the last one that held does so on",
    "ThresholdsUnknown": "set for no alert there is",
    "WindowsFannedOut": "ResultsPublished say what comes of them",
}

# Names and dimensions of AWS's own metrics. Sources: Lambda Developer Guide, "Types of metrics for Lambda functions";
# API Gateway Developer Guide, "Amazon API Gateway dimensions and metrics"; Kinesis Data Streams Developer Guide,
# "Monitor with CloudWatch"; DynamoDB Developer Guide, "DynamoDB metrics and dimensions"; SNS Developer Guide,
# "Monitoring topics using CloudWatch"; SQS Developer Guide, "Available CloudWatch metrics".
AWS_METRICS = {
    "AWS/Lambda": (
        {"FunctionName"},
        {"ConcurrentExecutions", "Duration", "Errors", "Invocations", "IteratorAge", "Throttles"},
    ),
    "AWS/ApiGateway": ({"ApiName", "Stage"}, {"4XXError", "5XXError", "Count", "IntegrationLatency", "Latency"}),
    "AWS/Kinesis": ({"StreamName"}, {"IncomingBytes", "IncomingRecords", "WriteProvisionedThroughputExceeded"}),
    "AWS/DynamoDB": ({"TableName"}, {"ConsumedWriteCapacityUnits", "ReadThrottleEvents", "WriteThrottleEvents"}),
    "AWS/SNS": ({"TopicName"}, {"NumberOfNotificationsDelivered", "NumberOfNotificationsFailed"}),
    "AWS/SQS": ({"QueueName"}, {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"}),
}
INSIGHTS_COMMANDS = {"fields", "filter", "limit", "sort", "stats"}
INSIGHTS_WORDS = INSIGHTS_COMMANDS | {
    "and",
    "as",
    "avg",
    "bin",
    "by",
    "count",
    "desc",
    "ispresent",
    "like",
    "max",
    "or",
    "sum",
}
INSIGHTS_FIELDS = {"@timestamp", "@log", "@message", "@type", "@initDuration", "@maxMemoryUsed"}
# Those of the issue, and those that operators are told of.
MUST_BE_WATCHED = {
    "5XXError",
    "AccessUnavailable",
    "DeadLetters",
    "Duration",
    "Errors",
    "IdsForgotten",
    "IteratorAge",
    "Latency",
    "MetricsBehind",
    "NumberOfNotificationsFailed",
    "RequestsFailed",
    "ResultsFailed",
    "Throttles",
    "Ticks",
}


@pytest.fixture(scope="module")
def emitted():
    """What the code writes when it publishes, metrics and logs alike: a list of JSON objects."""
    written = io.StringIO()
    handler = telemetry.logger.handlers[0]
    before = handler.setStream(written)
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(written):
        patched.setenv("_X_AMZN_TRACE_ID", "Root=1-2-3")

        # As app.py wraps every handler.
        @telemetry.metrics.log_metrics(default_dimensions={"stage": STAGE})
        def publish(event, context):
            for name, arguments in PUBLISHED.items():
                getattr(telemetry, name)(*arguments)

        publish({}, Context())
    handler.setStream(before)
    return [json.loads(line) for line in written.getvalue().splitlines()]


@pytest.fixture(scope="module")
def metrics(emitted):
    """Each metric that the code emits, with its dimensions."""
    return {
        (metric["Name"], frozenset((dimension, line[dimension]) for dimension in dimensions))
        for line in emitted
        for group in line.get("_aws", {}).get("CloudWatchMetrics", [])
        for metric in group["Metrics"]
        for dimensions in group["Dimensions"]
        if group["Namespace"] == "Highwater"
    }


@pytest.fixture(scope="module")
def alarms(template):
    return resources_of(template, "AWS::CloudWatch::Alarm")


@pytest.fixture(scope="module")
def widgets(template):
    """The dashboard's widgets, of a stage named prod."""
    (dashboard,) = resources_of(template, "AWS::CloudWatch::Dashboard").values()
    return json.loads(dashboard["DashboardBody"]["Fn::Sub"].replace("${Stage}", STAGE))["widgets"]


def of_prod(value):
    """What an alarm's dimension says in a stage named prod."""
    match value:
        case {"Ref": "Stage"}:
            return STAGE
        case {"Fn::Sub": text}:
            return text.replace("${Stage}", STAGE)
        case _:
            return value


def alarmed(alarms):
    """Each metric that an alarm watches: namespace, name, dimensions."""
    return [
        (
            each["Namespace"],
            each["MetricName"],
            frozenset((pair["Name"], of_prod(pair["Value"])) for pair in each["Dimensions"]),
        )
        for each in alarms.values()
    ]


def shown(widgets):
    """Each metric that the dashboard shows: namespace, name, dimensions."""
    lines = [line for widget in widgets for line in widget["properties"].get("metrics", [])]
    named = [[part for part in line if isinstance(part, str)] for line in lines]
    return [
        (namespace, name, frozenset(zip(pairs[::2], pairs[1::2], strict=True))) for namespace, name, *pairs in named
    ]


def test_every_function_that_publishes_is_heard_here():
    functions = [name for name, _ in inspect.getmembers(telemetry, inspect.isfunction)]
    assert PUBLISHED.keys() == {name for name in functions if name.startswith("publish_")}


def test_what_alarms_and_the_dashboard_watch_is_what_the_code_emits(alarms, widgets, metrics):
    ours = {(name, dims) for space, name, dims in alarmed(alarms) + shown(widgets) if space == "Highwater"}
    assert ours, "or this says nothing"
    assert not ours - metrics


def test_every_metric_that_the_code_emits_is_watched_or_there_is_a_reason(alarms, widgets, metrics):
    watched = {name for _, name, _ in alarmed(alarms) + shown(widgets)}
    emitted = {name for name, _ in metrics}
    assert emitted - watched == LOOKED_UP.keys()
    assert watched >= MUST_BE_WATCHED


def test_what_must_wake_somebody_has_an_alarm(alarms):
    assert {name for _, name, _ in alarmed(alarms)} >= MUST_BE_WATCHED


def test_aws_has_the_metrics_that_are_watched_of_it(alarms, widgets):
    for namespace, name, dimensions in alarmed(alarms) + shown(widgets):
        if namespace != "Highwater":
            dimension_names, metric_names = AWS_METRICS[namespace]
            assert {key for key, _ in dimensions} == dimension_names, (namespace, name)
            assert name in metric_names


def test_what_is_watched_is_there_under_the_name_by_which_it_is_watched(template, alarms, widgets):
    """A metric of a function, a table or a queue that does not exist is no data, and no data is no alarm."""
    names = {
        "FunctionName": ("AWS::Serverless::Function", "FunctionName"),
        "StreamName": ("AWS::Kinesis::Stream", "Name"),
        "TableName": ("AWS::DynamoDB::Table", "TableName"),
        "TopicName": ("AWS::SNS::Topic", "TopicName"),
        "QueueName": ("AWS::SQS::Queue", "QueueName"),
        "ApiName": ("AWS::Serverless::Api", "Name"),
    }
    there = {
        dimension: {of_prod(each[key]) for each in resources_of(template, kind).values()}
        for dimension, (kind, key) in names.items()
    }
    for _, name, dimensions in alarmed(alarms) + shown(widgets):
        for dimension, value in dimensions:
            if dimension in there:
                assert value in there[dimension], name


def test_the_alarms_of_duties_and_of_the_circuit_are_of_those_there_are(alarms):
    dimensions = [pair for each in alarms.values() for pair in each["Dimensions"]]
    assert {pair["Value"] for pair in dimensions if pair["Name"] == "duty"} == DUTIES
    assert {pair["Value"] for pair in dimensions if pair["Name"] == "state"} == {STATE_OPEN}


def test_every_alarm_has_a_name_says_what_to_do_and_tells_the_topic(alarms):
    names = [each["AlarmName"]["Fn::Sub"] for each in alarms.values()]
    assert len(set(names)) == len(names)
    for name, alarm in alarms.items():
        assert re.fullmatch(r"highwater-\$\{Stage\}-[a-z0-9_-]+", alarm["AlarmName"]["Fn::Sub"]), name
        assert 60 < len(alarm["AlarmDescription"]) < 300
        assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmsTopic"}]
        assert alarm["DatapointsToAlarm"] <= alarm["EvaluationPeriods"]


def test_no_data_is_an_alarm_of_signs_of_life_alone(alarms):
    missing = {name: each["TreatMissingData"] for name, each in alarms.items()}
    assert {name for name, treated in missing.items() if treated == "breaching"} == {"NoTicks"}
    assert set(missing.values()) == {"breaching", "notBreaching"}


def test_no_ticks_for_five_minutes_are_an_alarm(alarms):
    alarm = alarms["NoTicks"]
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 300
    assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"]
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)


def test_one_dead_letter_is_an_alarm(alarms):
    alarm = alarms["DeadLetters"]
    assert (alarm["Statistic"], alarm["Threshold"], alarm["EvaluationPeriods"]) == ("Sum", 1, 1)
    assert alarm["ComparisonOperator"] == "GreaterThanOrEqualToThreshold"


def test_near_its_time_out_is_nine_tenths_of_a_functions_own(template, alarms):
    timeouts_ms = {
        str(each["FunctionName"]): each["Timeout"] * 1_000
        for each in resources_of(template, "AWS::Serverless::Function").values()
    }
    near = [each for each in alarms.values() if each["MetricName"] == "Duration"]
    assert len(near) == 7, "of each that callers or shards wait for"
    for alarm in near:
        (dimension,) = alarm["Dimensions"]
        assert alarm["Threshold"] == pytest.approx(0.9 * timeouts_ms[str(dimension["Value"])])
        assert alarm["Statistic"] == "Maximum"


@pytest.mark.parametrize(
    ("metric", "functions"),
    [
        ("IteratorAge", {"ingest", "capture", "rollup", "fan_out"}),
        ("Errors", {"ingest", "capture", "rollup", "fan_out", "tick", "redrive", "api"}),
        ("Throttles", {"ingest", "capture", "rollup", "fan_out", "tick", "redrive", "api", "authorize"}),
    ],
)
def test_each_function_is_watched_for_what_can_go_wrong_with_it(alarms, metric, functions):
    """Not authorize for its errors: it raises for every token that does not hold."""
    watched = {value for _, name, dims in alarmed(alarms) if name == metric for _, value in dims}
    assert watched == {f"highwater-{STAGE}-{name}" for name in functions}


def test_the_dashboard_shows_every_alarm(alarms, widgets):
    (widget,) = [each for each in widgets if each["type"] == "alarm"]
    assert sorted(widget["properties"]["alarms"]) == sorted(f"${{{name}.Arn}}" for name in alarms)


def test_the_dashboards_widgets_stand_side_by_side(widgets):
    cells = [
        (each["x"] + across, each["y"] + down)
        for each in widgets
        for across in range(each["width"])
        for down in range(each["height"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(across for across, _ in cells) < 24, "a dashboard is 24 wide"


def test_the_dashboard_tells_of_load_freshness_correctness_the_api_and_cost(widgets):
    titles = " ".join(each["properties"]["title"] for each in widgets)
    for subject in ("Load", "Freshness", "Correctness", "API", "Results", "Cost", "Alarms"):
        assert subject in titles


def test_saved_queries_ask_for_what_the_code_logs(template, emitted):
    logged = {name for line in emitted for name in line} | INSIGHTS_FIELDS
    messages = {line["message"] for line in emitted if "message" in line}
    queries = resources_of(template, "AWS::Logs::QueryDefinition")
    assert len(queries) == 8
    for name, query in queries.items():
        text = query["QueryString"]
        aliases = set(re.findall(r" as (\w+)", text))
        bare = re.sub(r'"[^"]*"|/[^/\n]*/|\b\d\w*', "", re.sub(r" / \d+", "", text))
        asked = {word.removesuffix(".0") for word in re.findall(r"@?[A-Za-z_]\w*(?:\.0)?", bare)}
        assert not asked - INSIGHTS_WORDS - aliases - logged, name
        assert set(re.findall(r'message = "([^"]*)"', text)) <= messages, name
        for pattern in re.findall(r"\bmessage like /([^/]*)/", text.replace("@message", "")):
            assert any(re.search(pattern, message) for message in messages), name


def test_a_saved_query_asks_logs_that_there_are(template):
    groups = resources_of(template, "AWS::Logs::LogGroup").keys()
    for query in resources_of(template, "AWS::Logs::QueryDefinition").values():
        assert {each["Ref"] for each in query["LogGroupNames"]} <= groups
        assert query["Name"]["Fn::Sub"].startswith("highwater/${Stage}/")


def test_the_budget_is_of_this_stage_alone_and_tells_the_topic(template, resources):
    (budget,) = resources_of(template, "AWS::Budgets::Budget").values()
    assert resources["Budget"]["Condition"] == "HasBudget"
    service = botocore.session.get_session().get_service_model("budgets")
    assert set(budget["Budget"]["Metrics"]) <= set(service.shape_for("Metric").enum), "cfn-lint takes any text for one"
    for each in budget["Budget"]["FilterExpression"]["And"]:
        assert set(each["Tags"]["MatchOptions"]) <= set(service.shape_for("MatchOption").enum)
    tags = {each["Tags"]["Key"]: each["Tags"]["Values"] for each in budget["Budget"]["FilterExpression"]["And"]}
    assert tags == {"application": ["highwater"], "stage": [{"Ref": "Stage"}]}
    assert budget["Budget"]["BudgetLimit"] == {"Amount": {"Ref": "MonthlyBudgetUSD"}, "Unit": "USD"}
    notices = {
        each["Notification"]["NotificationType"]: each["Notification"]["Threshold"]
        for each in budget["NotificationsWithSubscribers"]
    }
    assert notices == {"ACTUAL": 80, "FORECASTED": 100}
    for each in budget["NotificationsWithSubscribers"]:
        assert each["Subscribers"] == [{"SubscriptionType": "SNS", "Address": {"Ref": "AlarmsTopic"}}]


def test_the_topic_is_told_by_e_mail_where_there_is_an_address(resources):
    subscription = resources["AlarmsEmail"]
    assert subscription["Condition"] == "TellsByEmail"
    assert subscription["Properties"] == {
        "TopicArn": {"Ref": "AlarmsTopic"},
        "Protocol": "email",
        "Endpoint": {"Ref": "AlarmEmail"},
    }
