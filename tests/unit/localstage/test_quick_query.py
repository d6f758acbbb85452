import pytest
from hypothesis import given
from hypothesis import strategies as st
from ministack.services import dynamodb

from localstage.quick_query import quick

own = dynamodb._evaluate_condition
texts = st.text(st.sampled_from("a#é\U0001f4b6"), max_size=3)
RANGE = "pk = :pk AND sk BETWEEN :low AND :high"


def text(value):
    return {"S": value}


@given(texts, texts, texts, st.lists(texts, min_size=2, max_size=2).map(sorted))
def test_a_range_of_texts_is_what_ministack_makes_of_it(partition, sort_key, asked, bounds):
    item = {"pk": text(partition), "sk": text(sort_key)}
    values = {":pk": text(asked), ":low": text(bounds[0]), ":high": text(bounds[1])}
    for expression in (RANGE, "pk = :pk"):
        wanted = own(expression, item, values, {}, slot="KeyConditionExpression")
        assert quick(own)(expression, item, values, {}, slot="KeyConditionExpression") == wanted


@pytest.mark.parametrize(
    ("expression", "slot", "value"),
    [
        ("pk = :pk AND begins_with(sk, :low)", "KeyConditionExpression", text("a")),
        (RANGE, "FilterExpression", text("a")),
        (RANGE, "KeyConditionExpression", {"N": "1"}),
    ],
)
def test_whatever_else_is_asked_is_ministacks_own_affair(expression, slot, value):
    asked = []
    evaluate = quick(lambda *what, slot: asked.append((what, slot)) or True)
    values = {":pk": value, ":low": value, ":high": value}
    item = {"pk": value, "sk": value}
    assert evaluate(expression, item, values, {}, slot=slot)
    assert asked == [((expression, item, values, {}), slot)]


def test_each_request_is_held_against_its_own_values():
    evaluate = quick(own)
    item = {"pk": text("a"), "sk": text("b")}
    for asked, holds in [("a", True), ("x", False), ("a", True)]:
        assert evaluate("pk = :pk", item, {":pk": text(asked)}, {}, slot="KeyConditionExpression") is holds
