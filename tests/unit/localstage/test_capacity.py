from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localstage.capacity import base64_bytes, item_bytes, read_units, write_units


def of_bytes(count):
    return {"a": {"S": "x" * (count - 1)}}


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "grün"}, 5),
        ({"S": ""}, 0),
        ({"N": "0"}, 1),
        ({"N": "-1234.5"}, 4),
        ({"N": "1000000"}, 2),
        ({"B": b"\x00\x01\x02"}, 3),
        ({"B": "AAEC"}, 3),
        ({"BOOL": False}, 1),
        ({"NULL": True}, 1),
        ({"SS": ["ab", "c"]}, 3),
        ({"NS": ["1", "22"]}, 4),
        ({"BS": ["AA==", b"12"]}, 3),
        ({"L": [{"S": "ab"}, {"N": "1"}]}, 3 + 2 + 2 + 2),
        ({"M": {"key": {"S": "ab"}}}, 3 + 1 + 3 + 2),
    ],
    ids=str,
)
def test_an_item_is_as_large_as_its_names_and_values(value, size):
    assert item_bytes({"name": value}) == 4 + size


@given(st.binary(max_size=20))
def test_the_size_of_base64_is_that_of_its_bytes(content):
    assert base64_bytes(b64encode(content).decode()) == len(content)


@pytest.mark.parametrize(
    ("old", "new", "units"),
    [(None, 1, 1), (None, 1024, 1), (None, 1025, 2), (5000, 1, 5), (1, 5000, 5), (5000, None, 5), (None, None, 1)],
)
def test_a_write_takes_what_the_larger_of_both_items_does(old, new, units):
    assert write_units(old and of_bytes(old), new and of_bytes(new)) == units


@pytest.mark.parametrize(
    ("size", "consistent", "units"), [(0, True, 1), (4096, True, 1), (4097, True, 2), (1, False, 0.5)]
)
def test_a_read_takes_a_unit_for_each_four_kilobytes_and_half_when_it_may_be_stale(size, consistent, units):
    assert read_units(size, consistent=consistent) == units
