"""The wait for answers that hold all that was accepted."""

from chalicelib.aggregates.windows import format_instant
from loadtest.completeness import wait_until_complete
from loadtest.target import StreamStanding, TargetError

PAST_MS = 1_000_000


class Stage:
    def __init__(self, *told):
        self.told = list(told)
        self.now = 0.0
        self.ticks = []
        self.heard = []

    def ask(self):
        each = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        if isinstance(each, Exception):
            raise each
        return StreamStanding(None if each is None else format_instant(each), ())

    def wait(self, patience_seconds=60.0):
        return wait_until_complete(
            PAST_MS,
            patience_seconds,
            ask=self.ask,
            put_ticks=lambda: self.ticks.append(self.now),
            tell=self.heard.append,
            clock=lambda: self.now,
            sleep=self._sleep,
        )

    def _sleep(self, seconds):
        self.now += seconds


def test_it_waits_until_complete_until_is_past_the_last_acceptance():
    stage = Stage(None, PAST_MS - 5_000, PAST_MS, PAST_MS + 1)
    assert stage.wait() == PAST_MS + 1
    assert stage.heard == [None, PAST_MS - 5_000, PAST_MS, PAST_MS + 1]


def test_it_puts_ticks_so_that_nobody_waits_for_the_minute():
    stage = Stage(*[PAST_MS - 1] * 25, PAST_MS + 1)
    stage.wait()
    assert stage.ticks == [0, 5, 10]


def test_an_answer_that_does_not_come_is_asked_for_again():
    assert Stage(TargetError("busy"), PAST_MS + 1).wait() == PAST_MS + 1


def test_it_does_not_wait_for_ever():
    stage = Stage(PAST_MS)
    assert stage.wait(patience_seconds=10) is None
    assert stage.now == 10


def test_a_stage_that_answers_no_more_is_given_up_before_the_patience_ends():
    stage = Stage(PAST_MS, TargetError("nothing answers"))
    assert stage.wait(patience_seconds=600) is None
    assert stage.now == 60


def test_a_stage_that_answers_now_and_then_is_waited_for():
    stage = Stage(*[TargetError("busy")] * 100, PAST_MS, *[TargetError("busy")] * 100, PAST_MS + 1)
    assert stage.wait(patience_seconds=600) == PAST_MS + 1
