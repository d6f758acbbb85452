"""What starts the functions: event source mappings, the schedule, and what these promise."""

import pytest

LOSES_NOTHING = {
    "StartingPosition": "TRIM_HORIZON",
    "ParallelizationFactor": 1,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "BisectBatchOnFunctionError": True,
    "MaximumRetryAttempts": -1,
    "MaximumRecordAgeInSeconds": -1,
    "DestinationConfig": {"OnFailure": {"Type": "S3", "Destination": {"Fn::GetAtt": ["DeadLettersBucket", "Arn"]}}},
}


def test_the_ingest_mapping_keeps_counts_exact_and_is_made_after_its_stream(resources):
    (mapping,) = resources["Ingest"]["Properties"]["Events"].values()
    assert mapping["Type"] == "Kinesis"
    assert mapping["Properties"] == {
        "Stream": {"Fn::Sub": "${EventsStream.Arn}"},
        "BatchSize": 10_000,
        "MaximumBatchingWindowInSeconds": 1,
        **LOSES_NOTHING,
    }


def test_the_capture_of_orders_loses_no_change_not_even_a_removal(resources):
    (mapping,) = resources["Capture"]["Properties"]["Events"].values()
    assert mapping["Type"] == "DynamoDB"
    assert mapping["Properties"] == {
        "Stream": {"Fn::GetAtt": ["OrdersTable", "StreamArn"]},
        "BatchSize": 1_000,
        "MaximumBatchingWindowInSeconds": 1,
        **LOSES_NOTHING,
    }
    view = resources["OrdersTable"]["Properties"]["StreamSpecification"]["StreamViewType"]
    assert view == "NEW_AND_OLD_IMAGES", "a change takes both"


@pytest.mark.parametrize(("function", "window_seconds"), [("Rollup", 30), ("FanOut", 1)])
def test_no_change_of_the_aggregates_is_lost_to_those_who_follow_them(resources, function, window_seconds):
    ((name, mapping),) = resources[function]["Properties"]["Events"].items()
    assert (name, mapping["Type"]) == (f"{function}DynamodbEventSource", "DynamoDB")
    assert mapping["Properties"] == {
        "Stream": {"Fn::GetAtt": ["AggregatesTable", "StreamArn"]},
        "BatchSize": 10_000,
        "MaximumBatchingWindowInSeconds": window_seconds,
        **LOSES_NOTHING,
        "FilterCriteria": {"Filters": [{"Pattern": '{"eventName": ["INSERT", "MODIFY"]}'}]},
    }
    view = resources["AggregatesTable"]["Properties"]["StreamSpecification"]["StreamViewType"]
    assert view == "KEYS_ONLY", "both read what is stored; images would make up to 6 MB a batch"


def test_only_what_tells_no_change_of_a_count_is_filtered(resources):
    """What a table with a time to live removes; the orders table has none, and a removed order is a change."""
    filtered = {
        name
        for name, each in resources.items()
        for event in each["Properties"].get("Events", {}).values()
        if "FilterCriteria" in event["Properties"]
    }
    assert filtered == {"Rollup", "FanOut"}
    assert "TimeToLiveSpecification" in resources["AggregatesTable"]["Properties"]
    assert "TimeToLiveSpecification" not in resources["OrdersTable"]["Properties"]


@pytest.mark.parametrize("function", ["Ingest", "FanOut", "Tick"])
def test_whoever_publishes_knows_the_topic_and_its_stage(resources, function):
    variables = resources[function]["Properties"]["Environment"]["Variables"]
    assert variables["RESULTS_TOPIC_ARN"] == {"Ref": "ResultsTopic"}
    assert "STAGE" in variables, "the amendment adds to what the config sets"


def test_the_tick_comes_every_minute(resources):
    (rule,) = resources["Tick"]["Properties"]["Events"].values()
    assert (rule["Type"], rule["Properties"]["Schedule"]) == ("Schedule", "rate(1 minute)")


def test_a_tick_that_comes_late_is_dropped(resources):
    config = resources["Tick"]["Properties"]["EventInvokeConfig"]
    assert config == {"MaximumEventAgeInSeconds": 60, "MaximumRetryAttempts": 0}


def test_the_redrive_queue_outlasts_its_function_and_keeps_what_fails(resources):
    queue, failed = (resources[name]["Properties"] for name in ("RedriveQueue", "RedriveFailedQueue"))
    timeout_s, horizon_s = resources["Redrive"]["Properties"]["Timeout"], 15 * 60
    assert queue["VisibilityTimeout"] >= 2 * timeout_s
    last_try_s = queue["VisibilityTimeout"] * (queue["RedrivePolicy"]["maxReceiveCount"] - 1)
    assert last_try_s + timeout_s < horizon_s, "what was sent before a death comes again while the id log knows it"
    assert queue["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": ["RedriveFailedQueue", "Arn"]},
        "maxReceiveCount": 5,
    }
    assert failed["MessageRetentionPeriod"] == 14 * 86_400
    assert [each["SqsManagedSseEnabled"] for each in (queue, failed)] == [True, True]


def test_redrive_is_told_its_queue_and_reports_the_messages_that_failed(resources):
    redrive = resources["Redrive"]["Properties"]
    assert redrive["Environment"]["Variables"]["REDRIVE_QUEUE_URL"] == {"Ref": "RedriveQueue"}
    (mapping,) = redrive["Events"].values()
    assert mapping["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["Properties"]["Queue"] == {"Fn::Sub": "${RedriveQueue.Arn}"}, "so that it is made after it"
    assert mapping["Properties"]["ScalingConfig"] == {"MaximumConcurrency": 2}, "it shares the stream with producers"
    assert "STAGE" in redrive["Environment"]["Variables"], "the amendment adds to what the config sets"
