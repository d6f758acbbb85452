"""The question what could not be counted: from its parameters to its answer, which holds no payload.

What it counts is what a redrive would put back: letters that the stream has accepted since are not among them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from chalicelib.aggregates.windows import UNIT_MS, format_instant, parse_instant, window_start
from chalicelib.query.errors import ParameterError, quoted
from chalicelib.query.parameters import DEAD_LETTERS_PARAMETERS, EXAMPLES_DEFAULT, EXAMPLES_MAX
from chalicelib.query.ports import LetterObject, ObjectList
from chalicelib.query.request import check_declared, parse_limit
from chalicelib.records.letter import REASONS, Letter, LettersError

DAY_MS = UNIT_MS["d"]
RANGE_DEFAULT_MS = 7 * DAY_MS
Day = Annotated[str, Meta(extra_json_schema={"format": "date"})]
UNREADABLE = "unreadable"  # in the place of a reason: an object that is cut short or corrupt, counted as one
PARAMETERS = {parameter.name: parameter for parameter in DEAD_LETTERS_PARAMETERS}


class DeadLettersRequest(Struct, frozen=True):
    """What is asked: days in `[start_day, end_day)`, of every reason if none is named."""

    start_day: str
    end_day: str
    reason: str | None
    limit: int


class Example(Struct, frozen=True):
    """A dead letter without its payload; key is the object in S3 that keeps it whole."""

    reason: str
    error: str
    arrived_at: str
    shard_id: str
    sequence_number: str
    sub_sequence_number: int | None
    key: str


class ObjectSummary(Struct, frozen=True):
    """What one object holds: letters by reason, and some of them."""

    day: str
    counts: Mapping[str, int]
    examples: Sequence[Example]


class ObjectsRead(Struct, frozen=True):
    """How many objects of dead letters there are, and how many of them the answer tells of."""

    found: int
    read: int


class ReasonCount(Struct, frozen=True):
    """How many dead letters of a day have a reason."""

    day: Day
    reason: str
    count: int


class DeadLettersAnswer(Struct, frozen=True):
    """What could not be counted in the days `[start, end)`; complete, when nothing is left out."""

    start: Day
    end: Day
    complete: bool
    objects: ObjectsRead
    counts: tuple[ReasonCount, ...]
    examples: tuple[Example, ...]


def parse_dead_letters_request(given: Mapping[str, Sequence[str]], now_ms: int) -> DeadLettersRequest:
    """Read the parameters of the request.

    Raises: ParameterError naming the first parameter that cannot be honoured, and why.
    """
    check_declared(given, PARAMETERS)
    texts = {name: values[0] for name, values in given.items() if values}
    end_ms = _day_ms("end", texts["end"]) if "end" in texts else window_start(now_ms, DAY_MS) + DAY_MS
    # No day is before the year 1, and then there is nothing to answer either.
    start_ms = _day_ms("start", texts["start"]) if "start" in texts else max(_FIRST_DAY_MS, end_ms - RANGE_DEFAULT_MS)
    if start_ms >= end_ms:
        fault = "start" if "start" in texts else "end"
        raise ParameterError(fault, f"the range [{_day(start_ms)}, {_day(end_ms)}) is empty")
    reason = texts.get("reason")
    if reason is not None and reason not in REASONS:
        raise ParameterError("reason", f"there is no {quoted(reason)}; there are: {', '.join(REASONS)}")
    limit = parse_limit(texts.get("limit"), EXAMPLES_DEFAULT, EXAMPLES_MAX)
    return DeadLettersRequest(_day(start_ms), _day(end_ms), reason, limit)


def summarize(request: DeadLettersRequest, stored: LetterObject, letters: Iterator[Letter]) -> ObjectSummary:
    """Go through an object once, keeping counts and a few examples of it."""
    counts: Counter[str] = Counter()
    examples: list[Example] = []
    try:
        for letter in letters:
            if request.reason in (None, letter.reason):
                counts[letter.reason] += 1
                if len(examples) < request.limit:
                    examples.append(_example(letter, stored.key))
    except LettersError:
        if request.reason is None:
            counts[UNREADABLE] += 1
    return ObjectSummary(stored.day, counts, examples)


def describe_dead_letters(
    request: DeadLettersRequest, listed: ObjectList, summaries: Sequence[ObjectSummary | None]
) -> DeadLettersAnswer:
    """The answer. Shapes: summaries are of the first objects listed, None for one that was not read in time."""
    read = [summary for summary in summaries if summary is not None]
    counts: Counter[tuple[str, str]] = Counter()
    for summary in read:
        counts.update({(summary.day, reason): count for reason, count in summary.counts.items()})
    examples = [example for summary in read for example in summary.examples]
    newest = sorted(examples, key=lambda example: example.arrived_at.rstrip("Z"), reverse=True)
    by_day = sorted(counts.items(), key=lambda each: each[0][1])
    by_day.sort(key=lambda each: each[0][0], reverse=True)
    return DeadLettersAnswer(
        start=request.start_day,
        end=request.end_day,
        complete=listed.is_whole and len(read) == len(listed.objects),
        objects=ObjectsRead(len(listed.objects), len(read)),
        counts=tuple(ReasonCount(day, reason, count) for (day, reason), count in by_day),
        examples=tuple(newest[: request.limit]),
    )


def _example(letter: Letter, key: str) -> Example:
    return Example(
        letter.reason,
        letter.error,
        letter.arrived_at,
        letter.shard_id,
        letter.sequence_number,
        letter.sub_sequence_number,
        key,
    )


def _day_ms(parameter: str, text: str) -> int:
    try:
        day_ms = parse_instant(text)
    except ValueError:
        day_ms = None
    if day_ms is None or text != _day(day_ms):
        raise ParameterError(parameter, f"it is no day (2026-11-23): {quoted(text)}")
    return day_ms


def _day(instant_ms: int) -> str:
    return format_instant(instant_ms).partition("T")[0]


_FIRST_DAY_MS = parse_instant("0001-01-01")
