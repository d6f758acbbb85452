"""The policies' form; and what they allow the Lambda service, which follows from the packaged template.

What they allow the functions' code is held against its calls: tests/integration/test_permissions.py.
"""

import re

import pytest
from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource

from tests.permissions.policies import grants_of, read_policies

# What Lambda does in a function's name, by what invokes it. Streams with enhanced fan-out would need more.
# Sources: AWS Managed Policy Reference, AWSLambdaKinesisExecutionRole (but ListStreams, which is for consoles),
# AWSLambdaDynamoDBExecutionRole, AWSLambdaSQSQueueExecutionRole.
READS = {
    "Kinesis": {
        "kinesis:DescribeStream",
        "kinesis:DescribeStreamSummary",
        "kinesis:GetRecords",
        "kinesis:GetShardIterator",
        "kinesis:ListShards",
    },
    "DynamoDB": {"dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"},
    "SQS": {"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"},
    "Schedule": set(),  # it is invoked by EventBridge
}
LOG_GROUPS = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:"
LISTS_STREAMS = "dynamodb:ListStreams"
WRITES_LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}  # the group is the template's
WRITES_TRACES = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}  # Source: Lambda Developer Guide, "X-Ray"

POLICIES = read_policies()


def text(resource):
    """A resource as Fn::Sub would have it, however it is written."""
    match resource:
        case {"Fn::GetAtt": [name, attribute]}:
            return f"${{{name}.{attribute}}}"
        case {"Fn::Sub": str(template)}:
            return template
        case {"Ref": name}:
            return f"${{{name}}}"
    return resource


def granted(policy, *, to_lambda):
    grants = [(grant.action, text(grant.resource)) for grant in grants_of(policy) if grant.is_of_lambda == to_lambda]
    assert len(grants) == len(set(grants)), "something is granted twice"
    return set(grants)


@pytest.fixture(scope="module")
def functions(template):
    """By the name of its policy, each function as it is packaged."""
    functions = {}
    for function in template["Resources"].values():
        if function["Type"] == "AWS::Serverless::Function":
            name = function["Properties"]["Handler"].rpartition(".")[2]
            functions["api_handler" if name == "app" else name] = function["Properties"]
    return functions


def test_every_function_has_a_role_of_its_own_with_its_own_policy(template, functions):
    roles = {}
    for name, function in functions.items():
        (roles[name], _) = function["Role"]["Fn::GetAtt"]
        (policy,) = template["Resources"][roles[name]]["Properties"]["Policies"]
        assert policy["PolicyDocument"] == POLICIES[name]
    assert roles.keys() == POLICIES.keys()
    assert len(set(roles.values())) == len(roles)


@pytest.mark.parametrize("name", POLICIES)
def test_lambda_may_do_what_the_functions_sources_destinations_logs_and_traces_take(template, functions, name):
    function = functions[name]
    streams = f"{LOG_GROUPS}/aws/lambda/{text(function['FunctionName'])}:*"
    wanted = {(action, streams) for action in WRITES_LOGS}
    for event in function.get("Events", {}).values():
        properties = event["Properties"]
        source = text(properties.get("Stream", properties.get("Queue")))
        wanted |= {(action, source) for action in READS[event["Type"]]}
        if event["Type"] == "DynamoDB":
            wanted.add((LISTS_STREAMS, source.replace(".StreamArn}", ".Arn}/stream/*")))
        if destination := properties.get("DestinationConfig"):
            # Source: Lambda Developer Guide, "Retain discarded batch records", which names the keys too.
            bucket = text(destination["OnFailure"]["Destination"])
            wanted |= {("s3:PutObject", f"{bucket}/aws/lambda/*"), ("s3:ListBucket", bucket)}
    tracing = function.get("Tracing", template["Globals"]["Function"].get("Tracing"))
    if tracing == "Active":
        wanted |= {(action, "*") for action in WRITES_TRACES}
    assert granted(POLICIES[name], to_lambda=True) == wanted


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_says_what_for_and_of_what(name):
    statements = POLICIES[name]["Statement"]
    assert len({each["Sid"] for each in statements}) == len(statements)
    reference = load_resource(
        AdditionalSpecs, "Policies.json"
    )  # cfn-lint's copy of the Service Authorization Reference
    for grant in grants_of(POLICIES[name]):
        service, _, action = grant.action.lower().partition(":")
        known = reference[service]["Actions"][action]  # so it is none with a wildcard
        if text(grant.resource) == "*":
            assert not known.get("Resources"), f"AWS has narrower permissions for {grant.action}"
            continue
        exact = text(grant.resource).partition("*")[0]
        assert re.search(r"\$\{(Stage|AWS::StackName|\w+\.(Stream)?Arn|ResultsTopic|ApiTokens)\}", exact), grant
        assert not exact.startswith("arn:") or exact.startswith("arn:${AWS::Partition}:"), grant


def test_no_two_functions_have_the_same_policy():
    texts = [str(policy) for policy in POLICIES.values()]
    assert len(set(texts)) == len(texts)
