"""A packaged stage as CloudFormation sees it: after the SAM transform, with the stage's parameters put in.

Why after: versions, aliases, mappings and CodeDeploy's groups are what SAM makes of the template, and SAM's own code
makes them here. Why with the parameters: a line of the checklist is about `prod`, and half of what it asks for stands behind
conditions that look at these.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import yaml
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from ops.preflight.intrinsics import Resolver

Properties = dict[str, Any]

FUNCTION = "AWS::Lambda::Function"
ALIAS = "AWS::Lambda::Alias"
MAPPING = "AWS::Lambda::EventSourceMapping"
ALARM = "AWS::CloudWatch::Alarm"
ROLE = "AWS::IAM::Role"
TABLE = "AWS::DynamoDB::Table"
STREAM = "AWS::Kinesis::Stream"
TOPIC = "AWS::SNS::Topic"
QUEUE = "AWS::SQS::Queue"
BUCKET = "AWS::S3::Bucket"

API, AUTHORIZER, HOOK = "APIHandler", "Authorize", "CheckRelease"
ANY_REGION = "us-east-1"  # nothing that is checked depends on it, and SAM asks for one


class PreflightError(Exception):
    """There is nothing to check; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class PackagedStage:
    """What is going to be deployed.

    Shapes: resources, by logical id, those whose condition holds, resolved as far as parameters go; declared, the
            template's parameters; given, what the stage gives for them; values, given over defaults, Numbers
            as int; archive_bytes, by name, of the zips beside the template.
    """

    name: str
    resources: Mapping[str, dict[str, Any]]
    declared: Mapping[str, dict[str, Any]]
    given: Mapping[str, str]
    values: Mapping[str, Any]
    archive_bytes: Mapping[str, int]
    today: date

    def of_type(self, kind: str) -> dict[str, Properties]:
        """The properties of the resources of a type, by logical id."""
        return {
            logical_id: entry.get("Properties", {})
            for logical_id, entry in self.resources.items()
            if entry["Type"] == kind
        }

    def properties(self, logical_id: str) -> Properties:
        """The properties of one resource; empty when there is no such resource."""
        properties: Properties = self.resources.get(logical_id, {}).get("Properties", {})
        return properties


def read(path: Path, stage: str, given: Mapping[str, str], today: date) -> PackagedStage:
    """Read a packaged template.

    Raises: PreflightError when there is none, it is no template, SAM refuses it, or it was packaged for another stage.
    """
    try:
        template = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 (both are safe)
    except FileNotFoundError as error:
        raise PreflightError(f"there is no {path}: make package STAGE={stage}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PreflightError(f"{path} cannot be read: {_one_line(error)}") from error
    archives = {archive.name: archive.stat().st_size for archive in sorted(path.parent.glob("*.zip"))}
    return transformed(template, stage, given, archives=archives, today=today, name=str(path))


def transformed(
    template: Any, stage: str, given: Mapping[str, str], *, archives: Mapping[str, int], today: date, name: str = "it"
) -> PackagedStage:
    """Transform and resolve a packaged template; it is left as it was.

    Raises: as `read`.
    """
    if not isinstance(template, Mapping) or not isinstance(template.get("Resources"), Mapping):
        raise PreflightError(f"{name} is no CloudFormation template: it has no Resources")
    declared: dict[str, dict[str, Any]] = template.get("Parameters") or {}
    values = _values(declared, {"Stage": stage, **given})
    plain = _without_sam(template, values, name)
    try:
        resolver = Resolver(values | {"AWS::StackName": f"highwater-{stage}"}, plain.get("Conditions") or {})
        resources = {
            logical_id: resolver.resolve(entry)
            for logical_id, entry in plain["Resources"].items()
            if "Condition" not in entry or resolver.holds(entry["Condition"])
        }
    except (KeyError, TypeError, ValueError) as error:
        raise PreflightError(f"{name} cannot be resolved: {_one_line(error)}") from error
    found = PackagedStage(stage, resources, declared, given, values, archives, today)
    packaged_for = {
        properties.get("Environment", {}).get("Variables", {}).get("STAGE")
        for properties in found.of_type(FUNCTION).values()
    }
    if packaged_for and stage not in packaged_for:
        others = ", ".join(sorted(map(str, packaged_for)))
        raise PreflightError(f"{name} is a package of the stage {others}: make package STAGE={stage}")
    return found


def _values(declared: Mapping[str, Mapping[str, Any]], given: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for parameter, declaration in declared.items():
        value = given.get(parameter, declaration.get("Default"))
        is_number = declaration.get("Type") == "Number" and str(value).removeprefix("-").isdigit()
        values[parameter] = int(str(value)) if is_number else value
    return values


def _without_sam(template: Mapping[str, Any], values: Mapping[str, Any], name: str) -> dict[str, Any]:
    logging.getLogger("samtranslator").setLevel(logging.CRITICAL)  # it warns of features that only SAM's service has
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=ANY_REGION))
    try:
        plain: dict[str, Any] = translator.translate(_uploaded(template), dict(values))
    except InvalidDocumentException as error:
        causes = "; ".join(cause.message for cause in error.causes)
        raise PreflightError(f"SAM refuses {name}: {_one_line(causes)}") from error
    return plain


def _uploaded(node: Any) -> Any:
    """A copy as a deployment makes it, whose archives lie in a bucket: SAM takes no others."""
    if isinstance(node, Mapping):
        return {
            key: f"s3://uploaded/{value.removeprefix('./')}"
            if key in ("CodeUri", "ContentUri") and isinstance(value, str) and not value.startswith("s3://")
            else _uploaded(value)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_uploaded(item) for item in node]
    return node


def _one_line(error: Any) -> str:
    return " ".join(str(error).split())
