"""What the integration tests share: the package of one stage; and a record of the AWS calls of the functions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from localstage.packaged import Packaged, unpack
from ops.package import Package, package
from tests.permissions.policies import missing, resolve_policies
from tests.permissions.recording import Recording

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package of stage dev."""
    return package(PROJECT, "dev", tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def packaged(made: Package, tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    """Its functions, as Lambda has them."""
    return unpack(made.template_path.parent, tmp_path_factory.mktemp("lambda"))


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory, endpoint_url: str) -> Iterator[Recording]:
    """Where a stage records its functions' calls, given its `settings`. At the end, every call was an allowed one."""
    recording = Recording(tmp_path_factory.mktemp("calls"))
    yield recording
    calls = list(recording.calls())
    for stage in {call.stage for call in calls}:
        policies = resolve_policies(stage, endpoint_url)
        assert missing(policies, [call for call in calls if call.stage == stage]) == []
