"""A world for each test, of which it may change the answers."""

import pytest

from tests.unit.loadtest.proof.world import World, copy_of, make_world


@pytest.fixture(scope="session")
def pristine() -> World:
    return make_world()


@pytest.fixture
def world(pristine: World) -> World:
    return copy_of(pristine)
