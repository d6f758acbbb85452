"""The functions as Lambda gets them: alias, log group, concurrency, tracing, network, layers."""

from pathlib import Path

import pytest

from chalicelib import settings
from tests.packaging import resources_of, transformed
from tests.unit.template.conftest import VPC

NO_VALUE = {"Ref": "AWS::NoValue"}
CONCURRENCY = {
    "Ingest": "IngestConcurrency",
    "Capture": "StreamConcurrency",
    "Rollup": "StreamConcurrency",
    "FanOut": "StreamConcurrency",
    "APIHandler": "ApiConcurrency",
    "Authorize": "ApiConcurrency",
}
ROLES = {
    "ApiHandlerRole",
    "AuthorizeRole",
    "CaptureRole",
    "CheckReleaseRole",
    "FanOutRole",
    "IngestRole",
    "RedriveRole",
    "RollupRole",
    "TickRole",
}


@pytest.fixture(scope="module")
def functions(stage):
    return resources_of(stage, "AWS::Lambda::Function")


def test_each_function_has_a_log_group_of_its_own_before_it_that_forgets(stage, functions):
    groups = resources_of(stage, "AWS::Logs::LogGroup")
    assert {f"{name}Logs" for name in functions} == groups.keys()
    for name, function in functions.items():
        group = groups[f"{name}Logs"]
        assert group["LogGroupName"] == {"Fn::Sub": "/aws/lambda/" + function["FunctionName"]["Fn::Sub"]}
        assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}
        assert stage["Resources"][name]["DependsOn"] == f"{name}Logs"


def test_every_function_is_traced_and_tells_x_ray_no_payload(stage, functions):
    for function in functions.values():
        assert function["TracingConfig"] == {"Mode": "Active"}
        variables = function["Environment"]["Variables"]
        for what in ("RESPONSE", "ERROR"):
            assert variables[f"POWERTOOLS_TRACER_CAPTURE_{what}"] == "false"
        assert "STAGE" in variables, "what all have adds to what each has"
    ((api),) = resources_of(stage, "AWS::ApiGateway::Stage").values()
    assert api["TracingEnabled"] is True


def test_no_function_has_a_variable_that_nobody_reads(functions):
    read = Path(settings.__file__).read_text()
    variables = {name for each in functions.values() for name in each["Environment"]["Variables"]}
    assert [name for name in variables if not name.startswith("POWERTOOLS_") and f'"{name}"' not in read] == []


def test_functions_have_their_concurrency_to_themselves_unless_the_stage_says_otherwise(functions):
    reserved = {
        name: each["ReservedConcurrentExecutions"]["Fn::If"]
        for name, each in functions.items()
        if "ReservedConcurrentExecutions" in each
    }
    assert reserved == {
        name: ["ReservesConcurrency", {"Ref": parameter}, NO_VALUE] for name, parameter in CONCURRENCY.items()
    }


def test_the_apis_alias_alone_is_kept_started_where_the_stage_says_so(stage):
    aliases = resources_of(stage, "AWS::Lambda::Alias")
    kept = {name: each["ProvisionedConcurrencyConfig"] for name, each in aliases.items() if len(each) > 3}
    provisioned = {"ProvisionedConcurrentExecutions": {"Ref": "ApiProvisionedConcurrency"}}
    assert kept == {"APIHandlerAliaslive": {"Fn::If": ["KeepsApiStarted", provisioned, NO_VALUE]}}


def test_every_role_may_use_a_vpc_and_insights_where_the_stage_has_them_and_no_other_managed_policy(stage):
    roles = resources_of(stage, "AWS::IAM::Role")
    code_deploys = roles.pop("CodeDeployServiceRole")
    assert [arn.rpartition("/")[2] for arn in code_deploys["ManagedPolicyArns"]] == ["AWSCodeDeployRoleForLambda"]
    assert roles.keys() == ROLES
    for role in roles.values():
        conditions = {each["Fn::If"][0]: each["Fn::If"][1:] for each in role["ManagedPolicyArns"]}
        assert conditions == {
            "IsInVpc": [
                {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole"},
                NO_VALUE,
            ],
            "HasInsights": [
                {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/CloudWatchLambdaInsightsExecutionRolePolicy"},
                NO_VALUE,
            ],
        }
        assert role["Policies"], "what the function itself does stands in its policy file"


def test_every_function_is_in_the_vpc_and_has_insights_where_the_stage_has_them(functions):
    for function in functions.values():
        condition, inside, outside = function["VpcConfig"]["Fn::If"]
        assert (condition, outside) == ("IsInVpc", NO_VALUE)
        assert inside == {
            "SubnetIds": {"Fn::Split": [",", {"Ref": "VpcSubnetIds"}]},
            "SecurityGroupIds": {"Fn::Split": [",", {"Ref": "VpcSecurityGroupIds"}]},
        }
        assert function["Layers"][0] == {"Fn::If": ["HasInsights", {"Ref": "LambdaInsightsLayerArn"}, NO_VALUE]}


def test_a_layer_of_a_functions_own_comes_behind_those_of_all(template):
    own = {"Ref": "LayerOfItsOwn"}
    properties = {**template["Resources"]["Ingest"]["Properties"], "Layers": [own]}
    resources = {**template["Resources"], "Ingest": {**template["Resources"]["Ingest"], "Properties": properties}}
    made = transformed({**template, "Resources": resources}, Stage="prod", **VPC)
    assert len(made["Resources"]["Ingest"]["Properties"]["Layers"]) == 2
    assert made["Resources"]["Ingest"]["Properties"]["Layers"][1] == own


def test_tables_and_the_bucket_are_reached_without_a_nat_where_route_tables_are_given(stage):
    for name, service in (("DynamoDBEndpoint", "dynamodb"), ("S3Endpoint", "s3")):
        endpoint = stage["Resources"][name]
        assert endpoint["Condition"] == "NeedsGatewayEndpoints"
        assert endpoint["Properties"]["VpcEndpointType"] == "Gateway"
        assert endpoint["Properties"]["ServiceName"] == {"Fn::Sub": "com.amazonaws.${AWS::Region}." + service}
        assert endpoint["Properties"]["RouteTableIds"] == {"Fn::Split": [",", {"Ref": "VpcRouteTableIds"}]}


@pytest.mark.parametrize(
    ("condition", "parameter", "off"),
    [
        ("KeepsApiStarted", "ApiProvisionedConcurrency", "0"),
        ("NamesDeadLettersBucket", "DeadLettersBucketName", ""),
        ("TellsByEmail", "AlarmEmail", ""),
        ("HasBudget", "MonthlyBudgetUSD", "0"),
        ("HasInsights", "LambdaInsightsLayerArn", ""),
        ("IsInVpc", "VpcSubnetIds", ""),
        ("NeedsGatewayEndpoints", "VpcRouteTableIds", ""),
    ],
)
def test_what_is_optional_is_off_until_its_parameter_is_set(template, condition, parameter, off):
    assert template["Conditions"][condition] == {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, off]}]}
    assert str(template["Parameters"][parameter]["Default"]) == off
