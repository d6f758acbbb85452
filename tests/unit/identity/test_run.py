"""Runs of the id log: whatever is packed, cut, split or joined, the same ids stay with the same records."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.errors import CorruptIdLogError
from chalicelib.identity.run import CountedRecord, decode_run, encode_run, join_runs, make_run, split_run
from chalicelib.records.sequence import position_of

KINESIS = 49_590_338_271_490_256_608_559_692_538_361_571_095_921_575_989_136_588_898


@st.composite
def runs(draw):
    """A run, with its ids record by record: [(position, arrival, ids)]."""
    number = draw(st.sampled_from([0, 1, 7, 10**29, KINESIS]))
    truth = []
    for _ in range(draw(st.integers(1, 6))):
        number += draw(st.integers(1, 2**100))
        ids = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=9))
        truth.append((position_of(number), draw(st.integers(0, 2**41)), ids))
    return run_of(truth), truth


def run_of(truth):
    ids = [each for _, _, ids in truth for each in ids]
    records = [CountedRecord(position, arrived_at_ms, len(ids)) for position, arrived_at_ms, ids in truth]
    contents = array("I", [each & 0xFFFFFFFF for each in ids])
    return make_run(records, array("Q", ids), contents)


def truth_of(run):
    truth, start = [], 0
    for record in run.records():
        ids = list(run.ids[start : start + record.ids])
        assert list(run.contents[start : start + record.ids]) == [each & 0xFFFFFFFF for each in ids]
        truth.append((record.position, record.arrived_at_ms, ids))
        start += record.ids
    assert start == len(run.ids)
    return truth


@given(runs())
def test_what_is_packed_comes_out_again(drawn):
    run, truth = drawn
    assert truth_of(run) == truth
    assert decode_run(run.first, run.last, encode_run(run)) == run


@given(runs(), st.data())
def test_a_part_between_two_positions_is_what_lies_there(drawn, data):
    run, truth = drawn
    bounds = [None, *(position for position, _, _ in truth)]
    after, before = data.draw(st.sampled_from(bounds)), data.draw(st.sampled_from(bounds))
    inside = [each for each in truth if (after is None or each[0] > after) and (before is None or each[0] < before)]
    part = run.between(after, before)
    assert (truth_of(part) if part else []) == inside


@given(runs(), st.integers(1, 12))
def test_parts_are_small_and_join_to_the_whole(drawn, ids_max):
    run, truth = drawn
    parts = split_run(run, ids_max)
    assert all(len(part.ids) <= ids_max for part in parts)
    assert (parts[0].first, parts[-1].last) == (run.first, run.last)
    joined = []
    for position, arrived_at_ms, ids in (each for part in parts for each in truth_of(part)):
        if joined and joined[-1][0] == position:
            joined[-1][2].extend(ids)
        else:
            joined.append((position, arrived_at_ms, ids))
    assert joined == truth
    lasts = [part.last for part in parts]
    for part in parts:  # those that end at one position hold that record and nothing else
        assert lasts.count(part.last) == 1 or len(part.records()) == 1
    assert join_runs(parts).ids == run.ids


@given(runs(), st.data())
def test_a_corrupt_item_is_refused_by_name(drawn, data):
    run, _ = drawn
    packed = encode_run(run)
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]
    place = data.draw(st.integers(len(packed) // 2, len(packed) - 1))
    flipped = packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :]
    for broken in (cut, flipped, b"", b"\x93\x01"):
        with pytest.raises(CorruptIdLogError, match=f"ends at {run.last}"):
            decode_run(run.first, run.last, broken)


def test_ten_thousand_plain_records_of_kinesis_take_less_than_fifteen_bytes_an_event():
    # Neighbours differ in a counter high up and in a stamp low down, as the service's own numbers do.
    truth = [
        (position_of(KINESIS + (n * 3 << 80) + (n * 7919 % 251 << 72) + n // 900), 1_700_000_000_000 + n, [n * 2**40])
        for n in range(10_000)
    ]
    assert len(encode_run(run_of(truth))) < 150_000
