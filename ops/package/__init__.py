"""Makes a stage's package: what CloudFormation and Lambda are given, and nothing that does not run.

    python -m ops.package --stage S [--arch x86_64|arm64] [--out out]

`out/sam.yaml`         the template that Chalice makes of app.py, merged with .chalice/resources.yaml and finished
`out/deployment.zip`   the functions' code and what it imports
`out/sketches.zip`     a layer with numpy and datasketches, where the definitions measure by sketches

The same sources make the same bytes, wherever and whenever: docs/decisions/0009-package.md.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.package.application import declared_by
from ops.package.archive import Archive, write
from ops.package.bytecode import compile_all
from ops.package.contents import move_what_runs, services_of
from ops.package.dependencies import Target, install
from ops.package.errors import PackageError
from ops.package.template import PACKAGED, architecture_of, copy_project, finish, generate, save
from ops.template import Template

DEPLOYMENT_BYTES_MAX = 30_000_000  # ours: a cold start begins with fetching it
UNZIPPED_BYTES_MAX = 262_144_000  # Lambda's, of a function and its layers
SKETCHES = ("datasketches", "numpy")  # what chalicelib/aggregates/sketches.py alone imports, and only when it must
TASK_ROOT = Path("/var/task")  # where Lambda unzips the code …
LAYER_ROOT = Path("/opt")  # … and the layers
LAYER_FOLDER = "python"  # of a layer; it is on the path

__all__ = ["DEPLOYMENT_BYTES_MAX", "UNZIPPED_BYTES_MAX", "Package", "PackageError", "package"]


@dataclass(frozen=True, slots=True)
class Package:
    """What was made: the template, where it stands, the archives that it names, and what their libraries run on."""

    template: Template
    template_path: Path
    deployment: Archive
    sketches: Archive | None
    architecture: str

    @property
    def archives(self) -> list[Archive]:
        """All of them, the functions' code first."""
        return [self.deployment] if self.sketches is None else [self.deployment, self.sketches]

    @property
    def unzipped_bytes(self) -> int:
        """Of a function with its layer."""
        return sum(archive.unzipped_bytes for archive in self.archives)


def package(
    project_dir: Path,
    stage: str,
    out_dir: Path,
    architecture: str | None = None,
    progress: Callable[[str], None] = lambda _status: None,
) -> Package:
    """Package the project for a stage of `.chalice/config.json`, in `out_dir`.

    Shapes: architecture, `x86_64` or `arm64`, the stage's own in the config if None; progress hears what is being done.
    Raises: PackageError, one line: no such stage or architecture, a setting that is missing, malformed or misspelt, a
            requirement that Lambda cannot load, an archive that is over its budget.
    """
    stages_own = architecture_of(project_dir, stage)
    target = Target.of(architecture or stages_own)
    with tempfile.TemporaryDirectory(prefix="highwater-package-") as folder:
        workspace = Path(folder)
        project = workspace / "project"
        copy_project(project_dir, project, stage, architecture=target.architecture)
        progress("making the template")
        template = generate(project, stage)
        declared = declared_by(project, template)
        requirements = project_dir / "requirements.txt"

        install(requirements, workspace / "installed", target, progress, without=SKETCHES)
        task = workspace / "task"
        move_what_runs(workspace / "installed", task, services_of(project))
        shutil.copytree(project / "chalicelib", task / "chalicelib", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(project / "app.py", task / "app.py")
        layer = workspace / "layer"
        if declared.has_sketches:
            install(requirements, workspace / "sketches", target, progress, only=SKETCHES)
            move_what_runs(workspace / "sketches", layer / LAYER_FOLDER)

        progress("compiling")
        compile_all(task, TASK_ROOT)
        if declared.has_sketches:
            compile_all(layer, LAYER_ROOT)

        progress("writing the archives")
        finish(template, declared, target)
        out_dir.mkdir(parents=True, exist_ok=True)
        with _alone(out_dir):
            deployment = write(task, out_dir / "deployment.zip")
            sketches = write(layer, out_dir / "sketches.zip", below=LAYER_FOLDER) if declared.has_sketches else None
            if sketches is None:
                (out_dir / "sketches.zip").unlink(missing_ok=True)
            save(template, out_dir / PACKAGED)
    made = Package(template, out_dir / PACKAGED, deployment, sketches, target.architecture)
    check_sizes(made)
    return made


@contextmanager
def _alone(out_dir: Path) -> Iterator[None]:
    """Keep other packagings out of a folder meanwhile: the zips of one with the template of another are no package."""
    handle = os.open(out_dir, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def check_sizes(made: Package) -> None:
    """Hold a package against its budgets.

    Raises: PackageError naming the archive that is over its own, and what takes the most of it.
    """
    if made.deployment.zipped_bytes > DEPLOYMENT_BYTES_MAX:
        raise PackageError(
            f"{made.deployment.path.name} has {made.deployment.zipped_bytes:,} bytes, {DEPLOYMENT_BYTES_MAX:,} at most;"
            f" the largest in it: {made.deployment.largest()}"
        )
    if made.unzipped_bytes > UNZIPPED_BYTES_MAX:
        largest = ", ".join(archive.largest() for archive in made.archives)
        raise PackageError(
            f"unzipped, the code and its layer have {made.unzipped_bytes:,} bytes, of which Lambda takes"
            f" {UNZIPPED_BYTES_MAX:,}; the largest in it: {largest}"
        )
