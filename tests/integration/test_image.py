"""The container image, without a Docker engine: its Dockerfile's steps carried out in folders, its command started.

The folders stand for the root of each build stage; a command of a step runs as it is, in the folder of its WORKDIR,
with this Python in place of the base image's. So it holds what the Dockerfile does with the package, and not the base
image.
"""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from dockerfile_parse import DockerfileParser

from localstage.aws import environment_variables
from localstage.packaged import Packaged
from localstage.runtime import Function
from ops.package import Package

PROJECT = Path(__file__).parents[2]
TASK_ROOT = "/var/task"  # what the base image sets LAMBDA_TASK_ROOT to, and where it starts
TOLD_BY_CLOUDFORMATION = {
    "REDRIVE_QUEUE_URL": "http://127.0.0.1:9/redrive",
    "RESULTS_TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:results",
}
BASE = "public.ecr.aws/lambda/python"


class Image:
    """What is built so far: the root of each stage, and where the last one stands."""

    def __init__(self, context: Path, folder: Path) -> None:
        self._context = context
        self._folder = folder
        self._roots: dict[str, Path] = {}
        self._variables = {"LAMBDA_TASK_ROOT": TASK_ROOT}
        self.command: list[str] = []

    def carry_out(self, dockerfile: Path) -> None:
        """Raises ValueError at a step that is not known here: it would be passed over otherwise."""
        parser = DockerfileParser(str(dockerfile), env_replace=False)
        for step in parser.structure:
            match step["instruction"], step["value"]:
                case "COMMENT", _:
                    pass
                case "ARG", value:
                    name, _, given = value.partition("=")
                    self._variables[name] = given
                case "FROM", value:
                    base, _, name = self._with_variables(value).partition(" AS ")
                    assert base == f"{BASE}:{sys.version_info.major}.{sys.version_info.minor}"
                    self.root = self._roots[name] = self._folder / (name or "image")
                    self._workdir = PurePosixPath(TASK_ROOT)
                case "WORKDIR", value:
                    self._workdir /= value
                    self._at(".").mkdir(parents=True, exist_ok=True)
                case "COPY", value:
                    self._copy(self._with_variables(value).split())
                case "RUN", value:
                    self._run(value)
                case "CMD", value:
                    self.command = json.loads(value)
                case instruction, value:
                    raise ValueError(f"{instruction} {value}")

    def _with_variables(self, text: str) -> str:
        for name, value in self._variables.items():
            text = text.replace(f"${{{name}}}", value)
        return text

    def _at(self, path: str) -> Path:
        return self.root / (self._workdir / path).relative_to("/")

    def _copy(self, words: list[str]) -> None:
        options, (*sources, destination) = [w for w in words if w[:2] == "--"], [w for w in words if w[:2] != "--"]
        from_stage = [self._roots[option.removeprefix("--from=")] for option in options]
        for source in sources:
            if from_stage:  # of another stage: the contents of a folder
                shutil.copytree(from_stage[0] / source.lstrip("/"), self._at(destination), dirs_exist_ok=True)
                continue
            found = list(self._context.glob(source))
            assert found, "Docker ends where a pattern finds nothing"
            for path in found:
                shutil.copy(path, self._at(destination) / path.name)

    def _run(self, command: str) -> None:
        subprocess.run(
            ["/bin/sh", "-e", "-c", command],
            cwd=self._at("."),
            env={"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "PYTHONDONTWRITEBYTECODE": "1"},
            check=True,
        )


@pytest.fixture
def context(made: Package, tmp_path: Path) -> Path:
    """What `docker build` is sent: .dockerignore leaves the package's archives alone."""
    ignored = (PROJECT / ".dockerignore").read_text().splitlines()
    assert [line for line in ignored if not line.startswith("#")] == ["*", "!out/*.zip"]
    shutil.copytree(made.template_path.parent, tmp_path / "context" / "out", ignore=shutil.ignore_patterns("*.yaml"))
    return tmp_path / "context"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_image_holds_the_package_and_its_command_is_a_handler_of_it(
    context: Path, packaged: Packaged, tmp_path: Path
) -> None:
    image = Image(context, tmp_path)
    image.carry_out(PROJECT / "Dockerfile")
    task = image.root / TASK_ROOT.lstrip("/")
    layer = packaged.layers["SketchesLayer"] / "python"
    assert contents(image.root) == {
        f"{TASK_ROOT.lstrip('/')}/{name}": content
        for name, content in (contents(packaged.code) | contents(layer)).items()
    }
    handlers = {properties["Handler"]: name for name, properties in packaged.functions.items()}
    (handler,) = image.command
    assert handler in handlers
    said = (PROJECT / "Dockerfile").read_text()
    assert all(each in said for each in handlers.keys() - {"app.check_release"}), "it names each command"
    for command, name in handlers.items():
        as_function = packaged.spec(name, environment_variables("http://127.0.0.1:9") | TOLD_BY_CLOUDFORMATION)
        spec = replace(as_function, handler=command, project_dir=task, imports=[packaged.client])
        function = Function(spec, tmp_path / "log")
        try:
            assert function.cold_start().seconds > 0
        finally:
            function.close()


def test_without_sketches_the_image_is_built_of_the_code_alone(
    context: Path, packaged: Packaged, tmp_path: Path
) -> None:
    (context / "out" / "sketches.zip").unlink()
    image = Image(context, tmp_path)
    image.carry_out(PROJECT / "Dockerfile")
    assert contents(image.root / TASK_ROOT.lstrip("/")) == contents(packaged.code)


def test_a_package_of_another_python_or_machine_ends_the_build(context: Path, tmp_path: Path) -> None:
    emptied = tmp_path / "emptied"
    shutil.unpack_archive(context / "out" / "deployment.zip", emptied)
    for library in emptied.rglob("*.so"):
        library.write_bytes(b"\x7fELF of another machine")
    shutil.make_archive(str(context / "out" / "deployment"), "zip", emptied)
    with pytest.raises(subprocess.CalledProcessError):
        Image(context, tmp_path).carry_out(PROJECT / "Dockerfile")


def test_the_linter_of_dockerfiles_finds_nothing() -> None:
    linted = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), PROJECT / "Dockerfile"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (linted.returncode, linted.stdout) == (0, "")
