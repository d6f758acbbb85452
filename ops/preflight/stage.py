"""A packaged stage as CloudFormation sees it: after the SAM transform, with the stage's parameters put in.

Why after: versions, aliases, mappings and CodeDeploy's groups are what SAM makes of the template, and SAM's own code
makes them here. Why with the parameters: a line of the checklist is about `prod`, and half of what it asks for stands
behind conditions that look at these.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import boto3
from samtranslator.model.exceptions import InvalidDocumentException
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from ops.preflight.intrinsics import Resolver
from ops.template import Template

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

LIVE = "live"  # the alias of every function but the hook
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


def transform(
    template: Template, stage: str, given: Mapping[str, str], archive_bytes: Mapping[str, int], today: date
) -> PackagedStage:
    """Transform and resolve a packaged template; it is left as it was.

    Raises: PreflightError when SAM refuses it, or a condition cannot be judged.
    """
    declared: dict[str, dict[str, Any]] = template.get("Parameters", {})
    values = _values(declared, {"Stage": stage, **given})
    plain = _without_sam(template, values)
    resolver = Resolver(values | {"AWS::StackName": f"highwater-{stage}"}, plain.get("Conditions", {}))
    try:
        resources = {
            logical_id: resolver.resolve(entry)
            for logical_id, entry in plain["Resources"].items()
            if "Condition" not in entry or resolver.holds(entry["Condition"])
        }
    except (KeyError, TypeError, ValueError) as error:
        raise PreflightError(f"the template cannot be resolved: {_one_line(error)}") from error
    return PackagedStage(stage, resources, declared, given, values, archive_bytes, today)


def _values(declared: Mapping[str, Mapping[str, Any]], given: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for parameter, declaration in declared.items():
        value = given.get(parameter, declaration.get("Default"))
        is_number = declaration.get("Type") == "Number" and str(value).removeprefix("-").isdigit()
        values[parameter] = int(str(value)) if is_number else value
    return values


def _without_sam(template: Template, values: Mapping[str, Any]) -> dict[str, Any]:
    logging.getLogger("samtranslator").setLevel(logging.CRITICAL)  # it warns of features that only SAM's service has
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name=ANY_REGION))
    try:
        plain: dict[str, Any] = translator.translate(_uploaded(template), dict(values))
    except InvalidDocumentException as error:
        causes = "; ".join(cause.message for cause in error.causes)
        raise PreflightError(f"SAM refuses the template: {_one_line(causes)}") from error
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
