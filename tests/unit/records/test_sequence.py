import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.records.sequence import position, positions

numbers = st.integers(min_value=0, max_value=10**129 - 1)


@given(numbers, numbers, st.integers(0, 5))
def test_positions_order_as_the_numbers_do_however_they_are_padded(left, right, zeros):
    assert (position("0" * zeros + str(left)) < position(str(right))) == (left < right)


@given(st.lists(st.from_regex(r"[0-9]{2,3}", fullmatch=True) | numbers.map(str)))
def test_many_positions_are_those_of_each(numbers):
    assert positions(numbers) == list(map(position, numbers))


@pytest.mark.parametrize("text", ["", "-1", "1.0", "abc", "٣", "²", " 1", "9" * 1000])
def test_what_is_no_sequence_number_is_refused(text):
    with pytest.raises(ValueError, match="sequence number"):
        position(text)
    for numbers in ([text], [text, text], ["1", text]):
        with pytest.raises(ValueError, match="sequence number"):
            positions(numbers)
