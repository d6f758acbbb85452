"""The parameters of a stage: each is described, and what is malformed is refused under its name."""

import re

import pytest

from tests.packaging import PROJECT, read_template

TEMPLATE = read_template((PROJECT / ".chalice" / "resources.yaml").read_text())
PARAMETERS = TEMPLATE["Parameters"]
# Source: Amazon CloudWatch Logs API Reference, PutRetentionPolicy.
CLOUDWATCH_LOGS_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731),
    *(1096, 1827, 2192, 2557, 2922, 3288, 3653),
)
WRONG = {
    "Stage": ["", "Prod", "1st", "a_b", "a" * 21],
    "Release": ["1", "g" * 64, "a" * 63],
    "DeadLettersBucketName": ["Letters", "l", "-letters", "letters_", "a.b"],
    "AlarmEmail": ["ops", "ops@", "two@example.org two@example.org"],
    "CostCenter": ["", "a" * 65, "a,b"],
    "LambdaInsightsLayerArn": ["LambdaInsightsExtension", "arn:aws:lambda:us-east-1:580247275435:layer:Other:1"],
    "VpcId": ["vpc", "vpc-xyz"],
    "VpcSubnetIds": ["subnet-1", "subnet-01234567, subnet-01234568", "subnet-01234567,"],
    "VpcSecurityGroupIds": ["sg-1", "subnet-01234567"],
    "VpcRouteTableIds": ["rtb-1", "sg-01234567"],
}
RIGHT = {
    "Stage": ["prod", "dev-2"],
    "Release": ["", "0a" * 32],
    "DeadLettersBucketName": ["", "letters-of-ours-123456789012"],
    "AlarmEmail": ["", "ops@example.org"],
    "CostCenter": ["highwater", "Team 7/analytics"],
    "LambdaInsightsLayerArn": [
        "",
        "arn:aws:lambda:us-east-1:580247275435:layer:LambdaInsightsExtension:53",
        "arn:aws:lambda:us-east-1:580247275435:layer:LambdaInsightsExtension-Arm64:20",
    ],
    "VpcId": ["", "vpc-0123456789abcdef0"],
    "VpcSubnetIds": ["", "subnet-01234567", "subnet-0123456789abcdef0,subnet-0123456789abcdef1"],
    "VpcSecurityGroupIds": ["", "sg-01234567"],
    "VpcRouteTableIds": ["", "rtb-01234567,rtb-01234568"],
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_parameter_is_described_and_bounded(name):
    rule = PARAMETERS[name]
    assert rule["Description"].endswith(".")
    bounds = {"AllowedPattern", "AllowedValues"} if rule["Type"] == "String" else {"MinValue", "AllowedValues"}
    assert bounds & rule.keys()


@pytest.mark.parametrize("name", [name for name, rule in PARAMETERS.items() if "AllowedPattern" in rule])
def test_what_a_pattern_means_is_told_in_words(name):
    """CloudFormation puts them, and so do we, behind the parameter's name."""
    assert re.fullmatch(r"must be .+[^.]", PARAMETERS[name]["ConstraintDescription"])


def test_only_the_stage_has_to_be_given():
    assert {name for name, rule in PARAMETERS.items() if "Default" not in rule} == {"Stage"}


def test_every_pattern_is_tried_here():
    assert {name for name, rule in PARAMETERS.items() if "AllowedPattern" in rule} == WRONG.keys() == RIGHT.keys()


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_malformed_value_is_refused(name, value):
    assert not re.fullmatch(PARAMETERS[name]["AllowedPattern"], value)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in RIGHT.items() for value in values])
def test_a_value_as_it_should_be_is_taken(name, value):
    assert re.fullmatch(PARAMETERS[name]["AllowedPattern"], value)


def test_a_stages_name_is_what_the_functions_take_for_one():
    assert PARAMETERS["Stage"]["AllowedPattern"] == "[a-z][a-z0-9-]{0,19}"  # as chalicelib/settings.py has it


def test_logs_are_kept_for_a_time_that_cloudwatch_knows():
    assert set(PARAMETERS["LogRetentionDays"]["AllowedValues"]) <= set(CLOUDWATCH_LOGS_DAYS)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("VpcSubnetIds", "VpcSecurityGroupIds"),
        ("VpcSecurityGroupIds", "VpcSubnetIds"),
        ("VpcRouteTableIds", "VpcId"),
    ],
)
def test_what_belongs_together_is_asked_for_by_name(given, missing):
    def is_given(name):
        return {"Fn::Not": [{"Fn::Equals": [{"Ref": name}, ""]}]}

    (rule,) = [each for each in TEMPLATE["Rules"].values() if each["RuleCondition"] == is_given(given)]
    ((assertion),) = rule["Assertions"]
    assert assertion["Assert"] == is_given(missing)
    assert assertion["AssertDescription"].startswith(f"{missing} ")
