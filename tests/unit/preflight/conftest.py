"""The packaged template of prod, made once as `make package` makes it, but for the archives."""

import copy
import json
from datetime import date
from pathlib import Path

import pytest

from ops.package.application import declared_by
from ops.package.dependencies import Target
from ops.package.template import copy_project, finish, generate
from ops.preflight.stage import transform

PROJECT = Path(__file__).parents[3]
TODAY = date(2026, 11, 26)
ARCHIVES = {"deployment.zip": 11_000_000, "sketches.zip": 17_000_000}
# What the repository cannot know of whoever deploys it.
TOLD = {"AlarmEmail": "operators@example.org", "MonthlyBudgetUSD": "500"}


@pytest.fixture(scope="session")
def packaged(tmp_path_factory):
    directory = tmp_path_factory.mktemp("packaged") / "project"
    copy_project(PROJECT, directory, "prod")
    template = generate(directory, "prod")
    finish(template, declared_by(directory, template), Target.of("x86_64"))
    return template


@pytest.fixture(scope="session")
def given():
    """The parameters of prod."""
    return {"Stage": "prod", **json.loads((PROJECT / ".chalice" / "parameters.json").read_text())["prod"], **TOLD}


@pytest.fixture(scope="session")
def stage_of(packaged, given):
    """Makes the stage of the packaged template, changed."""

    def make(change=lambda _template: None, archives=ARCHIVES, stage="prod", **parameters):
        template = copy.deepcopy(packaged)
        change(template)
        return transform(template, stage, given | parameters, archives, TODAY)

    return make
