import json
from base64 import b64encode
from decimal import Decimal

import pytest
from boto3.dynamodb.types import Binary, TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.records.images import BrokenImageError, plain_item

numbers = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**18), max_value=10**18, places=6)
scalars = st.none() | st.booleans() | st.text(max_size=8) | numbers | st.binary(max_size=8)
sets = (
    st.sets(st.text(max_size=4), min_size=1) | st.sets(numbers, min_size=1) | st.sets(st.binary(max_size=4), min_size=1)
)
values = st.recursive(
    scalars | sets,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def as_json_has_it(typed):
    """What boto3 makes of a value, as DynamoDB's own JSON has it: bytes are base64."""
    return json.loads(json.dumps(typed, default=lambda raw: b64encode(bytes(raw)).decode()))


def as_plain(value):
    match value:
        case bytes() | Binary():
            return b64encode(bytes(value)).decode()
        case set():
            return sorted(map(as_plain, value))
        case list():
            return list(map(as_plain, value))
        case dict():
            return {name: as_plain(each) for name, each in value.items()}
    return value


@given(st.dictionaries(st.text(max_size=5), values, max_size=5))
def test_whatever_an_item_holds_comes_back_exactly(item):
    typed = {name: as_json_has_it(TypeSerializer().serialize(value)) for name, value in item.items()}
    assert plain_item(typed) == as_plain(item)


@pytest.mark.parametrize("text", ["0", "-1.50", "1E+5", "9" * 60, "1e-400", "0." + "1" * 100])
def test_a_number_keeps_every_digit(text):
    assert str(plain_item({"n": {"N": text}})["n"]) == str(Decimal(text))


@pytest.mark.parametrize(
    ("typed", "fault"),
    [
        ({"N": "NaN"}, "N is no number"),
        ({"N": "Infinity"}, "N is no number"),
        ({"N": "1_000"}, "N is no number"),
        ({"N": "٣"}, "N is no number"),
        ({"N": " 1"}, "N is no number"),
        ({"N": "1E99999999999999999999"}, "N is no number"),
        ({"N": 5}, "N has a int"),
        ({"NS": ["1", "x"]}, "N is no number"),
        ({"NS": [1]}, "a set has texts"),
        ({"S": None}, "S has a NoneType"),
        ({"BOOL": "true"}, "BOOL has a str"),
        ({"NULL": False}, "NULL is not true"),
        ({"B": "a"}, "B is no base64"),
        ({"B": "é"}, "B is no base64"),
        ({"M": []}, "M has a list"),
        ({"L": {}}, "L has a dict"),
        ({"L": [{"S": "x"}, "x"]}, "one descriptor"),
        ({"Q": "x"}, "no descriptor 'Q'"),
        ({"S": "x", "N": "1"}, "one descriptor"),
        ({}, "one descriptor"),
        ("x", "one descriptor"),
    ],
)
def test_what_is_no_value_of_dynamodbs_is_refused_by_name(typed, fault):
    with pytest.raises(BrokenImageError, match=fault):
        plain_item({"attribute": {"M": {"inner": typed}}})
