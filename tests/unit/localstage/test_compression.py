"""Which answers are compressed, by API Gateway's rules."""

import gzip

import pytest

from localstage.compression import compress

BODY = b"x" * 1_024


@pytest.mark.parametrize(
    "accept_encoding", ["gzip", "gzip, deflate, br", "br;q=0.5, GZIP", "deflate;q=0.2, gzip;q=0.3, nonsense;q=x;q=0.1"]
)
def test_an_asker_that_likes_gzip_best_gets_it(accept_encoding: str) -> None:
    compressed = compress(BODY, [("Content-Type", "text/csv")], accept_encoding, 1_024)
    assert compressed is not None
    assert gzip.decompress(compressed) == BODY


@pytest.mark.parametrize("accept_encoding", ["", "*", "identity", "br", "br, gzip;q=0.9", "gzip;q=0", ";;,,"])
def test_any_other_gets_it_plain(accept_encoding: str) -> None:
    assert compress(BODY, [], accept_encoding, 1_024) is None


def test_what_is_too_small_or_encoded_already_stays_as_it_is() -> None:
    assert compress(BODY[1:], [], "gzip", 1_024) is None
    assert compress(BODY, [("content-encoding", "br")], "gzip", 1_024) is None
