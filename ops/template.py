"""Only this file knows the form of `.chalice/resources.yaml`, which `chalice package --merge-template` merges.

Under `Resources`, an entry with a `Type` is a resource of the stage; one without amends what Chalice generates from
`app.py`. Intrinsic functions are in their long form (`{"Ref": …}`), so that plain YAML can read them.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

TEMPLATE_PATH = Path(".chalice") / "resources.yaml"
SECTIONS_OF_ITS_OWN = ("AWSTemplateFormatVersion", "Description", "Mappings", "Conditions")
SUB_VARIABLE = re.compile(r"\$\{([^!}][^}]*)\}")  # ${!Literal} is no variable

Template = dict[str, Any]


def load(project_dir: Path) -> Template:
    """Read the template of the project in `project_dir`.

    Raises: FileNotFoundError when it has none.
    """
    template: Template = yaml.safe_load((project_dir / TEMPLATE_PATH).read_text())
    return template


def standalone(template: Template) -> Template:
    """Keep what a stack can have without Chalice's functions: the resources of the stage, and what those need.

    A resource or output that refers to a function (an alarm on it, its mapping) is left to the deployment, and so is
    whatever refers to one of those. A parameter that nothing left refers to is dropped.
    """
    resources = {name: entry for name, entry in template["Resources"].items() if "Type" in entry}
    while True:
        known = resources.keys() | template.get("Parameters", {}).keys()
        closed = {name: entry for name, entry in resources.items() if set(references(entry)) <= known}
        if len(closed) == len(resources):
            break
        resources = closed
    outputs = {name: entry for name, entry in template.get("Outputs", {}).items() if set(references(entry)) <= known}
    kept = {section: template[section] for section in SECTIONS_OF_ITS_OWN if section in template}
    needed = set(references([resources, outputs, kept]))
    parameters = {name: entry for name, entry in template.get("Parameters", {}).items() if name in needed}
    return {**kept, "Parameters": parameters, "Resources": resources, "Outputs": outputs}


def amendment(template: Template, name: str) -> dict[str, Any]:
    """The properties by which the template amends the function that Chalice generates as `name`; empty without any."""
    properties: dict[str, Any] = template["Resources"].get(name, {}).get("Properties", {})
    return properties


def intrinsic_values(template: Template) -> dict[str, Any]:
    """The values in amendments that only CloudFormation can tell, by a name under which a stack can output them.

    Values that refer to functions are left out: a stack without functions cannot tell them.
    """
    own = standalone(template)
    known = own["Resources"].keys() | own["Parameters"].keys()
    amendments = [entry for entry in template["Resources"].values() if "Type" not in entry]
    return {_output_name(node): node for node in _intrinsics(amendments) if set(references(node)) <= known}


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
