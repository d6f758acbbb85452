from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.reading.plans import cover

STEPS = [1, 4, 12]  # a "minute", an "hour" of four and a "day" of three hours: small, so that brute force can check


ranges = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted).filter(lambda ends: ends[0] < ends[1])


#            0     1     2     3     4     5     6     7     8     9    10    11    12
# settled          ├─────────────────────────────────────────────┤
# cover      ·     ·     ·     ·     ├── one of 4 ───────────┤     ·     ·     ·
def test_larger_windows_cover_what_is_settled_and_smaller_ones_the_edges():
    assert cover(0, 13, STEPS, settled_from_ms=1, settled_until_ms=9) == [(1, 0, 4), (4, 4, 8), (1, 8, 13)]


def test_a_day_stands_for_its_hours():
    assert cover(3, 40, STEPS, settled_from_ms=0, settled_until_ms=40) == [
        (1, 3, 4),
        (4, 4, 12),
        (12, 12, 36),
        (4, 36, 40),
    ]


def test_nothing_settled_is_read_by_base_windows():
    assert cover(0, 60, STEPS, settled_from_ms=0, settled_until_ms=0) == [(1, 0, 60)]


@given(ranges, ranges)
def test_every_window_is_covered_once_in_order_by_as_few_items_as_can_be(wanted, settled):
    spans = cover(*wanted, STEPS, *settled)
    ends = [wanted[0], *(span.end_ms for span in spans)]
    assert [span.start_ms for span in spans] == ends[:-1]
    assert ends[-1] == wanted[1]
    for step, start, end in spans:
        assert start % step == end % step == 0
        assert step == 1 or (settled[0] <= start and end <= settled[1])
    assert sum((span.end_ms - span.start_ms) // span.step_ms for span in spans) == fewest(wanted, settled)


def fewest(wanted, settled):
    @cache
    def from_here(start):
        if start == wanted[1]:
            return 0
        usable = [
            step
            for step in STEPS
            if start % step == 0
            and start + step <= wanted[1]
            and (step == 1 or (settled[0] <= start and start + step <= settled[1]))
        ]
        return 1 + min(from_here(start + step) for step in usable)

    return from_here(wanted[0])
