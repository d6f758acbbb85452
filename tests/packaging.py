"""The template as `make package` has it from Chalice, and as CloudFormation's transform takes it on."""

import copy
import json
import logging
from pathlib import Path

import yaml
from samtranslator.translator.transform import transform

from ops.package.template import PACKAGED, copy_project, generate

PROJECT = Path(__file__).parents[1]
NOTES = logging.getLogger("samtranslator")


def package(directory, stage, architecture="x86_64", **variables):
    """Package a copy of the project, made in the directory, with variables that its config sets.

    Returns: the template's text; the archive of the functions' code is in the directory, out/deployment.zip.
    """
    copy_project(PROJECT, directory, stage, architecture=architecture, variables=variables)
    generate(directory, stage)
    return (directory / "out" / PACKAGED).read_text()


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
