"""AWS calls under way at once, with one time-out for all of them."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache
from typing import TypeVar

from chalicelib.aws.clients import CONCURRENCY_MAX

A = TypeVar("A")
R = TypeVar("R")


@cache
def _executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CONCURRENCY_MAX, thread_name_prefix="aws")


def call_all(call: Callable[[A], R], arguments: Sequence[A], timeout_ms: int) -> list[Future[R]]:
    """Call with every argument, at once, and wait at most the time given.

    Returns: one future each, in order; one that is not done has not answered in time, and if it had not begun it
             never will.
    """
    futures = [_executor().submit(call, argument) for argument in arguments]
    _, unfinished = wait(futures, timeout_ms / 1000)
    for future in unfinished:
        future.cancel()
    return futures
