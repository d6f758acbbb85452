"""The HTTP API as an analyst with a token uses it: every row of a metric, page by page, however many there are.

The token is sent and never told.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, Protocol

import msgspec
import urllib3
from msgspec import Struct

from chalicelib.aggregates.measures import ErrorBound
from chalicelib.aggregates.windows import format_instant, parse_duration, parse_instant
from chalicelib.query.parameters import ROWS_MAX

TRIES, PAUSE_SECONDS = 8, 1.0
TIMEOUT_SECONDS = 60
BUSY = (429, 500, 502, 503, 504)
OK, BAD_REQUEST = 200, 400
TOO_MUCH = ("group_by", "step", "start", "limit")  # the parameter that a refusal of too large an answer names
JSON = msgspec.json.Decoder(float_hook=Decimal)  # the API's numbers are exact; so is what we read

Parameters = Mapping[str, str]
Value = int | Decimal | None
Group = tuple[str | None, ...]


class ApiError(Exception):
    """The API did not answer; status is 0 when it was not reached, parameter the one at fault, if it said."""

    def __init__(self, detail: str, status: int = 0, parameter: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.parameter = parameter

    @property
    def is_of_too_much(self) -> bool:
        """Whether a smaller question may be answered."""
        return self.status in BUSY or (self.status == BAD_REQUEST and self.parameter in TOO_MUCH)


class Asked(Protocol):
    """What answers questions: `Api`, or a test's own."""

    def get(self, path: str, parameters: Parameters) -> Any:
        """Ask for JSON, decimals exact. Raises: ApiError."""


class Api:
    """A stage's HTTP API. Shapes: url without a slash at its end."""

    def __init__(self, url: str, token: str | None = None, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = urllib3.PoolManager(retries=False, timeout=TIMEOUT_SECONDS)
        self._sleep = sleep

    def get(self, path: str, parameters: Parameters) -> Any:
        """Ask for JSON, decimals exact; again when the API is busy.

        Raises: ApiError.
        """
        error = ApiError("it was not asked")
        for attempt in range(TRIES):
            try:
                answer = self._http.request("GET", f"{self._url}{path}", fields=dict(parameters), headers=self._headers)
            except urllib3.exceptions.HTTPError as failure:
                error = ApiError(f"{path}: {type(failure).__name__}")
            else:
                if answer.status == OK:
                    return _read(path, answer.data)
                error = _refusal(path, answer.status, answer.data)
                if answer.status not in BUSY:
                    break
            self._sleep(min(PAUSE_SECONDS * 2**attempt, 10))
        raise error


class MetricFacts(Struct, frozen=True):
    """A metric as `/v1/metrics` tells it. Shapes: kinds, by measure `count`, `sum`, `mean`, …; errors, of estimates."""

    name: str
    event_type: str
    dimensions: tuple[str, ...]
    kinds: dict[str, str]
    errors: dict[str, ErrorBound]
    window_ms: int
    lateness_ms: int


class Row(Struct, frozen=True):
    """A group of a window. Units: epoch milliseconds. Shapes: group, in the order of the metric's dimensions."""

    window_ms: int
    group: Group
    values: dict[str, Value]

    @property
    def is_overflow(self) -> bool:
        """Whether it holds what is beyond the metric's group limit."""
        return bool(self.group) and None in self.group


class Answers(Struct):
    """What the answers to a question told beside their rows: the least of what they were complete until."""

    complete_until_ms: int | None = None
    pages: int = 0


def metrics(api: Asked) -> dict[str, MetricFacts]:
    """The metrics that there are. Raises: ApiError."""
    described = api.get("/v1/metrics", {})["metrics"]
    return {each["name"]: _facts(each) for each in described}


def rows(
    api: Asked,
    metric: MetricFacts,
    ranges: Sequence[tuple[int, int]],
    where: Mapping[str, Sequence[str]],
    answers: Answers,
) -> Iterator[Row]:
    """Every group of every base window in the ranges, which are cut smaller where one answer would hold too much.

    Shapes: where names at most one dimension, and the values that it may have; answers is written to.
    Raises: ApiError.
    """
    todo = list(reversed(ranges))
    while todo:
        start_ms, end_ms = todo.pop()
        try:
            read = list(pages(api, metric, (start_ms, end_ms), where, answers))
        except ApiError as error:
            middle_ms = start_ms + (end_ms - start_ms) // metric.window_ms // 2 * metric.window_ms
            if not error.is_of_too_much or middle_ms == start_ms:
                raise
            todo += [(middle_ms, end_ms), (start_ms, middle_ms)]
        else:
            yield from read


def pages(
    api: Asked,
    metric: MetricFacts,
    span: tuple[int, int],
    where: Mapping[str, Sequence[str]],
    answers: Answers,
    *,
    step: str | None = None,
) -> Iterator[Row]:
    """The rows of one answer, page by page. Shapes: step as the API takes it, None for base windows.

    Raises: ApiError.
    """
    parameters = {
        "start": format_instant(span[0]),
        "end": format_instant(span[1]),
        "limit": str(ROWS_MAX),
    }
    if step:
        parameters["step"] = step
    if metric.dimensions:
        parameters["group_by"] = ",".join(metric.dimensions)
    for dimension, values in where.items():
        parameters["where"] = f"{dimension}:{','.join(values)}"
    while True:
        page = api.get(f"/v1/metrics/{metric.name}/windows", parameters)
        answers.pages += 1
        until = page["complete_until"]
        until_ms = parse_instant(until) if until else -1
        told_ms = answers.complete_until_ms
        answers.complete_until_ms = until_ms if told_ms is None else min(told_ms, until_ms)
        for row in page["data"]:
            group = tuple([row[dimension] for dimension in metric.dimensions])
            yield Row(_instant_ms(row["window_start"]), group, {name: row[name] for name in metric.kinds})
        if page["next"] is None:
            return
        parameters["cursor"] = page["next"]


_instant_ms = cache(parse_instant)  # thousands of rows have one window


def _facts(described: Mapping[str, Any]) -> MetricFacts:
    measures = described["measures"]
    errors = {each["name"]: each["error"] for each in measures if each.get("error")}
    return MetricFacts(
        name=described["name"],
        event_type=described["event_type"],
        dimensions=tuple(described["dimensions"]),
        kinds={each["name"]: each["kind"] for each in measures},
        errors={
            name: ErrorBound(error["kind"], float(error["bound"]), float(error["confidence"]))
            for name, error in errors.items()
        },
        window_ms=parse_duration(described["window"]),
        lateness_ms=parse_duration(described["lateness"]),
    )


def _read(path: str, body: bytes) -> Any:
    try:
        return JSON.decode(body)
    except msgspec.DecodeError:
        raise ApiError(f"{path}: {OK}, and no JSON: this is no stage's API") from None


def _refusal(path: str, status: int, body: bytes) -> ApiError:
    try:
        problem = JSON.decode(body)
        detail, parameter = str(problem.get("detail") or problem.get("title")), str(problem.get("parameter") or "")
    except (msgspec.DecodeError, AttributeError):
        detail, parameter = "no problem document", ""
    return ApiError(f"{path}: {status}: {detail}", status, parameter)
