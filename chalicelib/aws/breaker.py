"""A circuit breaker: a service that fails call after call is left alone for a while, then asked once.

Only this file knows pybreaker. Its own `call` holds a lock for as long as the call takes, so that of sixteen calls at
once fifteen would wait. Here it holds it for the one that tries whether the service is back; the others run outside,
and pybreaker is told how they went.
"""

from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import Any, NoReturn, TypeVar

from pybreaker import STATE_CLOSED, CircuitBreaker, CircuitBreakerError, CircuitBreakerListener

from chalicelib.errors import TransientError

FAILURES_MAX = 5  # in a row, each of a call that botocore has tried three times
OPEN_SECONDS = 20.0  # short beside a visibility time-out or a mapping's own pause, long beside a call

Tell = Callable[[str, str], None]  # the circuit's name, and its new state: closed, open, half-open
R = TypeVar("R")


class CircuitOpenError(TransientError):
    """The call was not made, for those before it have failed."""


def _tell_nobody(_name: str, _state: str) -> None:
    pass


class Breaker:
    """Guards the calls of one service. A TransientError is a failure; whatever else a call raises is an answer.

    Shapes: tell is told of each change of state, from whichever thread it comes.
    """

    def __init__(
        self, name: str, tell: Tell = _tell_nobody, failures_max: int = FAILURES_MAX, open_seconds: float = OPEN_SECONDS
    ) -> None:
        self._trying = Lock()
        self._breaker = CircuitBreaker(
            fail_max=failures_max,
            reset_timeout=open_seconds,
            exclude=[_is_answer],
            listeners=[_Listener(tell)],
            name=name,
            throw_new_error_on_trip=False,
        )

    @property
    def is_closed(self) -> bool:
        """Whether calls are made as usual."""
        return self._breaker.current_state == STATE_CLOSED

    def call(self, call: Callable[[], R]) -> R:
        """Make the call, and give what it returns; it raises what the call raises.

        Raises: CircuitOpenError at once, and nothing is called, while the circuit is open or another call tries it.
        """
        if not self.is_closed:
            return self._try(call)
        try:
            returned = call()
        except Exception as error:
            self._note(error)
            raise
        self._note(None)
        return returned

    def _try(self, call: Callable[[], R]) -> R:
        if not self._trying.acquire(blocking=False):
            raise CircuitOpenError("circuit open")
        try:
            return self._breaker.call(call)
        except CircuitBreakerError as error:
            raise CircuitOpenError("circuit open") from error
        finally:
            self._trying.release()

    def _note(self, error: Exception | None) -> None:
        """Tell pybreaker how a call went; it knows already when the circuit has opened meanwhile."""
        with suppress(CircuitBreakerError, *([type(error)] if error else [])):
            self._breaker.call(_raise, error) if error else self._breaker.call(_nothing)


class _Listener(CircuitBreakerListener):
    def __init__(self, tell: Tell) -> None:
        self._tell = tell

    def state_change(self, cb: CircuitBreaker, old_state: Any, new_state: Any) -> None:  # noqa: ARG002  pybreaker's
        self._tell(str(cb.name), new_state.name)


def _is_answer(error: BaseException) -> bool:
    return not isinstance(error, TransientError)


def _raise(error: Exception) -> NoReturn:
    raise error


def _nothing() -> None:
    pass
