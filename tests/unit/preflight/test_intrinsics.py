"""Intrinsic functions, as far as parameters decide them."""

import pytest

from ops.preflight.intrinsics import Resolver

NOTHING = {"Ref": "AWS::NoValue"}
VALUES = {"Stage": "prod", "Warm": 0, "Subnets": "a,b"}
CONDITIONS = {
    "IsWarm": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Warm"}, "0"]}]},
    "IsProd": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
    "Both": {"Fn::And": [{"Condition": "IsProd"}, {"Condition": "IsWarm"}]},
    "Either": {"Fn::Or": [{"Condition": "IsProd"}, {"Condition": "IsWarm"}]},
}
RESOLVER = Resolver(VALUES, CONDITIONS)


@pytest.mark.parametrize(
    ("node", "resolved"),
    [
        ({"Ref": "Stage"}, "prod"),
        ({"Ref": "Warm"}, 0),
        ({"Ref": "EventsStream"}, {"Ref": "EventsStream"}),
        ({"Fn::Sub": "highwater-${Stage}-x"}, "highwater-prod-x"),
        ({"Fn::Sub": "${Stage}-${AWS::Region}"}, {"Fn::Sub": "prod-${AWS::Region}"}),
        ({"Fn::Sub": "${Events.Arn}"}, {"Fn::Sub": "${Events.Arn}"}),
        ({"Fn::Sub": "${Stage}-${!Literal}"}, "prod-${Literal}"),
        ({"Fn::Sub": ["${Stage}-${Own}", {"Own": {"Ref": "Warm"}}]}, "prod-0"),
        ({"Fn::Join": [".", ["Lambda", {"Ref": "Stage"}]]}, "Lambda.prod"),
        ({"Fn::Join": ["", ["a", {"Ref": "Events"}]]}, {"Fn::Join": ["", ["a", {"Ref": "Events"}]]}),
        ({"Fn::Split": [",", {"Ref": "Subnets"}]}, ["a", "b"]),
        ({"Fn::Select": [1, {"Fn::Split": [",", {"Ref": "Subnets"}]}]}, "b"),
        ({"Fn::If": ["IsWarm", 1, 2]}, 2),
        ({"Fn::If": ["IsProd", {"Ref": "Stage"}, NOTHING]}, "prod"),
        ({"Fn::If": ["Both", 1, 2]}, 2),
        ({"Fn::If": ["Either", 1, 2]}, 1),
        ({"Kept": 1, "Left": {"Fn::If": ["IsWarm", 1, NOTHING]}}, {"Kept": 1}),
        ([1, {"Fn::If": ["IsWarm", 1, NOTHING]}, {"Deep": [NOTHING]}], [1, {"Deep": []}]),
        ({"Fn::GetAtt": ["Events", "Arn"]}, {"Fn::GetAtt": ["Events", "Arn"]}),
    ],
)
def test_what_parameters_decide_is_put_in_and_the_rest_is_left(node, resolved):
    assert RESOLVER.resolve(node) == resolved


def test_a_condition_that_is_not_there_is_an_error_and_no_guess():
    with pytest.raises(KeyError):
        RESOLVER.resolve({"Fn::If": ["Unknown", 1, 2]})
