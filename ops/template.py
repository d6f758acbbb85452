"""Only this file knows the form of `.chalice/resources.yaml`, which `chalice package --merge-template` merges.

Under `Resources`, an entry with a `Type` is a resource of the stage; one without amends what Chalice generates from
`app.py`. Intrinsic functions are in their long form (`{"Ref": …}`), so that plain YAML can read them.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from chalice.utils import to_cfn_resource_name

TEMPLATE_PATH = Path(".chalice") / "resources.yaml"
SECTIONS_OF_ITS_OWN = ("AWSTemplateFormatVersion", "Description", "Mappings")
# What functions read and write. Its watch, its network and its functions are a deployment's, on AWS and nowhere else.
SERVICES_WITH_DATA = ("DynamoDB", "Kinesis", "S3", "SNS", "SQS", "SecretsManager")
NO_VALUE = {"Ref": "AWS::NoValue"}
FUNCTION, LAYER = "AWS::Serverless::Function", "AWS::Serverless::LayerVersion"  # as SAM calls them
SUB_VARIABLE = re.compile(r"\$\{([^!}][^}]*)\}")  # ${!Literal} is no variable

Template = dict[str, Any]


def load(project_dir: Path) -> Template:
    """Read the template of the project in `project_dir`.

    Raises: FileNotFoundError when it has none.
    """
    template: Template = yaml.safe_load((project_dir / TEMPLATE_PATH).read_text())
    return template


def standalone(template: Template) -> Template:
    """Keep what a stack can have without Chalice's functions: the resources that hold data, and what those need.

    A resource or output that refers to one of another kind (a topic whose key is its own) is left to the deployment,
    and so is whatever refers to one of those. A parameter or condition that nothing left refers to is dropped.
    """
    resources = {name: entry for name, entry in template["Resources"].items() if _holds_data(entry)}
    parameters, conditions = template.get("Parameters", {}), template.get("Conditions", {})
    while True:
        known = resources.keys() | parameters.keys()
        closed = {name: entry for name, entry in resources.items() if set(references(entry)) <= known}
        if len(closed) == len(resources):
            break
        resources = closed
    outputs = {name: entry for name, entry in template.get("Outputs", {}).items() if set(references(entry)) <= known}
    kept = {section: template[section] for section in SECTIONS_OF_ITS_OWN if section in template}
    asked = _conditions_of([resources, outputs], conditions)
    needed = set(references([resources, outputs, kept, asked]))
    return {
        **kept,
        "Conditions": asked,
        "Parameters": {name: entry for name, entry in parameters.items() if name in needed},
        "Resources": resources,
        "Outputs": outputs,
    }


def _holds_data(entry: Mapping[str, Any]) -> bool:
    _, _, service_and_kind = entry.get("Type", "").partition("::")
    return service_and_kind.partition("::")[0] in SERVICES_WITH_DATA


def _conditions_of(node: Any, conditions: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions that `node` asks, and those that these ask in turn."""
    asked: dict[str, Any] = {}
    wanted = set(_asked(node))
    while wanted:
        name = wanted.pop()
        asked[name] = conditions[name]
        wanted |= set(_asked(conditions[name])) - asked.keys()
    return asked


def _asked(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "Condition" and isinstance(value, str):  # a policy's Condition is none of CloudFormation's
                yield value
            elif key == "Fn::If":
                yield value[0]
                yield from _asked(value[1:])
            else:
                yield from _asked(value)
    elif isinstance(node, list):
        for item in node:
            yield from _asked(item)


def amendment(template: Template, name: str) -> dict[str, Any]:
    """The properties by which the template amends the function that Chalice generates as `name`; empty without any."""
    properties: dict[str, Any] = template["Resources"].get(name, {}).get("Properties", {})
    return properties


def filtered(template: Template, filters: Mapping[str, Sequence[str]]) -> Template:
    """Give the mappings of the tables' streams these filters.

    Shapes: filters, by the function's name in app.py, patterns of which one has to match. The template is left as it
            was, but for what it shares with the answer.
    """
    amended = {**template, "Resources": dict(template.get("Resources", {}))}
    for function, patterns in filters.items():
        name = to_cfn_resource_name(function)
        event = to_cfn_resource_name(f"{function}-dynamodb-event-source")
        criteria = {"FilterCriteria": {"Filters": [{"Pattern": pattern} for pattern in patterns]}}
        path = ("Properties", "Events", event, "Properties")
        amended["Resources"][name] = _within(amended["Resources"].get(name, {}), path, criteria)
    return amended


def _within(node: Mapping[str, Any], path: Sequence[str], properties: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `node` with these properties at `path`."""
    if not path:
        return {**node, **properties}
    return {**node, path[0]: _within(node.get(path[0], {}), path[1:], properties)}


def functions(template: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The properties of each function of a packaged template, those of Globals among them, by its logical id."""
    everywhere = template.get("Globals", {}).get("Function", {})
    return {
        name: _merged(everywhere, resource.get("Properties", {}))
        for name, resource in template["Resources"].items()
        if resource.get("Type") == FUNCTION
    }


def _merged(everywhere: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merge as SAM does: maps key by key, lists one after the other, otherwise the function's own.

    Source: AWS SAM Developer Guide, "Globals section of the template".
    """
    merged = {**everywhere, **own}
    for name in everywhere.keys() & own.keys():
        if isinstance(everywhere[name], Mapping) and isinstance(own[name], Mapping):
            merged[name] = _merged(everywhere[name], own[name])
        elif isinstance(everywhere[name], list) and isinstance(own[name], list):
            merged[name] = [*everywhere[name], *own[name]]
    return merged


def intrinsic_values(template: Template) -> dict[str, Any]:
    """The values in amendments that only CloudFormation can tell, by a name under which a stack can output them.

    Values that refer to functions are left out: a stack without functions cannot tell them.
    """
    own = standalone(template)
    known = own["Resources"].keys() | own["Parameters"].keys()
    amendments = [entry for entry in template["Resources"].values() if "Type" not in entry]
    return {
        _output_name(node): node
        for node in _intrinsics(amendments)
        if node != NO_VALUE and set(references(node)) <= known
    }


def resolved(node: Any, outputs: Mapping[str, str]) -> Any:
    """Put the values that a stack told for `intrinsic_values` in their places in `node`."""
    if _is_intrinsic(node):
        return outputs.get(_output_name(node), node)
    if isinstance(node, Mapping):
        return {key: resolved(value, outputs) for key, value in node.items()}
    if isinstance(node, list):
        return [resolved(item, outputs) for item in node]
    return node


def references(node: Any) -> Iterator[str]:
    """Yield the logical ids that `node` refers to, parameters too; pseudo parameters (`AWS::Region`) are none."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "Ref":
                yield from _own([value])
            elif key == "Fn::GetAtt":
                yield from _own([value.split(".")[0] if isinstance(value, str) else value[0]])
            elif key == "Fn::Sub":
                text, variables = (value, {}) if isinstance(value, str) else value
                yield from _own({name.split(".")[0] for name in SUB_VARIABLE.findall(text)} - variables.keys())
                yield from references(variables)
            elif key == "DependsOn":
                yield from _own([value] if isinstance(value, str) else value)
            else:
                yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def _intrinsics(node: Any) -> Iterator[Any]:
    if _is_intrinsic(node):
        yield node
    elif isinstance(node, Mapping | list):
        for item in node.values() if isinstance(node, Mapping) else node:
            yield from _intrinsics(item)


def _is_intrinsic(node: Any) -> bool:
    return (
        isinstance(node, Mapping)
        and len(node) == 1
        and next(iter(node)) in ("Ref", "Fn::GetAtt", "Fn::Sub", "Fn::Join")
    )


def _output_name(intrinsic: Any) -> str:
    return "Amended" + hashlib.sha256(json.dumps(intrinsic, sort_keys=True).encode()).hexdigest()[:16]


def _own(names: Any) -> Iterator[str]:
    return (name for name in names if not name.startswith("AWS::"))
