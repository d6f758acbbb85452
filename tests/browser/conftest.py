"""A stage with known orders and a browser, each once for these tests; a page for each test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from localstage import LocalStage
from tests.browser import chromium
from tests.browser.dashboard import Dashboard
from tests.browser.shop import ORDERS, Shop


# Not for the session: while Playwright runs, the thread's event loop does, and other tests could run none.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.running(chromium.require()) as running:
        yield running


@pytest.fixture(scope="module")
def shop(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with LocalStage(
        "test",
        shards=2,
        aws_port=0,
        api_port=0,
        api_prefix="/api",
        settings={"API_AUTH": "token"},
        state_dir=tmp_path_factory.mktemp("stage"),
    ) as stage:
        shop = Shop(stage)
        shop.sell(ORDERS)
        yield shop


@pytest.fixture
def new_page(browser: Browser, shop: Shop) -> Iterator[Callable[..., Page]]:
    """Make a page in a context of its own, whose tab has the token for everything, or another, or none."""
    contexts = []

    def make(token: str | None = shop.token, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        if token:
            context.add_init_script(f"sessionStorage.setItem('highwater.token', '{token}')")
        contexts.append(context)
        return context.new_page()

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def dashboard(new_page: Callable[..., Page], shop: Shop) -> Iterator[Dashboard]:
    """A page of which the browser has nothing to complain at the end."""
    opened = Dashboard(new_page(), shop.url)
    yield opened
    assert opened.complaints == []
