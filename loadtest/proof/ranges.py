"""Which range of windows to ask for, and in which parts. Pure. Units: epoch milliseconds."""

from collections import Counter
from collections.abc import Iterable

from chalicelib.aggregates.windows import window_start
from chalicelib.query.parameters import ROWS_MAX
from loadtest.proof.compare import Key

Range = tuple[int, int]


def whole(touched: Iterable[Key], window_ms: int, before_ms: int, after_ms: int) -> Range | None:
    """From so long before the first window touched to so long after the last; None when none was."""
    windows = {window for window, _ in touched}
    if not windows:
        return None
    start_ms = window_start(min(windows) - before_ms, window_ms)
    return start_ms, window_start(max(windows) + after_ms, window_ms) + window_ms


def cut(span: Range | None, touched: Iterable[Key], rows_max: int = ROWS_MAX) -> list[Range]:
    """Cut a range so that a part has the rows of one page: each page of an answer reads the whole answer anew."""
    if span is None:
        return []
    start_ms, end_ms = span
    rows_of = Counter(window_ms for window_ms, _ in touched)
    parts, rows = [], 0
    for window_ms in sorted(rows_of):
        if rows and rows + rows_of[window_ms] > rows_max:
            parts.append((start_ms, window_ms))
            start_ms, rows = window_ms, 0
        rows += rows_of[window_ms]
    return [*parts, (start_ms, end_ms)]
