import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ministack.services import dynamodb

from localstage import quick_query
from localstage.quick_query import Partition, narrowed, quick

own = dynamodb._evaluate_condition
query = dynamodb._query
texts = st.text(st.sampled_from("a#é\U0001f4b6"), max_size=3)
RANGE = "pk = :pk AND sk BETWEEN :low AND :high"
COMPARISONS = [f"pk = :pk AND sk {operator} :low" for operator in ("<", "<=", "=", ">=", ">")]
CONDITIONS = [RANGE, "pk = :pk", *COMPARISONS]


def text(value):
    return {"S": value}


@given(st.sampled_from(CONDITIONS), texts, texts, texts, st.lists(texts, min_size=2, max_size=2).map(sorted))
def test_a_condition_on_texts_is_what_ministack_makes_of_it(condition, partition, sort_key, asked, bounds):
    item = {"pk": text(partition), "sk": text(sort_key)}
    values = {":pk": text(asked), ":low": text(bounds[0]), ":high": text(bounds[1])}
    wanted = own(condition, item, values, {}, slot="KeyConditionExpression")
    assert quick(own)(condition, item, values, {}, slot="KeyConditionExpression") == wanted


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


# ---- whole queries


@pytest.fixture(params=["own", "quick"])
def table(request, monkeypatch):
    for name in ("_query", "_evaluate_condition"):
        monkeypatch.setattr(dynamodb, name, getattr(dynamodb, name))  # so that what is installed is undone
    if request.param == "quick":
        quick_query.install(dynamodb)
    key = {"pk": "HASH", "sk": "RANGE"}
    dynamodb.reset()
    dynamodb._create_table(
        {
            "TableName": "table",
            "KeySchema": [{"AttributeName": attribute, "KeyType": kind} for attribute, kind in key.items()],
            "AttributeDefinitions": [{"AttributeName": attribute, "AttributeType": "S"} for attribute in key],
            "BillingMode": "PAY_PER_REQUEST",
        }
    )
    yield dynamodb
    dynamodb.reset()


def put(module, *sort_keys, partition="p"):
    for sort_key in sort_keys:
        module._put_item({"TableName": "table", "Item": {"pk": text(partition), "sk": text(sort_key)}})


def found(module, condition, low="", high="", **more):
    values = {":pk": text("p")} | ({":low": text(low)} if low else {}) | ({":high": text(high)} if high else {})
    request = {"TableName": "table", "KeyConditionExpression": condition, "ExpressionAttributeValues": values, **more}
    _, _, body = module._query(request)
    answer = json.loads(body)
    return [item["sk"]["S"] for item in answer["Items"]], answer.get("LastEvaluatedKey", {}).get("sk", {}).get("S")


def test_a_query_finds_what_is_between_its_bounds_in_order(table):
    put(table, "d", "b", "a", "c")
    put(table, "b", partition="another")
    assert found(table, "pk = :pk") == (["a", "b", "c", "d"], None)
    assert found(table, RANGE, "b", "c") == (["b", "c"], None)
    assert [found(table, condition, "b")[0] for condition in COMPARISONS] == [
        ["a"],
        ["a", "b"],
        ["b"],
        ["b", "c", "d"],
        ["c", "d"],
    ]
    assert found(table, "pk = :pk AND sk < :low", "d", ScanIndexForward=False, Limit=2) == (["c", "b"], "b")


def test_a_query_goes_on_behind_its_page(table):
    put(table, "a", "b", "c", "d")
    assert found(table, "pk = :pk AND sk > :low", "a", Limit=2) == (["b", "c"], "c")
    key = {"pk": text("p"), "sk": text("c")}
    assert found(table, "pk = :pk AND sk > :low", "a", Limit=2, ExclusiveStartKey=key) == (["d"], None)


def test_a_query_sees_what_came_and_went_since_the_one_before(table):
    put(table, "a", "c")
    assert found(table, "pk = :pk")[0] == ["a", "c"]
    put(table, "b")
    table._delete_item({"TableName": "table", "Key": {"pk": text("p"), "sk": text("a")}})
    put(table, "c")
    assert found(table, "pk = :pk")[0] == ["b", "c"]
    assert found(table, "pk = :pk AND sk >= :low", "c")[0] == ["c"]


def test_a_query_of_nothing_finds_nothing_and_leaves_no_partition(table):
    assert found(table, RANGE, "a", "b") == ([], None)
    assert not table._tables["table"]["items"]


def test_the_table_is_whole_again_whatever_became_of_the_query():
    def refuse(_):
        raise ValueError

    items = {"p": {"a": {"pk": text("p"), "sk": text("a")}}}
    tables = {"table": {"items": items, "pk_name": "pk", "sk_name": "sk"}}
    request = {
        "TableName": "table",
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": text("p")},
    }
    with pytest.raises(ValueError, match=r"^$"):
        narrowed(refuse, tables)(request)
    assert tables["table"]["items"] is items
    assert isinstance(items["p"], Partition)
    assert items["p"] == {"a": {"pk": text("p"), "sk": text("a")}}


def test_ministack_is_shown_what_is_between_the_bounds_and_no_more():
    shown = []
    items = {"p": {key: {"pk": text("p"), "sk": text(key)} for key in "dbcae"}}
    tables = {"table": {"items": items, "pk_name": "pk", "sk_name": "sk"}}
    values = {":pk": text("p"), ":low": text("b"), ":high": text("c")}
    request = {"TableName": "table", "KeyConditionExpression": RANGE, "ExpressionAttributeValues": values}
    narrowed(lambda _: shown.append(tables["table"]["items"]), tables)(request)
    assert [list(each["p"]) for each in shown] == [["b", "c"]]
