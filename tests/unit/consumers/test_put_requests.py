from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.consumers.put_requests import RECORDS_A_REQUEST, REQUEST_BYTES_MAX, in_requests

SIZES = st.lists(st.integers(0, REQUEST_BYTES_MAX + 1), max_size=30)


@given(SIZES | st.lists(st.just(1), min_size=2 * RECORDS_A_REQUEST, max_size=2 * RECORDS_A_REQUEST + 1))
def test_requests_hold_every_item_in_order_within_the_limits(sizes):
    requests = list(in_requests(sizes, int))
    assert [size for request in requests for size in request] == sizes
    assert all(0 < len(request) <= RECORDS_A_REQUEST for request in requests)
    assert all(sum(request) <= REQUEST_BYTES_MAX or len(request) == 1 for request in requests)
    assert all(
        len(request) == RECORDS_A_REQUEST or sum(request) + following[0] > REQUEST_BYTES_MAX
        for request, following in pairwise(requests)
    ), "no request is cut short"
