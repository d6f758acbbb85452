"""The template as a whole: what linters and CloudFormation's transform say of it; what is packaged."""

import importlib.metadata
import json
import re
import sys
from zipfile import ZipFile

import pytest
from cfnlint.api import lint
from chalice.deploy.packager import DependencyBuilder
from chalice.utils import OSUtils
from packaging.requirements import Requirement

from tests.packaging import PROJECT, package, resources_of, transformed
from tests.unit.template.conftest import RELEASE, VPC

USED_UP_BY_THE_TRANSFORM = "W2001"  # parameters that nothing refers to: SAM has put the values of some in their places
FUNCTIONS = {
    "APIHandler": ("app.app", "api"),
    "Authorize": ("app.authorize", "authorize"),
    "Capture": ("app.capture", "capture"),
    "FanOut": ("app.fan_out", "fan_out"),
    "Ingest": ("app.ingest", "ingest"),
    "Redrive": ("app.redrive", "redrive"),
    "Rollup": ("app.rollup", "rollup"),
    "Tick": ("app.tick", "tick"),
}
RESOURCES_MAX = 500  # CloudFormation's, of one stack


def required():
    """The packages that the functions need, of this Python."""
    lines = (line.partition(" #")[0] for line in (PROJECT / "requirements.txt").read_text().splitlines()[1:])
    return [each.name for each in map(Requirement, lines) if not each.marker or each.marker.evaluate()]


def faults(template):
    return [str(fault) for fault in lint(json.dumps(template)) if fault.rule.id != USED_UP_BY_THE_TRANSFORM]


def test_cfn_lint_finds_nothing(template_text):
    assert not lint(template_text)


def test_cfn_lint_finds_nothing_with_aws_identities_on_arm(with_identities_text):
    assert not lint(with_identities_text)


def test_what_the_transform_makes_is_clean_too(stage_in_vpc):
    assert not faults(stage_in_vpc)
    assert len(stage_in_vpc["Resources"]) < RESOURCES_MAX


def test_stages_differ_in_their_name_alone(template_text, tmp_path):
    """So that what the other tests see of one holds for all."""
    other = package(tmp_path, "dev")
    assert other.replace("STAGE: dev", "STAGE: prod").replace("stage=dev", "stage=prod") == template_text


def test_it_can_be_transformed_with_aws_identities_for_both_architectures(stage, with_identities):
    other = transformed(with_identities, Stage="dev", **RELEASE, **VPC)
    assert "AuthorizeAliaslive" in other["Resources"]
    for made, architecture in ((stage, "x86_64"), (other, "arm64")):
        functions = resources_of(made, "AWS::Lambda::Function")
        assert {each["Architectures"][0] for each in functions.values()} == {architecture}


def test_functions_have_their_names_and_are_attributes_of_app(resources):
    functions = {name: each["Properties"] for name, each in resources.items() if "Serverless::Function" in each["Type"]}
    hook = functions.pop("CheckRelease")
    assert hook["FunctionName"] == {"Fn::Sub": "CodeDeployHook_highwater-${Stage}"}, "CodeDeploy may invoke no other"
    assert {name: (each["Handler"], each["FunctionName"]["Fn::Sub"]) for name, each in functions.items()} == {
        name: (handler, f"highwater-${{Stage}}-{last}") for name, (handler, last) in FUNCTIONS.items()
    }


def test_the_template_fits_cloudformation(template):
    assert len(json.dumps(template)) < 1_000_000, "1 MB is all that it takes from S3"


@pytest.mark.skipif(sys.platform != "linux", reason="wheels of another system say nothing of Lambda's")
@pytest.mark.parametrize("name", required())
def test_every_requirement_has_a_wheel_that_lambda_can_load(name):
    """By Chalice's own judgement; without one it builds the package on this machine, whose C library may be newer."""
    wheel = importlib.metadata.distribution(name).read_text("WHEEL")
    tags = re.findall(r"(?m)^Tag: (.*)$", wheel)
    builder = DependencyBuilder(OSUtils())
    abi = f"cp3{sys.version_info.minor}"
    assert any(builder._is_compatible_wheel_filename(abi, f"{name}-1-{tag}.whl") for tag in tags), tags


def test_the_dashboards_files_are_in_the_package(packaged):
    with ZipFile(packaged[1]) as archive:
        names = set(archive.namelist())
    files = (PROJECT / "chalicelib" / "dashboard" / "static").rglob("*.*")
    assert {str(path.relative_to(PROJECT)) for path in files} <= names
