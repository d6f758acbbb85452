"""The formats of an answer: JSON, CSV, NDJSON. Numbers are exact in all: a decimal is written digit by digit."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from chalicelib.aggregates.windows import format_duration, format_instant
from chalicelib.query.answer import Page
from chalicelib.query.describe import Instant, instant_or_null
from chalicelib.query.parameters import ALL
from chalicelib.query.request import Column, WindowsRequest

CELL = {"type": ["string", "number", "null"]}

_encoder = msgspec.json.Encoder(decimal_format="number")


class Statistics(Struct, frozen=True):
    """What an answer cost."""

    elapsed_ms: int
    items_read: int
    read_units: float


class WindowsAnswer(Struct, frozen=True):
    """The windows of a metric in the range `[start, end)`: a page of rows, one for each window and group.

    Shapes: data has the columns that meta names; decimals are exact numbers. next is the cursor of the next page.
            Each event that the stream accepted before complete_until is in it.
    """

    metric: str
    start: Instant
    end: Instant
    step: str
    complete_until: Instant | None
    meta: tuple[Column, ...]
    data: list[Annotated[dict[str, Any], Meta(extra_json_schema={"additionalProperties": CELL})]]
    rows: int
    next: str | None
    statistics: Statistics


class Answer(Struct, frozen=True):
    """A page of the answer to a request."""

    request: WindowsRequest
    page: Page
    complete_until_ms: int | None
    statistics: Statistics


class Format(Struct, frozen=True):
    """A format: its media type, and how an answer is written in it."""

    name: str
    media_type: str
    content_type: str
    write: Callable[[Answer], str]


def write_json(document: Any) -> str:
    """Write a document as one line of JSON."""
    return f"{_encoder.encode(document).decode()}\n"


def write_answer_json(answer: Answer) -> str:
    """Write an answer with all that is known about it."""
    request = answer.request
    return write_json(
        WindowsAnswer(
            metric=request.metric.name,
            start=format_instant(request.start_ms),
            end=format_instant(request.end_ms),
            step=ALL if request.step_ms is None else format_duration(request.step_ms),
            complete_until=instant_or_null(answer.complete_until_ms),
            meta=request.columns,
            data=list(_objects(answer)),
            rows=len(answer.page.rows),
            next=answer.page.next,
            statistics=answer.statistics,
        )
    )


def write_answer_ndjson(answer: Answer) -> str:
    """Write the rows as JSON objects, one a line."""
    return "".join(map(write_json, _objects(answer)))


def write_answer_csv(answer: Answer) -> str:
    """Write the rows as RFC 4180 has it, under a line with the columns' names; null is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([column.name for column in answer.request.columns])
    writer.writerows(_rows(answer))
    return text.getvalue()


def _objects(answer: Answer) -> Iterator[dict[str, Any]]:
    names = [column.name for column in answer.request.columns]
    return (dict(zip(names, row, strict=True)) for row in _rows(answer))


def _rows(answer: Answer) -> Iterator[Sequence[Any]]:
    """The rows as they are read: the first column of every answer is the window's start."""
    return ((format_instant(start_ms), *values) for start_ms, *values in answer.page.rows)


JSON = Format("json", "application/json", "application/json", write_answer_json)
CSV = Format("csv", "text/csv", "text/csv; charset=utf-8", write_answer_csv)
NDJSON = Format("ndjson", "application/x-ndjson", "application/x-ndjson", write_answer_ndjson)
FORMATS = (JSON, CSV, NDJSON)  # the first that fits an Accept header best is taken
