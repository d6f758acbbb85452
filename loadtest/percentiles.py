"""What a percentile is in reports and objectives. Only here."""

from collections.abc import Iterable
from math import ceil


def percentile(values: Iterable[float], share: float) -> float | None:
    """The least of the values that this share of them is at or below (the nearest rank); None of no values.

    Why no value between two: each percentile then is something that was measured, and infinite ones have a place.
    """
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else None
