"""What of the template a stack without functions can have."""

from pathlib import Path

from ops.template import intrinsic_values, load, references, resolved, standalone

TEMPLATE = {
    "Description": "about it",
    "Parameters": {"Stage": {"Type": "String"}, "AlarmEmail": {"Type": "String"}},
    "Resources": {
        "Topic": {
            "Type": "AWS::SNS::Topic",
            "Properties": {"TopicName": {"Fn::Sub": "t-${Stage}-${AWS::Region}-${!Not}"}},
        },
        "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Dimensions": [{"Value": {"Ref": "Ingest"}}]}},
        "AboveTheAlarm": {"Type": "AWS::CloudWatch::CompositeAlarm", "DependsOn": "Alarm"},
        "AboveAllAlarms": {"Type": "AWS::CloudWatch::CompositeAlarm", "DependsOn": ["Topic", "AboveTheAlarm"]},
        "Ingest": {
            "Properties": {"Environment": {"Variables": {"TOPIC": {"Ref": "Topic"}, "API": {"Ref": "RestAPI"}}}}
        },
    },
    "Outputs": {"TopicArn": {"Value": {"Ref": "Topic"}}, "IngestArn": {"Value": {"Fn::GetAtt": ["Ingest", "Arn"]}}},
}


def test_amendments_and_whatever_refers_to_a_function_are_left_to_the_deployment() -> None:
    own = standalone(TEMPLATE)
    assert own["Resources"].keys() == {"Topic"}
    assert own["Outputs"].keys() == {"TopicArn"}


def test_only_parameters_that_something_refers_to_are_kept() -> None:
    assert standalone(TEMPLATE)["Parameters"].keys() == {"Stage"}


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
    assert own["Resources"].keys() >= {
        "EventsStream",
        "AggregatesTable",
        "OrdersTable",
        "ResultsTopic",
        "DeadLettersBucket",
    }
