"""A function that is invoked at a rate."""

import json
import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from localstage.runtime import Answer
from localstage.schedule import ScheduleRule, scheduled_event


class FakeFunction:
    """Fails the first time, and says when it has been invoked twice."""

    spec = SimpleNamespace(name="tick")

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.twice = threading.Event()

    def invoke(self, event: bytes) -> Answer:
        self.events.append(json.loads(event))
        if len(self.events) == 2:
            self.twice.set()
        return Answer(b'{"errorMessage": "the first time"}', "request", function_error=len(self.events) == 1)


def test_it_is_invoked_again_and_again_though_one_invocation_fails() -> None:
    function = FakeFunction()
    rule = ScheduleRule(function, seconds=0.01)  # type: ignore[arg-type]
    rule.start()
    assert function.twice.wait(5)
    rule.stop()
    rule.join()
    assert function.events[0]["source"] == "aws.events"


def test_it_can_be_invoked_beside_its_times() -> None:
    function = FakeFunction()
    ScheduleRule(function, seconds=3_600).invoke()  # type: ignore[arg-type]
    assert [event["detail-type"] for event in function.events] == ["Scheduled Event"]


def test_the_event_has_the_form_of_eventbridge() -> None:
    event = scheduled_event("tick", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert (event["detail-type"], event["time"]) == ("Scheduled Event", "2026-01-02T03:04:05Z")
    assert event["resources"] == ["arn:aws:events:us-east-1:000000000000:rule/tick"]
