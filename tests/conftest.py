"""What all tests share: a stage's name, credentials of nowhere, and one emulated AWS for those that need it."""

import os

import pytest
from hypothesis import settings

from localstage.emulator import Emulator

settings.register_profile("default", deadline=None)  # these machines are shared; a slow example is no bug
settings.load_profile("default")

os.environ |= {
    "STAGE": "test",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}


@pytest.fixture(scope="session")
def endpoint_url(tmp_path_factory):
    """An emulated AWS (MiniStack) on a free loopback port, one for the whole run."""
    with Emulator(0, tmp_path_factory.mktemp("aws") / "aws.log") as emulator:
        yield emulator.endpoint_url
