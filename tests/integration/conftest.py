"""What these tests share: the package of one stage, made once, and unzipped as Lambda would."""

from pathlib import Path

import pytest

from localstage.packaged import Packaged, unpack
from ops.package import Package, package

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package of stage dev."""
    return package(PROJECT, "dev", tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def packaged(made: Package, tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    """Its functions, as Lambda has them."""
    return unpack(made.template_path.parent, tmp_path_factory.mktemp("lambda"))
