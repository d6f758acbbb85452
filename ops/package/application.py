"""What the application declares that a package must know, read in a process of its own: its import stays for ever.

python -m ops.package.application    in the project; takes the variables of its functions as JSON, tells it as JSON
"""

import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path

from ops.package.errors import told_by
from ops.template import Template, functions

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_OURS = ("AWS_", "_")
NEARLY = 0.85  # LATENES, LATNESS and lateness are; MY_LATENESS and STATE are not
DECIDING = "Ingest"  # the function that decides what becomes of an event


@dataclass(frozen=True, slots=True)
class Declared:
    """Whether a metric measures by sketches; and a fingerprint of what decides what becomes of an event.

    Shapes: filters, by function, the patterns of its mapping.
    """

    has_sketches: bool
    decisions: str
    filters: Mapping[str, Sequence[str]] = field(default_factory=dict)


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
        raise told_by(done.stderr, project.resolve())
    return Declared(**json.loads(done.stdout))


def functions_variables(template: Template) -> dict[str, dict[str, str]]:
    """Tell each function's environment variables; those that only CloudFormation can tell are left out."""
    return {name: _variables(properties) for name, properties in functions(template).items()}


def _variables(properties: Mapping[str, object]) -> dict[str, str]:
    environment = properties.get("Environment", {})
    variables = environment.get("Variables", {}) if isinstance(environment, Mapping) else {}
    return {name: value for name, value in variables.items() if isinstance(value, str)}


class AskedFor(Mapping[str, str]):
    """Variables that know which names were asked for: those of the settings, for nothing else reads them so."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.names: set[str] = set()
        self._variables = variables

    def __getitem__(self, name: str) -> str:
        self.names.add(name)
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


def misspelt(variables: Iterable[str], settings: Collection[str]) -> dict[str, str]:
    """Tell which variables are nearly a setting, and which one: a misspelt setting would do nothing, and say nothing.

    Why: a variable that is like no setting may be an adopter's own. `AWS_…` and `_…` are Lambda's and botocore's, and
         some of those differ from each other by a letter or two.
    """
    ours = [name for name in settings if not name.startswith(NOT_OURS)]
    unknown = [name for name in sorted(set(variables) - set(settings)) if not name.startswith(NOT_OURS)]
    near = {name: get_close_matches(name.upper(), ours, n=1, cutoff=NEARLY) for name in unknown}
    return {name: matches[0] for name, matches in near.items() if matches}


def main() -> int:
    """Tell it. Returns: 0, or 2 with one line when a function's settings are not right."""
    from chalicelib.decisions import fingerprint  # noqa: PLC0415  (of the project, as what follows)
    from chalicelib.errors import SettingError  # noqa: PLC0415
    from chalicelib.settings import read_settings  # noqa: PLC0415
    from chalicelib.wiring.filters import patterns  # noqa: PLC0415
    from chalicelib.wiring.stage import CATALOG  # noqa: PLC0415

    settings = {}
    for function, variables in json.load(sys.stdin).items():
        asked_for = AskedFor(variables)
        try:
            settings[function] = read_settings(asked_for)
        except SettingError as error:
            sys.stderr.write(f"{function}: {error}\n")
            return 2
        for name, meant in misspelt(variables, asked_for.names).items():
            sys.stderr.write(f"{name} is no setting; {meant} is\n")
            return 2
    has_sketches = any(metric.has_sketches for metric in CATALOG.metrics.values())
    decisions = fingerprint(CATALOG, settings[DECIDING])
    sys.stdout.write(json.dumps(asdict(Declared(has_sketches, decisions, patterns()))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
