"""The question what could not be counted, over objects in memory."""

import pytest

from chalicelib.access.grant import EVERYTHING
from chalicelib.errors import TransientError
from chalicelib.query import http
from chalicelib.query.endpoints import OBJECTS_READ_MAX
from chalicelib.query.ports import LetterObject, ObjectList
from chalicelib.records.letter import CutShortError
from tests.builders import DAY_MS, NOON_MS, SHARD, letter
from tests.unit.query.shop import Stage, read_json

TODAY, YESTERDAY = "2026-11-24", "2026-11-23"
SECRET = b"a-payload-that-must-not-be-answered"


class MemoryLetters:
    """A LettersReader over (day, letters) in the order in which they are listed; a number is read in time."""

    def __init__(self, *objects, is_whole=True, read_max=1_000):
        self.objects = objects
        self.is_whole = is_whole
        self.read_max = read_max
        self.asked = None

    def list_objects(self, start_day, end_day, timeout_ms, a_day_max=None):
        self.asked = (start_day, end_day)
        if not timeout_ms:
            raise TransientError("out of time")
        return ObjectList(
            [
                LetterObject(f"dead-letters/{place}", day, 1)
                for place, (day, _) in enumerate(self.objects)
                if start_day <= day < end_day
            ],
            self.is_whole,
        )

    def read_objects(self, objects, read, time_left_ms):
        return [
            read(each, iter(self.objects[int(each.key.partition("/")[2])][1])) if place < self.read_max else None
            for place, each in enumerate(objects)
        ]


def asked(letters, remaining_ms=60_000, **parameters):
    stage = Stage(now_ms=NOON_MS, letters=letters)
    given = {name: value if isinstance(value, list) else [str(value)] for name, value in parameters.items()}
    return http.respond(lambda: stage.query.dead_letters(EVERYTHING, given, lambda: remaining_ms))


def answer(letters, **parameters):
    settled = asked(letters, **parameters)
    assert settled.status == 200, settled.body
    assert SECRET not in settled.body.encode()
    return read_json(settled.body)


def broken():
    yield letter(SECRET)
    raise CutShortError


OBJECTS = (
    (TODAY, [letter(SECRET, sub=3), letter(SECRET, "too late", sequence_number="8")]),
    (TODAY, broken()),
    (YESTERDAY, [letter(SECRET, "undeliverable", arrived_at_ms=NOON_MS - DAY_MS)] * 3),
)


def test_counts_are_by_day_and_reason_and_examples_hold_no_payload():
    given = answer(MemoryLetters(OBJECTS[0], OBJECTS[2]), limit=1)
    assert (given["complete"], given["objects"]) == (True, {"found": 2, "read": 2})
    assert given["counts"] == [
        {"day": TODAY, "reason": "invalid", "count": 1},
        {"day": TODAY, "reason": "too late", "count": 1},
        {"day": YESTERDAY, "reason": "undeliverable", "count": 3},
    ]
    assert given["examples"] == [
        {
            "reason": "invalid",
            "error": "wrong",
            "arrived_at": "2026-11-24T12:00:00Z",
            "shard_id": SHARD,
            "sequence_number": "7",
            "sub_sequence_number": 3,
            "key": "dead-letters/0",
        }
    ]


def test_the_newest_examples_come_first_to_the_millisecond():
    times = [NOON_MS, NOON_MS + 500, NOON_MS + 1_000, NOON_MS - 1]
    letters = MemoryLetters(*((TODAY, [letter(b"", arrived_at_ms=each)]) for each in times))
    newest = [each["arrived_at"][17:] for each in answer(letters)["examples"]]
    assert newest == ["01Z", "00.500Z", "00Z", "59.999Z"]


def test_a_reason_selects_counts_and_examples():
    given = answer(MemoryLetters(OBJECTS[0], (TODAY, broken())), reason="too late")
    assert given["counts"] == [{"day": TODAY, "reason": "too late", "count": 1}]
    assert [each["reason"] for each in given["examples"]] == ["too late"]


def test_an_object_that_cannot_be_read_is_counted_as_one():
    counts = answer(MemoryLetters((TODAY, broken())))["counts"]
    assert counts == [{"day": TODAY, "reason": reason, "count": 1} for reason in ("invalid", "unreadable")]


def test_the_last_seven_days_are_the_range_when_none_is_given():
    letters = MemoryLetters()
    assert answer(letters)["start"] == "2026-11-18"
    assert letters.asked == ("2026-11-18", "2026-11-25")
    answer(letters, end="2026-11-01")
    assert letters.asked == ("2026-10-25", "2026-11-01")
    answer(letters, end="0001-01-02")
    assert letters.asked == ("0001-01-01", "0001-01-02")


@pytest.mark.parametrize("letters", [{"is_whole": False}, {"read_max": 1}])
def test_an_answer_that_lacks_something_says_so(letters):
    given = answer(MemoryLetters(OBJECTS[0], OBJECTS[2], **letters))
    assert given["complete"] is False
    assert given["objects"] == {"found": 2, "read": letters.get("read_max", 2)}


def test_more_objects_than_are_read_are_told():
    many = MemoryLetters(*[(TODAY, [])] * (OBJECTS_READ_MAX + 1))
    given = answer(many)
    assert given["objects"] == {"found": OBJECTS_READ_MAX + 1, "read": OBJECTS_READ_MAX}
    assert given["complete"] is False


@pytest.mark.parametrize(
    ("parameters", "parameter", "hint"),
    [
        ({"step": "1m"}, "step", "start, end, reason, limit"),
        ({"start": "2026-11-23T00:00:00Z"}, "start", "no day"),
        ({"start": "20261123"}, "start", "no day"),
        ({"end": "today"}, "end", "no day"),
        ({"end": ""}, "end", "no day"),
        ({"end": "2026-02-30"}, "end", "no day"),
        ({"start": "2026-11-25"}, "start", "empty"),
        ({"end": "0001-01-01"}, "end", "empty"),
        ({"start": ["2026-11-23", "2026-11-24"]}, "start", "2 times"),
        ({"reason": "bad luck"}, "reason", "not handled"),
        ({"reason": "\ud800"}, "reason", "Unicode"),
        ({"limit": "0"}, "limit", "1 to 100"),
        ({"limit": "101"}, "limit", "1 to 100"),
        ({"limit": "ten"}, "limit", "1 to 100"),
    ],
)
def test_a_parameter_that_cannot_be_honoured_is_named(parameters, parameter, hint):
    settled = asked(MemoryLetters(), **parameters)
    assert settled.headers["Content-Type"] == "application/problem+json"
    problem = read_json(settled.body)
    assert (settled.status, problem["parameter"]) == (400, parameter)
    assert hint in problem["detail"]


def test_out_of_time_the_answer_is_that_it_can_be_asked_again():
    assert asked(MemoryLetters(), remaining_ms=0).status == 503
