"""What of the template a stack without functions can have."""

from pathlib import Path

from ops.template import amendment, filtered, intrinsic_values, load, references, resolved, standalone

TEMPLATE = {
    "Description": "about it",
    "Parameters": {"Stage": {"Type": "String"}, "AlarmEmail": {"Type": "String"}, "Kept": {"Type": "String"}},
    "Conditions": {
        "IsKept": {"Fn::Not": [{"Condition": "IsLeft"}]},
        "IsLeft": {"Fn::Equals": [{"Ref": "Kept"}, ""]},
        "Tells": {"Fn::Equals": [{"Ref": "AlarmEmail"}, ""]},
    },
    "Rules": {"Told": {"Assertions": [{"Assert": {"Fn::Equals": [{"Ref": "AlarmEmail"}, ""]}}]}},
    "Resources": {
        "Topic": {
            "Type": "AWS::SNS::Topic",
            "Properties": {"TopicName": {"Fn::Sub": "t-${Stage}-${AWS::Region}-${!Not}"}},
        },
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "Condition": "IsKept",
            "Properties": {"Policy": {"Condition": {"Bool": {"aws:SecureTransport": "false"}}}},
        },
        "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Dimensions": [{"Value": {"Ref": "Ingest"}}]}},
        "Key": {"Type": "AWS::KMS::Key"},
        "AlarmsTopic": {"Type": "AWS::SNS::Topic", "Properties": {"KmsMasterKeyId": {"Ref": "Key"}}},
        "AboveTheTopic": {"Type": "AWS::SNS::Subscription", "Condition": "Tells", "DependsOn": "AlarmsTopic"},
        "OfIngest": {"Type": "AWS::SQS::Queue", "DependsOn": ["Topic", "Ingest"]},
        "Ingest": {
            "Properties": {
                "Environment": {"Variables": {"TOPIC": {"Ref": "Topic"}, "API": {"Ref": "RestAPI"}}},
                "Layers": [{"Fn::If": ["Tells", {"Ref": "AlarmEmail"}, {"Ref": "AWS::NoValue"}]}],
            }
        },
    },
    "Outputs": {"TopicArn": {"Value": {"Ref": "Topic"}}, "IngestArn": {"Value": {"Fn::GetAtt": ["Ingest", "Arn"]}}},
}


def test_what_holds_data_is_kept_and_the_rest_and_whatever_refers_to_it_is_left_to_the_deployment() -> None:
    own = standalone(TEMPLATE)
    assert own["Resources"].keys() == {"Topic", "Bucket"}
    assert own["Outputs"].keys() == {"TopicArn"}
    assert "Rules" not in own


def test_only_parameters_that_something_refers_to_are_kept_and_conditions_that_something_asks() -> None:
    own = standalone(TEMPLATE)
    assert own["Parameters"].keys() == {"Stage", "Kept"}
    assert own["Conditions"].keys() == {"IsKept", "IsLeft"}


def test_references_are_found_in_each_form_and_pseudo_parameters_are_none() -> None:
    node = [
        {"Fn::GetAtt": "A.Arn"},
        {"Fn::Sub": ["${B} ${C.Arn} ${local}", {"local": {"Ref": "D"}}]},
        {"Ref": "AWS::Region"},
    ]
    assert set(references(node)) == {"A", "B", "C", "D"}


def test_values_of_amendments_are_told_by_the_stack_and_put_in_their_places() -> None:
    (name,) = intrinsic_values(TEMPLATE)
    variables = resolved(TEMPLATE, {name: "arn:topic"})["Resources"]["Ingest"]["Properties"]["Environment"]["Variables"]
    assert variables == {"TOPIC": "arn:topic", "API": {"Ref": "RestAPI"}}


def test_the_projects_own_template_holds_the_resources_of_a_stage() -> None:
    own = standalone(load(Path(__file__).parents[3]))
    assert own["Resources"].keys() == {
        "EventsStream",
        "AggregatesTable",
        "IdsTable",
        "IdempotencyTable",
        "OrdersTable",
        "ResultsTopic",
        "ResultsTopicPolicy",
        "DeadLettersBucket",
        "DeadLettersBucketPolicy",
        "RedriveQueue",
        "RedriveFailedQueue",
        "RedriveQueuesPolicy",
        "ApiTokens",
    }
    assert own["Parameters"].keys() == {
        "Stage",
        "EventsShardCount",
        "EventsRetentionHours",
        "DeadLettersBucketName",
        "CostCenter",
    }
    assert own["Conditions"].keys() == {"NamesDeadLettersBucket"}, "of the parameters that are left"


def test_filters_are_put_in_the_mappings_and_what_else_these_have_stays() -> None:
    template = load(Path(__file__).parents[3])
    before = amendment(template, "FanOut")
    after = amendment(filtered(template, {"fan_out": ["{}", "[]"]}), "FanOut")
    (event,) = after["Events"].values()
    assert event["Properties"]["FilterCriteria"] == {"Filters": [{"Pattern": "{}"}, {"Pattern": "[]"}]}
    assert event["Properties"].keys() == before["Events"]["FanOutDynamodbEventSource"]["Properties"].keys()
    assert after.keys() == before.keys()
    assert amendment(template, "FanOut") == before, "what was given is as it was"
    assert "{}" not in str(amendment(template, "Rollup"))
