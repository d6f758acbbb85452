"""Packages the project as `chalice package` does, and takes the template on as CloudFormation's transform does.

Chalice would install every requirement for the zip, which says nothing of the template; so a copy of the project with
no requirements is packaged.
"""

import copy
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from samtranslator.translator.transform import transform

PROJECT = Path(__file__).parents[1]
NOTES = logging.getLogger("samtranslator")


def package(directory, stage, config=None, **variables):
    """Package a copy of the project, made in the directory, with variables, and more, that its config sets.

    Returns: the template's text; the archive of the functions' code is in the directory, out/deployment.zip.
    """
    for name in ("app.py", "chalicelib", ".chalice"):
        copied = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy
        copied(PROJECT / name, directory / name)
    (directory / "requirements.txt").touch()
    config_path = directory / ".chalice" / "config.json"
    read = json.loads(config_path.read_text())
    changed = {**read, **(config or {}), "environment_variables": read["environment_variables"] | variables}
    config_path.write_text(json.dumps(changed))
    command = ["package", "--stage", stage, "--merge-template", ".chalice/resources.yaml"]
    # The environment of whoever has a local stage running: none of it may get into the package.
    environment = {"API_AUTH": "none", "AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}
    subprocess.run(
        [Path(sys.executable).with_name("chalice"), *command, "--template-format", "yaml", "out"],
        cwd=directory,
        check=True,
        capture_output=True,
        env={"PATH": "", "AWS_DEFAULT_REGION": "us-east-1", "PYTHONPATH": str(directory), **environment},
    )
    return (directory / "out" / "sam.yaml").read_text()


def read_template(text):
    """A template from its text; by libyaml where there is one, a dozen times as fast."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, loader)  # noqa: S506  either is safe


def transformed(template, **parameters):
    """The template that CloudFormation makes of a packaged one, once its code is uploaded."""
    template = json.loads(json.dumps(template))  # nothing shared: the transform changes what it is given
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://packages/deployment.zip"
    defaults = {name: str(rule["Default"]) for name, rule in template["Parameters"].items() if "Default" in rule}
    NOTES.setLevel(logging.ERROR)
    return transform(template, defaults | parameters, _NoManagedPolicies())


class _NoManagedPolicies:
    """What the transform asks for managed policies by name: ours are by ARN."""

    def load(self):
        return {}


def resources_of(template, kind):
    """The properties of the resources of one type, by logical id."""
    return {
        name: copy.deepcopy(each["Properties"]) for name, each in template["Resources"].items() if each["Type"] == kind
    }
