import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.records.sequence import position

numbers = st.integers(min_value=0, max_value=10**129 - 1)


@given(numbers, numbers, st.integers(0, 5))
def test_positions_order_as_the_numbers_do_however_they_are_padded(left, right, zeros):
    assert (position("0" * zeros + str(left)) < position(str(right))) == (left < right)


@pytest.mark.parametrize("text", ["", "-1", "1.0", "abc", "٣", "²", " 1", "9" * 1000])
def test_what_is_no_sequence_number_is_refused(text):
    with pytest.raises(ValueError, match="sequence number"):
        position(text)
