"""A percentile is the least value that so many of all are at or below."""

import pytest

from loadtest.percentiles import percentile

NEVER = float("inf")


@pytest.mark.parametrize(
    ("values", "share", "wanted"),
    [
        (range(1, 101), 0.5, 50),
        (range(1, 101), 0.99, 99),
        (range(1, 101), 1.0, 100),
        ([7], 0.5, 7),
        ([3, 1, 2], 0.5, 2),
        ([3, 1, 2], 0.34, 2),
        ([1, 2, NEVER], 0.5, 2),
        ([1, 2, NEVER], 0.99, NEVER),
        ([], 0.5, None),
    ],
)
def test_nearest_rank(values, share: float, wanted: float | None) -> None:
    assert percentile(values, share) == wanted
