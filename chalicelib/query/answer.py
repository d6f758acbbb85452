"""From stored shares to the rows of an answer: merge, put in order, cut a page.

Shares are merged into the groups of the answer as they come, and of their states only those that the measures asked
for need, so memory holds the answer's groups and not what was read. The order is total (no two rows are alike in it),
so pages neither overlap nor skip.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

from msgspec import Struct

from chalicelib.aggregates.metric import OVERFLOW, GroupKey
from chalicelib.aggregates.partial import Groups, Merging, States
from chalicelib.aggregates.windows import window_start
from chalicelib.query.cursor import PositionValue, encode_cursor
from chalicelib.query.errors import ParameterError
from chalicelib.query.request import WINDOW_START, Order, WindowsRequest

GROUPS_MAX = 200_000  # in one answer, before paging: some 100 MB
STATES_BYTES_MAX = 200_000_000  # of them; where sketches answer, fewer groups fill it

RowKey = tuple[int, tuple[str | None, ...]]  # a row's window and the values of the dimensions grouped by
Row = tuple[Any, ...]  # the start of the row's window, epoch milliseconds, then its values, column by column
Getter = Callable[[RowKey, States], PositionValue]


class Page(Struct, frozen=True):
    """The rows of one page, and the cursor of the next one, if there is one."""

    rows: list[Row]
    next: str | None


class Merger:
    """Merges shares into the groups of one answer."""

    def __init__(self, request: WindowsRequest) -> None:
        self._request = request
        self._merging: Merging[RowKey] = Merging(request.accumulators)
        state_bytes_max = sum(needed.state_bytes_max for needed in request.accumulators)
        self._groups_max = min(GROUPS_MAX, STATES_BYTES_MAX // state_bytes_max)
        self._places = [request.metric.by.index(dimension) for dimension in request.group_by]
        self._conditions = [(request.metric.by.index(dimension), values) for dimension, values in request.where.items()]
        self._values_of = cache(self._project)  # most windows have the same groups
        stored = request.metric.accumulators
        self._needed = [stored.index(needed) for needed in request.accumulators]
        self._needs_all = len(self._needed) == len(stored)

    @property
    def groups(self) -> Mapping[RowKey, States]:
        """The groups of the answer, each with the states of the accumulators that it needs."""
        return self._merging.groups

    def add(self, window_start_ms: int, groups: Groups) -> None:
        """Merge the groups that one item holds of a window.

        Raises: ParameterError when the answer has more groups than memory is kept for.
        """
        self._merging.add(self._rows(window_of(self._request, window_start_ms), groups))
        if len(self._merging) > self._groups_max:
            raise ParameterError(
                "group_by",
                f"the answer has over {self._groups_max} rows before paging; group by fewer dimensions, "
                "narrow the range or `where`, or take a larger step",
            )

    def _rows(self, start_ms: int, groups: Groups) -> Iterator[tuple[RowKey, States]]:
        for group, states in groups.items():
            values = self._values_of(group)
            if values is not None:
                needed = states if self._needs_all else tuple([states[place] for place in self._needed])
                yield (start_ms, values), needed

    def _project(self, group: GroupKey) -> tuple[str | None, ...] | None:
        """The group's values of the dimensions grouped by; None when it is not asked for."""
        if group == OVERFLOW:
            return None if self._conditions else (None,) * len(self._places)
        if all(group[place] in values for place, values in self._conditions):
            return tuple([group[place] for place in self._places])
        return None


def window_of(request: WindowsRequest, instant_ms: int) -> int:
    """The start of the answer's window that holds the instant, clipped to the range."""
    if request.step_ms is None:
        return request.start_ms
    origin_ms = request.origin_ms
    return max(request.start_ms, origin_ms + window_start(instant_ms - origin_ms, request.step_ms))


def page_of(request: WindowsRequest, groups: Mapping[RowKey, States]) -> Page:
    """Put the groups in order and cut the page that is asked for."""
    ordered_by = [_getter(request, order.column) for order in request.order_by]

    def place(group: tuple[RowKey, States]) -> tuple[Any, ...]:
        return sort_key(request.order_by, tuple([get(*group) for get in ordered_by]))

    ordered = list(groups.items())
    for order, get in reversed(list(zip(request.order_by, ordered_by, strict=True))):  # a stable sort keeps the last
        ordered.sort(key=lambda group, get=get: _ascending(get(*group)), reverse=order.is_descending)  # type: ignore[misc]
    first = 0
    if request.after is not None:
        first = bisect_right(ordered, sort_key(request.order_by, request.after), key=place)
    page = ordered[first : first + request.limit]
    finishers = [measure.finisher(request.accumulators) for _, measure in request.asked]
    cursor = None
    if first + len(page) < len(ordered):
        last = tuple([get(*page[-1]) for get in ordered_by])
        cursor = encode_cursor(request.digest, request.start_ms, request.end_ms, last)
    rows = [(start_ms, *values, *[finish(states) for finish in finishers]) for (start_ms, values), states in page]
    return Page(rows, cursor)


def _getter(request: WindowsRequest, column: str) -> Getter:
    if column == WINDOW_START:
        return lambda key, _: key[0]
    if column in request.group_by:
        place = request.group_by.index(column)
        return lambda key, _: key[1][place]
    finish = request.metric.measures[column].finisher(request.accumulators)
    return lambda _, states: finish(states)


class _Null:
    """What null is put in order as: ahead of every value, or behind every one in a descending order."""

    def __init__(self, *, is_first: bool) -> None:
        self._is_first = is_first

    def __lt__(self, other: object) -> bool:
        return self._is_first and other is not self

    def __gt__(self, other: object) -> bool:
        return not self._is_first and other is not self


_NULL_FIRST, _NULL_LAST = _Null(is_first=True), _Null(is_first=False)


def sort_key(order_by: tuple[Order, ...], values: tuple[PositionValue, ...]) -> tuple[Any, ...]:
    """What compares as the rows with these values are ordered: null before values, and the reverse when descending."""
    return tuple(
        [
            _descending(value) if order.is_descending else _ascending(value)
            for order, value in zip(order_by, values, strict=True)
        ]
    )


def _ascending(value: PositionValue) -> Any:
    return _NULL_FIRST if value is None else value


def _descending(value: PositionValue) -> Any:
    if isinstance(value, Decimal):
        return value.copy_negate()  # unlike `-value` it does not round
    if isinstance(value, int):
        return -value
    if value is None:
        return _NULL_LAST
    # Of two texts the one with the higher first difference comes first, and a text before its own beginnings.
    return (*(-ord(character) for character in value), 1)
