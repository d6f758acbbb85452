"""The parameters of requests, declared once: what each is called, what it means, what it may hold.

`request.py` refuses what is not declared here, and the OpenAPI document is generated from the same declarations.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from chalicelib.records.letter import REASONS

ROWS_DEFAULT = 1_000
ROWS_MAX = 10_000
WINDOWS_MAX = 100_000  # stored windows read for one answer: 69 days of minutes that all hold something
ALL = "all"  # the step that is the whole range
EXACT, OUTWARD = "exact", "outward"  # what becomes of a range that does not fall on windows: refused, or widened
EXAMPLES_DEFAULT = 20
EXAMPLES_MAX = 100


class Parameter(Struct, frozen=True):
    """One query parameter. schema is JSON Schema of its text, as OpenAPI 3.1 takes it."""

    name: str
    description: str
    schema: Mapping[str, Any]
    example: str
    is_repeatable: bool = False


INSTANT = {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}
DAY = {"type": "string", "format": "date"}
NAMES = {"type": "string", "pattern": "^[^,]+(,[^,]+)*$"}

WINDOWS_PARAMETERS = (
    Parameter(
        "start",
        "The first instant of the range: RFC 3339 with an offset, or a date (its midnight in UTC). A multiple of the "
        "metric's base window, or see `align`. An hour before `end` if absent.",
        INSTANT,
        "2026-11-23T20:00:00Z",
    ),
    Parameter(
        "end",
        "The instant up to which the range goes, itself not in it; written as `start` is. The end of the base window "
        "that is under way if absent.",
        INSTANT,
        "2026-11-23T21:00:00Z",
    ),
    Parameter(
        "step",
        "The size of the answer's windows: a multiple of the metric's base window up to a day, or `all` for one row "
        "(of each group) for the range. Windows are aligned to midnight UTC when the step divides a day, otherwise to "
        "`start`; the first and the last are clipped to the range. The base window if absent.",
        {"type": "string", "pattern": "^([0-9]{1,9}[smhd]|all)$"},
        "5m",
    ),
    Parameter(
        "align",
        "What becomes of a `start` or `end` within a window: `exact` refuses it, `outward` widens the range to whole "
        "windows of the answer (of the base size, when the step does not divide a day). The answer tells its range.",
        {"type": "string", "enum": [EXACT, OUTWARD], "default": EXACT},
        OUTWARD,
    ),
    Parameter(
        "group_by",
        "The dimensions to tell apart, separated by commas. Totals if absent. Groups beyond the metric's group limit "
        "are counted together in rows whose dimensions are null.",
        NAMES,
        "currency",
    ),
    Parameter(
        "where",
        "Only the events whose dimension has one of these values: `currency:EUR,USD`. Repeated for further "
        r"dimensions, all of which must hold. In a value a comma, a colon and a backslash are written `\,`, `\:` and "
        r"`\\`. Groups beyond the group limit have no values and meet no condition.",
        {"type": "string", "pattern": r"^[^:]+:([^\\:]|\\[\\,:])*$"},
        "currency:EUR,USD",
        is_repeatable=True,
    ),
    Parameter("measures", "The measures to give, separated by commas. All if absent.", NAMES, "count,revenue"),
    Parameter(
        "order_by",
        "The columns of the answer to order by, separated by commas, `-` before one for descending order. "
        "`window_start` and the dimensions break ties, and are the order if absent; null comes first.",
        NAMES,
        "-revenue",
    ),
    Parameter(
        "limit",
        f"The most rows to give, {ROWS_DEFAULT} if absent.",
        {"type": "integer", "minimum": 1, "maximum": ROWS_MAX, "default": ROWS_DEFAULT},
        "10",
    ),
    Parameter(
        "cursor",
        "Where the page before this one ended: its `next`. It holds for the request that it came from, of which only "
        "`limit` and `format` may change; an absent `start` or `end` stays what it was on the first page.",
        {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"},
        "lKhjNWQ0",
    ),
    Parameter(
        "format",
        "The format of the answer; it goes before the Accept header.",
        {"type": "string", "enum": ["json", "csv", "ndjson"], "default": "json"},
        "csv",
    ),
)

DEAD_LETTERS_PARAMETERS = (
    Parameter(
        "start",
        "The first day of the range, in UTC: on which the stream accepted the record or, of one that could not be "
        "delivered, on which Lambda gave it up. Seven days before `end` if absent.",
        DAY,
        "2026-11-17",
    ),
    Parameter("end", "The day before which the range ends, itself not in it. Tomorrow if absent.", DAY, "2026-11-24"),
    Parameter(
        "reason",
        "Only the dead letters with this reason.",
        {"type": "string", "enum": list(REASONS)},
        "too late",
    ),
    Parameter(
        "limit",
        f"The most examples to give, {EXAMPLES_DEFAULT} if absent.",
        {"type": "integer", "minimum": 1, "maximum": EXAMPLES_MAX, "default": EXAMPLES_DEFAULT},
        "5",
    ),
)
