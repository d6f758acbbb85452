"""How a release takes over: versions, the alias, who invokes it, CodeDeploy, what stops it."""

import pytest

from chalicelib.aws import clients
from chalicelib.release.check import RESERVE_MS
from ops.template import references
from tests.packaging import resources_of, transformed
from tests.unit.template.conftest import RELEASE

CALLED = {"APIHandler": "ApiRelease", "Authorize": "ApiRelease"}
CONSUMERS = dict.fromkeys(["Ingest", "Capture", "Rollup", "FanOut", "Tick", "Redrive"], "ConsumerRelease")
RELEASED = {**CALLED, **CONSUMERS}
START_S = 10  # Lambda's limit for a function's start, beside its time-out
ASKING_S = 20  # for CodeDeploy and Lambda to tell what is shifted, and what each version decides by
ALARMS_MAX = 10  # CodeDeploy's, of one deployment group


def live(function):
    return {"Ref": f"{function}Aliaslive"}


def test_every_function_but_the_hook_has_the_alias_live(stage):
    aliases = resources_of(stage, "AWS::Lambda::Alias")
    assert {each["FunctionName"]["Ref"]: each["Name"] for each in aliases.values()} == dict.fromkeys(RELEASED, "live")


def test_another_release_makes_a_version_of_every_function_that_lambda_can_publish(template, stage):
    """Lambda publishes none of what has not changed: the transform puts the release into the description."""
    other = transformed(template, Stage="prod", Release="f" * 64)
    before, after = (set(resources_of(each, "AWS::Lambda::Version")) for each in (stage, other))
    assert len(before) == len(after) == len(RELEASED)
    assert not before & after
    functions = resources_of(other, "AWS::Lambda::Function")
    assert {functions[name]["Description"] for name in RELEASED} == {"f" * 64}
    again = transformed(template, Stage="prod", **RELEASE)
    assert set(resources_of(again, "AWS::Lambda::Version")) == before


def test_every_mapping_and_the_schedule_invoke_the_alias(stage):
    mappings = resources_of(stage, "AWS::Lambda::EventSourceMapping")
    assert len(mappings) == 5
    assert all(each["FunctionName"]["Ref"].endswith("Aliaslive") for each in mappings.values())
    ((rule),) = resources_of(stage, "AWS::Events::Rule").values()
    assert [each["Arn"] for each in rule["Targets"]] == [live("Tick")]


def test_api_gateway_may_invoke_the_aliases_and_nothing_else(stage):
    permissions = resources_of(stage, "AWS::Lambda::Permission")
    allowed = [each["FunctionName"] for each in permissions.values() if "apigateway" in each["Principal"]]
    assert allowed == [live("APIHandler"), {"Fn::GetAtt": ["AuthorizeAliaslive", "AliasArn"]}]
    sources = [each["SourceArn"]["Fn::Sub"][0] for each in permissions.values() if "apigateway" in each["Principal"]]
    assert [source.partition("${RestAPIId}")[2] for source in sources] == ["/api/*", "/authorizers/*"]


@pytest.mark.parametrize(("function", "parameter"), RELEASED.items())
def test_codedeploy_moves_the_alias_as_the_stage_says_asks_the_hook_and_heeds_alarms(template, function, parameter):
    made = transformed(template, **{"Stage": "prod", parameter: "LambdaLinear10PercentEvery3Minutes"}, **RELEASE)
    update = made["Resources"][f"{function}Aliaslive"]["UpdatePolicy"]["CodeDeployLambdaAliasUpdate"]
    assert update["BeforeAllowTrafficHook"] == {"Ref": "CheckRelease"}
    group = made["Resources"][update["DeploymentGroupName"]["Ref"]]["Properties"]
    separator, parts = group["DeploymentConfigName"]["Fn::Join"]
    assert separator.join(parts) == "CodeDeployDefault.LambdaLinear10PercentEvery3Minutes"
    assert group["AutoRollbackConfiguration"]["Enabled"] is True
    condition, heeded, unheeded = group["AlarmConfiguration"]["Fn::If"]
    assert (condition, unheeded) == ("AlarmsStopReleases", {})
    names = [each["Name"]["Ref"] for each in heeded["Alarms"]]
    assert 0 < len(names) <= ALARMS_MAX
    assert all(made["Resources"][name]["Type"] == "AWS::CloudWatch::Alarm" for name in names)


@pytest.mark.parametrize("function", [each for each in RELEASED if each != "Authorize"])
def test_a_release_that_raises_is_rolled_back(stage, function):
    group = stage["Resources"][f"{function}DeploymentGroup"]["Properties"]["AlarmConfiguration"]["Fn::If"][1]
    heeded = [stage["Resources"][each["Name"]["Ref"]]["Properties"] for each in group["Alarms"]]
    name = stage["Resources"][function]["Properties"]["FunctionName"]
    (errors,) = [each for each in heeded if each["MetricName"] == "Errors"]
    assert errors["Dimensions"] == [{"Name": "FunctionName", "Value": name}]


@pytest.mark.parametrize("function", ["Ingest", "Capture", "Rollup", "FanOut"])
def test_a_release_that_does_batches_in_part_is_rolled_back(stage, function):
    group = stage["Resources"][f"{function}DeploymentGroup"]["Properties"]["AlarmConfiguration"]["Fn::If"][1]
    assert {"Name": {"Ref": f"{function}Failing"}} in group["Alarms"]


def test_nobody_releases_the_hook(stage):
    assert not [name for name in stage["Resources"] if name.startswith(("CheckReleaseAlias", "CheckReleaseDeployment"))]


def test_the_hook_waits_for_the_slowest_answer_and_has_time_left_to_tell(stage):
    """`tick` answers when it has settled what it can, which after a replay takes it all of its time."""
    functions = resources_of(stage, "AWS::Lambda::Function")
    slowest_s = max(functions[name]["Timeout"] for name in RELEASED)
    waits_s = clients.INVOKING.connect_timeout + clients.INVOKING.read_timeout
    assert slowest_s + START_S <= clients.INVOKING.read_timeout
    assert clients.INVOKING.retries["total_max_attempts"] == 1
    assert waits_s + ASKING_S + RESERVE_MS / 1000 <= functions["CheckRelease"]["Timeout"]


def test_resources_wait_for_each_other_in_no_circle(stage):
    """An alarm that refers to an alias makes one: the alias waits for its deployment group, and that for its alarms."""
    waits_for = {name: set(references(each)) & stage["Resources"].keys() for name, each in stage["Resources"].items()}
    while ready := {name for name, others in waits_for.items() if not others}:
        waits_for = {name: others - ready for name, others in waits_for.items() if name not in ready}
    assert not waits_for
