"""Makes the packaged template: Chalice's of app.py, merged with .chalice/resources.yaml, and what only a package knows.

Chalice works on a copy of the project without requirements, for what it installs is not what is packaged; and in an
environment of its own: nothing of the caller's shell, such as API_AUTH, gets into the package.
"""

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

import yaml

from ops.package.application import DECIDING, Declared
from ops.package.dependencies import Target
from ops.package.errors import PackageError, told_by
from ops.parameters import ParameterError, check_stage
from ops.template import LAYER, TEMPLATE_PATH, Template, filtered, functions

PACKAGED = "sam.yaml"
CONFIG = Path(".chalice") / "config.json"
DEFAULT_ARCHITECTURE = "x86_64"  # Chalice's, and Lambda's
SOURCES = ("app.py", "chalicelib", ".chalice")
REGION = "us-east-1"  # Chalice needs one, and asks it only for the names of AWS's services: no region's own gets in
CHALICE = "from chalice.cli import main; raise SystemExit(main())"  # it is no module that `python -m` could run
SKETCHING = ("Ingest", "Rollup", "FanOut", "Tick", "APIHandler", "CheckRelease")  # who makes or reads sketches


def architecture_of(project_dir: Path, stage: str) -> str:
    """Read what the config has a stage's functions run on: Chalice's own `lambda_architecture`, the stage's or all's.

    Raises: PackageError for a stage that there is not, or one whose functions are told another; and for no config.
    Why:    whoever packages a stage anew, by whichever command, makes what was made before.
    """
    try:
        check_stage(project_dir, stage)
    except ParameterError as error:
        raise PackageError(str(error)) from error
    config = json.loads((project_dir / CONFIG).read_text())
    told = config["stages"][stage].get("lambda_architecture") or config.get("lambda_architecture")
    return str(told or DEFAULT_ARCHITECTURE)


def copy_project(
    project_dir: Path,
    copy: Path,
    stage: str,
    *,
    architecture: str = "x86_64",
    variables: Mapping[str, str] | None = None,
) -> None:
    """Copy what is packaged of a project, without what earlier runs left behind.

    Shapes: variables are set for every function beside those of the config; the stage is one that the config knows.
    """
    copy.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        source = project_dir / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "deploy*", ".*"))
        else:
            shutil.copy(source, copy / name)
    (copy / "requirements.txt").touch()
    config = json.loads((copy / CONFIG).read_text())
    for level in (config, config["stages"][stage]):
        level["lambda_architecture"] = architecture
    config["environment_variables"] = {**config.get("environment_variables", {}), **(variables or {})}
    (copy / CONFIG).write_text(json.dumps(config))


def generate(project: Path, stage: str) -> Template:
    """Have Chalice make the template of a project that `copy_project` made, and read it.

    Raises: PackageError with what Chalice, or the application as it is imported, has against it: a setting, say.
    """
    options = ["--stage", stage, "--merge-template", str(TEMPLATE_PATH), "--template-format", "yaml"]
    done = subprocess.run(  # noqa: S603 (Chalice)
        [sys.executable, "-P", "-c", CHALICE, "package", *options, "out"],
        cwd=project,
        env={"PATH": "", "HOME": str(project), "AWS_DEFAULT_REGION": REGION, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise told_by(f"{done.stdout}\n{done.stderr}", project.resolve())
    template: Template = yaml.safe_load((project / "out" / PACKAGED).read_text())
    return template


def finish(template: Template, declared: Declared, target: Target) -> None:
    """Put in what only the package knows: the layer, filters, the aliases that the API calls, and what decides."""
    resources = template["Resources"]
    if declared.has_sketches:
        resources["SketchesLayer"] = {
            "Type": LAYER,
            "Properties": {
                "LayerName": {"Fn::Sub": "highwater-${Stage}-sketches"},
                "Description": "numpy and datasketches, for what is measured by sketches",
                "ContentUri": "./sketches.zip",
                "CompatibleRuntimes": [target.runtime],
                "CompatibleArchitectures": [target.architecture],
                # A function's version that refers to it keeps it: Lambda has a copy "until no functions refer to it"
                # (AWS Lambda API Reference, DeleteLayerVersion). So nothing piles up, and what is rolled back runs.
                "RetentionPolicy": "Delete",
            },
        }
        for name in SKETCHING:
            properties = resources[name]["Properties"]
            properties["Layers"] = [*properties.get("Layers", []), {"Ref": "SketchesLayer"}]
    resources[DECIDING]["Properties"]["Environment"]["Variables"]["DECISIONS"] = declared.decisions
    template["Resources"] = filtered(template, declared.filters)["Resources"]
    _call_aliases(template)


def save(template: Template, path: Path) -> None:
    """Write the template as Chalice does, whole or not at all."""
    unfinished = path.with_suffix(f".{uuid.uuid4().hex}")
    unfinished.write_text(yaml.safe_dump(template, allow_unicode=True))
    unfinished.replace(path)


def _call_aliases(template: Template) -> None:
    """Have the API call each function that has an alias by it, so that a release can move its traffic.

    Why by the name that SAM gives the alias, and not by `${APIHandler.Alias}`: SAM takes both, cfn-lint does not.
    Source: AWS SAM Developer Guide, "CloudFormation resources generated when AutoPublishAlias is specified".
    """
    api = json.dumps(template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"])
    for name, properties in functions(template).items():
        if alias := properties.get("AutoPublishAlias"):
            api = api.replace(f"${{{name}.Arn}}", f"${{{name}Alias{alias}}}")
    template["Resources"]["RestAPI"]["Properties"]["DefinitionBody"] = json.loads(api)
