"""A world for each test, of which it may change the answers; and a stage that answers over HTTP."""

import threading
from collections.abc import Iterator

import pytest

from tests.unit.loadtest.proof.http_stage import Stage
from tests.unit.loadtest.proof.world import World, copy_of, make_world


@pytest.fixture(scope="session")
def pristine() -> World:
    return make_world()


@pytest.fixture
def world(pristine: World) -> World:
    return copy_of(pristine)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
