"""What the application declares that a package must know, read in a process of its own: its import stays for ever.

python -m ops.package.application    in the project; takes the variables of its functions as JSON, tells it as JSON
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.package.errors import told_by
from ops.template import Template

REPOSITORY = Path(__file__).resolve().parents[2]
DECIDING = "Ingest"  # the function that decides what becomes of an event


@dataclass(frozen=True, slots=True)
class Declared:
    """Whether a metric measures by sketches; and a fingerprint of what decides what becomes of an event."""

    has_sketches: bool
    decisions: str


def declared_by(project: Path, template: Template) -> Declared:
    """Ask the project's application, with the variables that its functions have in the packaged template.

    Raises: PackageError for a function one of whose settings is malformed, naming both.
    """
    variables = functions_variables(template)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ops.package.application"],
        cwd=project,
        env={"PATH": "", **variables[DECIDING], "PYTHONPATH": os.pathsep.join((str(project), str(REPOSITORY)))},
        input=json.dumps(variables),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise told_by(done.stderr)
    return Declared(**json.loads(done.stdout))


def functions_variables(template: Template) -> dict[str, dict[str, str]]:
    """Tell each function's environment variables; those that only CloudFormation can tell are left out."""
    everywhere = _variables(template.get("Globals", {}).get("Function", {}))
    return {
        name: everywhere | _variables(resource["Properties"])
        for name, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }


def _variables(properties: Mapping[str, object]) -> dict[str, str]:
    environment = properties.get("Environment", {})
    variables = environment.get("Variables", {}) if isinstance(environment, Mapping) else {}
    return {name: value for name, value in variables.items() if isinstance(value, str)}


def main() -> int:
    """Tell it. Returns: 0, or 2 with one line when a function's settings are not right."""
    from chalicelib.decisions import fingerprint  # noqa: PLC0415  (of the project, as what follows)
    from chalicelib.errors import SettingError  # noqa: PLC0415
    from chalicelib.settings import read_settings  # noqa: PLC0415
    from chalicelib.wiring.stage import CATALOG  # noqa: PLC0415

    settings = {}
    for function, variables in json.load(sys.stdin).items():
        try:
            settings[function] = read_settings(variables)
        except SettingError as error:
            sys.stderr.write(f"{function}: {error}\n")
            return 2
    has_sketches = any(metric.has_sketches for metric in CATALOG.metrics.values())
    decisions = fingerprint(CATALOG, settings[DECIDING])
    sys.stdout.write(json.dumps(asdict(Declared(has_sketches, decisions))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
