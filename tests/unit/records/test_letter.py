from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.records.letter import CorruptError, decode_letter, encode_letter, identities, pending
from tests.builders import json_line, letter

LETTERS = st.builds(
    letter,
    st.binary(max_size=3),
    st.sampled_from(["invalid", "too late"]),
    sub=st.sampled_from([None, 0, 1]),
    sequence_number=st.sampled_from(["7", "71"]),
)


@given(st.binary(), st.text(st.characters(exclude_categories=["Cs"])))
def test_a_letter_is_read_as_it_was_written(data, partition_key):
    written = letter(data, partition_key=partition_key)
    line = encode_letter(written)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_letter(line) == written


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"no JSON\n", json_line({"data": "?"}), b"[" * 100_000, b"\xff\n"])
def test_a_line_that_is_no_letter_is_named(line):
    with pytest.raises(CorruptError, match="no dead letter"):
        decode_letter(line)


@given(st.lists(LETTERS), st.lists(LETTERS))
def test_pending_is_what_was_not_accepted_as_multisets(letters, accepted):
    left = list(pending(letters, identities(accepted)))
    wanted = Counter(each.identity for each in letters) - Counter(each.identity for each in accepted)
    assert identities(left) == wanted


def test_another_reason_is_the_same_piece_and_another_place_or_payload_is_not():
    identity = letter(b"a").identity
    assert letter(b"a", "too late", partition_key="grace").identity == identity
    others = [letter(b"b"), letter(b"a", sub=0), letter(b"a", sequence_number="71"), letter(b"1\na")]
    assert identity not in {each.identity for each in others}
