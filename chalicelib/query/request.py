"""A windows request: from the text of its parameters to what is asked. Whatever is not understood is refused.

An answer to a question that was not asked looks like any other answer. So nothing is guessed or passed over: the range
must fall on base windows, unless it is to be widened, and an unknown or repeated parameter is an error that names it.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct

from chalicelib.aggregates.measures import Accumulator, ErrorBound, Measure
from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.windows import (
    UNIT_MS,
    format_duration,
    format_instant,
    next_window_start,
    parse_duration,
    parse_instant,
    window_start,
)
from chalicelib.query.cursor import Cursor, Position, decode_cursor, position_of
from chalicelib.query.errors import ParameterError, quoted
from chalicelib.query.parameters import (
    ALL,
    EXACT,
    OUTWARD,
    ROWS_DEFAULT,
    ROWS_MAX,
    WINDOWS_PARAMETERS,
    Parameter,
)

DAY_MS = UNIT_MS["d"]
RANGE_DEFAULT_MS = UNIT_MS["h"]
# Text and datetime hold the years 1 to 9999; a day of room on both sides is for the windows around an instant.
INSTANT_MIN_MS = parse_instant("0001-01-03")
INSTANT_MAX_MS = parse_instant("9999-12-30")

WINDOW_START = "window_start"
COLUMN_TYPES: Mapping[str, Any] = {"timestamp": int, "string": str | None, "integer": int, "decimal": Decimal | None}

PARAMETERS = {parameter.name: parameter for parameter in WINDOWS_PARAMETERS}


class Column(Struct, frozen=True, omit_defaults=True):
    """A column of the answer, as its `meta` tells it; error, of values that are not exact, how far off they may be."""

    name: str
    type: str
    error: ErrorBound | None = None


class Order(Struct, frozen=True):
    """A column to order by."""

    column: str
    is_descending: bool = False


class WindowsRequest(Struct, frozen=True, kw_only=True, dict=True):
    """What is asked of a metric.

    Shapes: step_ms None is one window, the whole range; where holds the values that each named dimension may have;
            order_by ends in window_start and the dimensions, so that no two rows are alike in it; after is the
            position of the last row before this page.
    Units:  instants are epoch milliseconds, UTC; the range is half-open.
    """

    metric: Metric
    start_ms: int
    end_ms: int
    step_ms: int | None
    group_by: tuple[str, ...]
    where: Mapping[str, frozenset[str]]
    measures: tuple[str, ...]
    order_by: tuple[Order, ...]
    limit: int
    after: Position | None = None

    @property
    def origin_ms(self) -> int:
        """From where the answer's windows are counted.

        Why: a step that divides a day is aligned to midnight, so that answers to different ranges have the same
             windows; another would be aligned to some midnight long ago, so it begins at the range's start.
        """
        is_aligned = self.step_ms is not None and DAY_MS % self.step_ms == 0
        return 0 if is_aligned else self.start_ms

    @property
    def asked(self) -> list[tuple[str, Measure]]:
        """The measures to answer, with their names."""
        return [(name, self.metric.measures[name]) for name in self.measures]

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the answer, in order."""
        return (
            Column(WINDOW_START, "timestamp"),
            *(Column(dimension, "string") for dimension in self.group_by),
            *(Column(name, measure.type_name, measure.error) for name, measure in self.asked),
        )

    @cached_property
    def accumulators(self) -> tuple[Accumulator, ...]:
        """What the measures asked for need, in the order in which the metric stores it."""
        needed = {each for _, measure in self.asked for each in measure.accumulators}
        return tuple(stored for stored in self.metric.accumulators if stored in needed)

    @cached_property
    def digest(self) -> str:
        """The same for the pages of one answer, and for no other answer."""
        where = sorted((dimension, sorted(values)) for dimension, values in self.where.items())
        measures = [(name, repr(measure)) for name, measure in self.asked]  # one may be declared anew
        of_what = (self.metric.name, self.start_ms, self.end_ms, self.step_ms, where)
        asked = (*of_what, self.group_by, measures, self.order_by)
        return blake2b(msgspec.msgpack.encode(asked), digest_size=8).hexdigest()


def parse_request(metric: Metric, given: Mapping[str, Sequence[str]], now_ms: int) -> WindowsRequest:
    """Read the parameters of a windows request.

    Shapes: given holds each parameter's values, decoded from the URL.
    Raises: ParameterError naming the first parameter that cannot be honoured, and why.
    """
    check_declared(given, PARAMETERS)
    texts = {name: values[0] for name, values in given.items() if values}
    cursor = decode_cursor(texts["cursor"]) if "cursor" in texts else None
    step_ms = _step_ms(metric, texts.get("step"))
    start_ms, end_ms = _range(metric, texts, cursor, now_ms, _alignment_ms(metric, texts.get("align"), step_ms))
    group_by = _names("group_by", texts.get("group_by"), metric.by)
    measures = _names("measures", texts.get("measures"), tuple(metric.measures)) or tuple(metric.measures)
    request = WindowsRequest(
        metric=metric,
        start_ms=start_ms,
        end_ms=end_ms,
        step_ms=step_ms,
        group_by=group_by,
        where=_where(metric, given.get("where", ())),
        measures=measures,
        order_by=_order_by(texts.get("order_by"), (WINDOW_START, *group_by), measures),
        limit=parse_limit(texts.get("limit"), ROWS_DEFAULT, ROWS_MAX),
    )
    return msgspec.structs.replace(request, after=_position(request, cursor)) if cursor else request


def check_declared(given: Mapping[str, Sequence[str]], declared: Mapping[str, Parameter]) -> None:
    """Refuse what is not declared, given too often, or no text.

    Raises: ParameterError.
    """
    for name, values in given.items():
        if name not in declared:
            raise ParameterError(name, f"there is no such parameter; there are {', '.join(declared)}")
        if len(values) > 1 and not declared[name].is_repeatable:
            raise ParameterError(name, f"it is given {len(values)} times; it takes one value")
        if not all(map(_is_unicode, values)):
            raise ParameterError(name, "it is not well-formed Unicode")


def _is_unicode(text: str) -> bool:
    return not re.search("[\ud800-\udfff]", text)  # a lone surrogate, which JSON can escape and UTF-8 cannot hold


def _range(
    metric: Metric, texts: Mapping[str, str], cursor: Cursor | None, now_ms: int, alignment_ms: int
) -> tuple[int, int]:
    """Read the range, and widen it to multiples of the alignment; of 1 ms it stays as it is."""
    end_ms = cursor.end_ms if cursor else window_start(now_ms, metric.window_ms) + metric.window_ms
    if "end" in texts:
        end_ms = _instant_ms("end", texts["end"])
    start_ms = cursor.start_ms if cursor else window_start(end_ms - RANGE_DEFAULT_MS, metric.window_ms)
    if "start" in texts:
        start_ms = _instant_ms("start", texts["start"])
    start_ms = window_start(start_ms, alignment_ms)
    end_ms = next_window_start(end_ms, alignment_ms)
    _check_instant(metric, "end", end_ms)
    _check_instant(metric, "start", start_ms)
    if start_ms >= end_ms:
        fault = "start" if "start" in texts else "end"
        raise ParameterError(fault, f"the range [{format_instant(start_ms)}, {format_instant(end_ms)}) is empty")
    return start_ms, end_ms


def _alignment_ms(metric: Metric, text: str | None, step_ms: int | None) -> int:
    """Of what the range's ends are made multiples: of the answer's windows, if they are aligned to midnight."""
    if text in (None, EXACT):
        return 1
    if text != OUTWARD:
        raise ParameterError("align", f"there is no {quoted(str(text))}; there are: {EXACT}, {OUTWARD}")
    return step_ms if step_ms and DAY_MS % step_ms == 0 else metric.window_ms


def _instant_ms(parameter: str, text: str) -> int:
    try:
        return parse_instant(text)
    except ValueError as error:
        hint = "; in a URL + is written %2B" if " " in text else ""
        raise ParameterError(parameter, f"{error}{hint}") from error


def _check_instant(metric: Metric, parameter: str, instant_ms: int) -> None:
    if not INSTANT_MIN_MS <= instant_ms <= INSTANT_MAX_MS:
        bounds = f"{format_instant(INSTANT_MIN_MS)} and {format_instant(INSTANT_MAX_MS)}"
        raise ParameterError(parameter, f"it does not lie between {bounds}")
    below_ms = window_start(instant_ms, metric.window_ms)
    if below_ms != instant_ms:
        nearest = f"{format_instant(below_ms)} and {format_instant(below_ms + metric.window_ms)}"
        window = format_duration(metric.window_ms)
        raise ParameterError(parameter, f"it is within a window of {window}, the metric's base; nearest are {nearest}")


def _step_ms(metric: Metric, text: str | None) -> int | None:
    if text == ALL:
        return None
    window = format_duration(metric.window_ms)
    try:
        step_ms = parse_duration(text) if text is not None else metric.window_ms
    except ValueError as error:
        raise ParameterError("step", f"{error}; or `{ALL}`") from error
    if step_ms % metric.window_ms or step_ms > DAY_MS:
        raise ParameterError("step", f"it is no multiple of {window}, the metric's base window, up to 1d; or `{ALL}`")
    return step_ms


def _names(parameter: str, text: str | None, known: Sequence[str]) -> tuple[str, ...]:
    """Read a list of names, each known and each once; of an absent parameter, none."""
    names = tuple(text.split(",")) if text is not None else ()
    for place, name in enumerate(names):
        if name not in known:
            raise ParameterError(parameter, f"there is no {quoted(name)}; there are: {', '.join(known) or 'none'}")
        if name in names[:place]:
            raise ParameterError(parameter, f"{name} is named twice")
    return names


def _where(metric: Metric, texts: Sequence[str]) -> Mapping[str, frozenset[str]]:
    where: dict[str, frozenset[str]] = {}
    for text in texts:
        dimension, colon, values = text.partition(":")
        if dimension not in metric.by:
            known = ", ".join(metric.by) or "none"
            raise ParameterError("where", f"there is no dimension {quoted(dimension)}; there are: {known}")
        if not (colon and re.fullmatch(r"(?:[^\\:]|\\[\\,:])*", values)):
            raise ParameterError(
                "where",
                r"a condition is dimension:value,value with \, \: and \\ "
                f"for a comma, a colon and a backslash in a value, not {quoted(text)}",
            )
        if dimension in where:
            raise ParameterError("where", f"{dimension} is named twice; give all its values at once, with commas")
        where[dimension] = frozenset(_split_values(values))
    return where


def _split_values(text: str) -> list[str]:
    values = [""]
    characters = iter(text)
    for character in characters:
        if character == ",":
            values.append("")
        else:
            values[-1] += next(characters) if character == "\\" else character
    return values


def _order_by(text: str | None, identity: Sequence[str], measures: Sequence[str]) -> tuple[Order, ...]:
    """Read the order asked for, and make it total by the columns that tell rows apart."""
    asked = text.split(",") if text is not None else []
    names = [name.removeprefix("-") for name in asked]
    _names("order_by", ",".join(names) if asked else None, (*identity, *measures))
    ties = [name for name in identity if name not in names]
    return tuple(Order(name.removeprefix("-"), name.startswith("-")) for name in (*asked, *ties))


def parse_limit(text: str | None, default: int, maximum: int) -> int:
    """Read the `limit`; of an absent one, the default.

    Raises: ParameterError when it is no whole number from 1 to the maximum.
    """
    limit = default if text is None else int(text) if re.fullmatch("[0-9]{1,9}", text) else 0
    if not 1 <= limit <= maximum:
        raise ParameterError("limit", f"it is no whole number from 1 to {maximum}")
    return limit


def _position(request: WindowsRequest, cursor: Cursor) -> Position:
    types = {column.name: COLUMN_TYPES[column.type] for column in request.columns}
    return position_of(cursor, request.digest, [types[order.column] for order in request.order_by])
