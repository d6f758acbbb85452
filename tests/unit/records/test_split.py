from hypothesis import given
from hypothesis import strategies as st

from chalicelib.records.split import Piece, split
from tests.builders import aggregated, gzipped, json_line, json_lines, make_decoder, order, record, zstd

ORDERS = [json_line(order(number)) for number in range(3)]


def pieces(data):
    return list(split(record(data, partition_key="ada")))


def alone(*data):
    return [Piece("ada", None, each) for each in data]


def test_one_event_is_one_piece_byte_for_byte_compressed_or_over_many_lines():
    for payload in (ORDERS[0], gzipped(ORDERS[0]), b'{\n"id":\n1}', b"not JSON", b"not JSON\nnor this", b""):
        assert pieces(payload) == alone(payload)


def test_json_lines_are_split_plain_gzip_or_zstd():
    lines = json_lines(*map(order, range(3)))
    for payload in (lines, gzipped(lines), zstd(lines), lines.replace(b"\n", b"\n\n") + b"\n"):
        assert pieces(payload) == alone(*ORDERS)


def test_a_line_that_is_no_json_is_a_piece_among_the_others():
    assert pieces(ORDERS[0] + b"\n{\n" + ORDERS[1]) == alone(ORDERS[0], b"{", ORDERS[1])


def test_an_aggregate_is_split_into_user_records_and_those_into_lines():
    aggregate = aggregated(ORDERS[0], b"\n".join(ORDERS[1:]), partition_key="grace")
    assert pieces(aggregate) == [Piece("grace", number, data) for number, data in zip((0, 1, 1), ORDERS, strict=True)]


def test_what_cannot_be_opened_stays_whole():
    for payload in (aggregated(*ORDERS)[:-1], gzipped(ORDERS[0])[:-1]):
        assert pieces(payload) == alone(payload)


@given(st.lists(st.sampled_from([*ORDERS, b"{", b"[]", b'{"type": "unknown"}']), min_size=1), st.booleans())
def test_pieces_are_judged_as_their_record_was(lines, is_aggregated):
    data = aggregated(*lines) if is_aggregated else b"\n".join(lines)
    decoder = make_decoder()
    whole = decoder.decode(record(data))
    parts = [decoder.decode(record(piece.data)) for piece in split(record(data))]
    assert [event for part in parts for event in part.events] == list(whole.events)
    assert [each.refusal.reason for part in parts for each in part.rejected] == [
        each.refusal.reason for each in whole.rejected
    ]
