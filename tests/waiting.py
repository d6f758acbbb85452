"""Waiting for what takes a moment on a stage that runs."""

import time
from collections.abc import Callable

POLL_SECONDS = 0.05


def wait_until(condition: Callable[[], object], patience_seconds: float) -> None:
    """Wait until the condition holds, and fail when it takes too long."""
    deadline = time.monotonic() + patience_seconds
    while not condition():
        assert time.monotonic() < deadline, "this took too long"
        time.sleep(POLL_SECONDS)
