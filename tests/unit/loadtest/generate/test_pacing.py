"""Open arrivals: what is due goes out when it is due, whatever became of what was due before."""

import random

import pytest

from loadtest.generate.pacing import Arrival, arrivals, when_due


class Clock:
    def __init__(self, now_ms=0):
        self.now_ms = now_ms
        self.slept = []

    def __call__(self):
        return self.now_ms

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_ms += round(seconds * 1000)


def test_each_comes_when_it_is_due():
    clock = Clock()
    came = [(each.due_ms, clock.now_ms) for each in when_due(map(Arrival, [100, 250, 1_000]), clock, clock.sleep)]
    assert came == [(100, 100), (250, 250), (1_000, 1_000)]


def test_one_that_is_late_comes_at_once_and_the_next_no_later_for_it():
    clock = Clock()
    came = []
    for each in when_due(map(Arrival, [100, 200, 300, 1_000]), clock, clock.sleep):
        came.append(clock.now_ms)
        if each.due_ms == 100:
            clock.now_ms += 500  # whoever took it was slow
    assert came == [100, 600, 600, 1_000]
    assert all(seconds > 0 for seconds in clock.slept)


def test_callers_come_at_their_rate_and_only_while_the_load_lasts():
    came = [each.due_ms for each in arrivals(50, 1_000_000, 100, random.Random(1))]
    assert came == sorted(came)
    assert came[0] >= 1_000_000
    assert came[-1] < 1_100_000
    assert len(came) == pytest.approx(5_000, rel=0.05)


def test_a_rate_of_nothing_is_nobody():
    assert list(arrivals(0, 0, 100, random.Random(1))) == []
