import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest

from chalicelib.aws.breaker import Breaker, CircuitOpenError
from chalicelib.errors import TransientError

OPEN_SECONDS = 0.05


class Service:
    """Fails while told to; counts its calls."""

    def __init__(self):
        self.calls = 0
        self.error = None

    def __call__(self):
        self.calls += 1
        if self.error:
            raise self.error
        return "answer"


@pytest.fixture
def changes():
    return []


@pytest.fixture
def breaker(changes):
    return Breaker("results", lambda name, state: changes.append((name, state)), 3, 600)


@pytest.fixture
def brief(changes):
    """A breaker that is open for a moment only."""
    return Breaker("results", lambda name, state: changes.append((name, state)), 3, OPEN_SECONDS)


@pytest.fixture
def service():
    return Service()


def fail(breaker, service, times):
    service.error = TransientError("Throttled")
    for _ in range(times):
        with pytest.raises(TransientError, match="Throttled"):
            breaker.call(service)


def test_after_so_many_failures_in_a_row_nothing_is_called_any_more(breaker, service, changes):
    fail(breaker, service, 3)
    assert changes == [("results", "open")]
    for _ in range(5):
        with pytest.raises(CircuitOpenError, match="circuit open"):
            breaker.call(service)
    assert service.calls == 3
    assert not breaker.is_closed


def test_a_success_between_failures_begins_the_count_anew(breaker, service):
    fail(breaker, service, 2)
    service.error = None
    assert breaker.call(service) == "answer"
    fail(breaker, service, 2)
    assert breaker.is_closed


def test_a_senders_fault_is_an_answer_and_no_failure(breaker, service):
    fail(breaker, service, 2)
    service.error = ValueError("malformed")
    for _ in range(9):
        with pytest.raises(ValueError, match="malformed"):
            breaker.call(service)
    fail(breaker, service, 2)
    assert breaker.is_closed


def test_after_a_while_one_call_is_tried_and_closes_the_circuit_if_it_succeeds(brief, service, changes):
    fail(brief, service, 3)
    time.sleep(OPEN_SECONDS)
    service.error = None
    assert brief.call(service) == "answer"
    assert brief.is_closed
    assert [state for _, state in changes] == ["open", "half-open", "closed"]


def test_if_it_fails_the_circuit_stays_open(brief, service, changes):
    fail(brief, service, 3)
    time.sleep(OPEN_SECONDS)
    fail(brief, service, 1)
    assert service.calls == 4
    assert [state for _, state in changes] == ["open", "half-open", "open"]


def test_while_one_call_tries_others_are_not_made_and_do_not_wait(brief, service):
    fail(brief, service, 3)
    time.sleep(OPEN_SECONDS)
    begun, may_end = Event(), Event()

    def linger():
        begun.set()
        assert may_end.wait(30)
        return "answer"

    with ThreadPoolExecutor(1) as pool:
        trial = pool.submit(brief.call, linger)
        assert begun.wait(30)
        with pytest.raises(CircuitOpenError):
            brief.call(service)
        may_end.set()
        assert trial.result() == "answer"
    service.error = None
    assert brief.call(service) == "answer"


def test_calls_are_under_way_at_once(breaker):
    barrier = Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(breaker.call, lambda: barrier.wait(30)) for _ in range(8)]
        assert sorted(call.result() for call in calls) == list(range(8))


def test_calls_that_were_under_way_when_it_opened_still_say_how_they_went(breaker, service, changes):
    barrier = Barrier(8)

    def meet_and_fail():
        barrier.wait(30)
        raise TransientError("Throttled")

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(breaker.call, meet_and_fail) for _ in range(8)]
        assert [str(call.exception()) for call in calls] == ["Throttled"] * 8
    assert changes == [("results", "open")], "told once"
    with pytest.raises(CircuitOpenError):
        breaker.call(service)
