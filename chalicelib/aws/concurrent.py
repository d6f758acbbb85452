"""AWS calls under way at once, with one time-out for all of them."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import Any, TypeVar

from chalicelib.aws.clients import CONCURRENCY_MAX
from chalicelib.aws.failures import CALL_FAILURES, name_of
from chalicelib.consumers.ports import Failed
from chalicelib.errors import TransientError

A = TypeVar("A")
R = TypeVar("R")


Carry = Callable[[Callable[[Any], Any]], Callable[[Any], Any]]
_carries: list[Carry] = []


def carry_by(carry: Carry) -> None:
    """Have each call that goes to another thread wrapped by the one that asks for it: it can so carry a trace on."""
    _carries.append(carry)


@cache
def _executor(threads: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CONCURRENCY_MAX, thread_name_prefix=threads)


def call_all(call: Callable[[A], R], arguments: Sequence[A], timeout_ms: int, threads: str = "aws") -> list[Future[R]]:
    """Call with every argument, at once, and wait at most the time given.

    Shapes: threads names whose threads do it: calls that may hang for good must not take the others'.
    Returns: one future each, in order; one that is not done has not answered in time, and if it had not begun it
             never will.
    """
    if timeout_ms <= 0:
        return [_never_begun() for _ in arguments]
    for carry in _carries:
        call = carry(call)
    futures = [_executor(threads).submit(call, argument) for argument in arguments]
    _, unfinished = wait(futures, timeout_ms / 1000)
    for future in unfinished:
        future.cancel()
    return futures


def call_in_time(call: Callable[[], R], timeout_ms: int) -> R:
    """Call, and give what it returns; it raises what the call raises.

    Raises: TransientError when it has not answered in time.
    """
    (future,) = call_all(lambda _: call(), [None], timeout_ms)
    return result_in_time(future)


def result_in_time(call: Future[R]) -> R:
    """What one of `call_all`'s calls came to; it raises what the call raised.

    Raises: TransientError when it has not answered in time.
    """
    if call.cancelled() or not call.done():
        raise TransientError("out of time")
    return call.result()


def outcome_of(call: Future[R]) -> R | Failed:
    """What one of `call_all`'s calls came to, or what it failed with, in time or not."""
    try:
        return result_in_time(call)
    except CALL_FAILURES as error:
        return Failed(name_of(error))


def _never_begun() -> Future[Any]:
    future: Future[Any] = Future()
    future.cancel()
    return future
