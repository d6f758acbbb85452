"""What a stage's parameters are, held against what the template declares before CloudFormation is asked.

`.chalice/parameters.json` says them by stage, as texts. CloudFormation would refuse what is wrong here too, but only
after the upload, and for some of it only when half the stack is made.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from chalicelib.settings import STAGE_NAME

PARAMETERS_PATH = Path(".chalice") / "parameters.json"
CONFIG_PATH = Path(".chalice") / "config.json"
STAGE = "Stage"  # the parameter that is the stage itself

Declared = Mapping[str, Mapping[str, Any]]


class ParameterError(Exception):
    """A stage or a parameter that cannot be; the text names it in one line."""


def read(
    project_dir: Path, stage: str, declared: Declared, overrides: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Read the parameters of a stage, and check them.

    Shapes: declared, the template's `Parameters`; overrides, values that replace those of the file.
    Raises: ParameterError, naming what is unknown, missing or malformed: a stage too, and one whose STAGE in
            `.chalice/config.json` is another.
    """
    stages = _read_json(project_dir / PARAMETERS_PATH)
    check_stage(project_dir, stage)
    if stage not in stages:
        raise ParameterError(f"stage {stage} has no parameters in {PARAMETERS_PATH}; there are: {', '.join(stages)}")
    values = {**stages[stage], **(overrides or {})}
    if values.setdefault(STAGE, stage) != stage:
        raise ParameterError(f"parameter {STAGE} is the stage itself, {stage}, not {values[STAGE]!r}")
    check(values, declared)
    return values


def check_stage(project_dir: Path, stage: str) -> None:
    """See that there is such a stage, and that its functions are told so.

    Raises: ParameterError for a malformed or unknown one, and where STAGE in `.chalice/config.json` is another's.
    """
    if not re.fullmatch(STAGE_NAME, stage):
        raise ParameterError(f"stage is a name of 1..20 of a-z, 0-9 and -, a letter first, not {stage[:40]!r}")
    stages = _read_json(project_dir / CONFIG_PATH)["stages"]
    if stage not in stages:
        raise ParameterError(f"there is no stage {stage} in {CONFIG_PATH}; there are: {', '.join(stages)}")
    told = stages[stage].get("environment_variables", {}).get("STAGE")
    if told != stage:
        raise ParameterError(f"stage {stage} has STAGE {told!r} in {CONFIG_PATH}")


def check(values: Mapping[str, str], declared: Declared) -> None:
    """Hold values against the template's `Parameters`.

    Raises: ParameterError, naming the first that is unknown, missing or malformed.
    Source: AWS CloudFormation User Guide, "Parameters".
    """
    for name in values:
        if name not in declared:
            raise ParameterError(f"parameter {name} is unknown; the template has: {', '.join(sorted(declared))}")
    for name, rule in declared.items():
        if name in values:
            if (fault := _fault(values[name], rule)) is not None:
                raise ParameterError(f"parameter {name} {fault}, not {values[name]!r}")
        elif "Default" not in rule:
            raise ParameterError(f"parameter {name} is missing: the template has no default for it")


def _fault(value: object, rule: Mapping[str, Any]) -> str | None:
    """What a value has to be and is not."""
    if not isinstance(value, str):
        return "is a text in quotes"
    allowed = [_text(each) for each in rule.get("AllowedValues", [])]
    if allowed and value not in allowed:
        return f"is one of {', '.join(allowed)}"
    if "AllowedPattern" in rule and not re.fullmatch(rule["AllowedPattern"], value):
        return str(rule.get("ConstraintDescription") or f"has to match {rule['AllowedPattern']}")
    if len(value) < int(rule.get("MinLength", 0)):
        return f"has at least {rule['MinLength']} characters"
    if "MaxLength" in rule and len(value) > int(rule["MaxLength"]):
        return f"has at most {rule['MaxLength']} characters"
    return _fault_of_number(value, rule) if rule.get("Type") == "Number" else None


def _fault_of_number(value: str, rule: Mapping[str, Any]) -> str | None:
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        return "is a number"
    if "MinValue" in rule and number < Decimal(str(rule["MinValue"])):
        return f"is at least {rule['MinValue']}"
    if "MaxValue" in rule and number > Decimal(str(rule["MaxValue"])):
        return f"is at most {rule['MaxValue']}"
    return None


def _text(value: object) -> str:
    """YAML reads `true` as a boolean where CloudFormation has a text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ParameterError(f"there is no {path.parent.name}/{path.name}") from None
    except ValueError as error:
        raise ParameterError(f"{path.parent.name}/{path.name} is no JSON: {error}") from None
