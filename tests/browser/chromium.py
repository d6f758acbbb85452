"""A Chromium for the tests that look at the page: which one, and how it is started."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
# It asks no other host for anything, and has a processor to itself as little as the tests do.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def path() -> str | None:
    """Where a Chromium is installed, None where none is."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def require() -> str:
    """Where a Chromium is; without one the test is left out."""
    return path() or leave_out(f"the dashboard is not looked at: there is no {', '.join(NAMES)}")


def leave_out(reason: str) -> NoReturn:
    """Skip the test aloud; where `CI` is set, fail it: nothing is skipped there."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@contextmanager
def running(executable: str) -> Iterator[Browser]:
    """A browser, until the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()
