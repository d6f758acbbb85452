"""What the integration tests share: a record of the AWS calls of every stage's functions that they start."""

from collections.abc import Iterator

import pytest

from tests.permissions.policies import missing, resolve_policies
from tests.permissions.recording import Recording


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory, endpoint_url: str) -> Iterator[Recording]:
    """Where a stage records its functions' calls, given its `settings`. At the end, every call was an allowed one."""
    recording = Recording(tmp_path_factory.mktemp("calls"))
    yield recording
    calls = list(recording.calls())
    for stage in {call.stage for call in calls}:
        policies = resolve_policies(stage, endpoint_url)
        assert missing(policies, [call for call in calls if call.stage == stage]) == []
