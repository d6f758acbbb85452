import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.records.compression import (
    EXPANDED_BYTES_MAX,
    GZIP_MAGIC,
    ZSTD_MAGIC,
    CompressionError,
    expand,
    is_compressed,
)
from tests.builders import gzipped, zstd

compressors = pytest.mark.parametrize("compress", [gzipped, zstd])


@compressors
@given(payload=st.binary(max_size=5_000))
def test_what_was_compressed_comes_back(compress, payload):
    assert is_compressed(compress(payload))
    assert expand(compress(payload)) == payload


@compressors
@given(parts=st.lists(st.binary(max_size=100), min_size=1, max_size=4))
def test_members_in_a_row_are_one_payload(compress, parts):
    assert expand(b"".join(map(compress, parts))) == b"".join(parts)


@compressors
@given(st.data())
def test_a_payload_cut_short_is_refused_and_not_shortened(compress, data):
    whole = compress(bytes(range(256)) * 20)
    length = data.draw(st.integers(4, len(whole) - 1))
    with pytest.raises(CompressionError):
        expand(whole[:length])


@compressors
def test_a_bomb_is_refused(compress):
    with pytest.raises(CompressionError, match="expands beyond"):
        expand(compress(bytes(EXPANDED_BYTES_MAX + 1)))


def test_a_bomb_of_empty_frames_is_refused():
    with pytest.raises(CompressionError, match="more than 10000 frames"):
        expand(zstd(b"") * 10_001)


@pytest.mark.parametrize("magic", [GZIP_MAGIC, ZSTD_MAGIC])
@given(junk=st.binary(max_size=200))
def test_any_bytes_behind_a_magic_expand_or_are_refused(magic, junk):
    try:
        expand(magic + junk)
    except CompressionError:
        return
