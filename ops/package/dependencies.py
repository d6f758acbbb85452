"""Installs the pinned requirements for Lambda, whatever machine this is: wheels only, and those that it can load.

What `requirements.txt` names is all there is, without what pip would add: the package has what was tested, in the
version that was tested, and nothing that only Chalice's commands need.
"""

import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ops.package.errors import PackageError

MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}  # of an architecture, as Lambda calls it and as wheels do
GLIBC_MINOR_MIN = 17  # of manylinux2014; older tags stand beside it or are implied by its old name
GLIBC_MINOR_AL2, GLIBC_MINOR_AL2023 = 26, 34  # Lambda's runtimes up to Python 3.11 run on Amazon Linux 2
AL2_PYTHON_MAX = (3, 11)
NEEDED_BY_ITS_COMMANDS_ONLY = {"chalice"}  # in Lambda Chalice is one module, which imports nothing beside Python


@dataclass(frozen=True, slots=True)
class Target:
    """Where the package will run. The Python is this one: Chalice makes the functions' runtime of it."""

    architecture: str
    python: tuple[int, int]

    @classmethod
    def of(cls, architecture: str) -> Self:
        """Take this Python for an architecture.

        Raises: PackageError when Lambda has no such architecture.
        """
        if architecture not in MACHINES:
            raise PackageError(f"architecture is one of {', '.join(MACHINES)}, not {architecture!r}")
        return cls(architecture, sys.version_info[:2])

    @property
    def runtime(self) -> str:
        """The runtime's name in a template."""
        return f"python{self.python[0]}.{self.python[1]}"

    @property
    def platforms(self) -> list[str]:
        """The tags of the wheels that Lambda's C library can load, the best first; pip implies none by another.

        Source: AWS Lambda Developer Guide, "Lambda runtimes"; PEP 600.
        """
        machine = MACHINES[self.architecture]
        newest = GLIBC_MINOR_AL2 if self.python <= AL2_PYTHON_MAX else GLIBC_MINOR_AL2023
        tags = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, GLIBC_MINOR_MIN - 1, -1)]
        return [*tags, f"manylinux2014_{machine}"]


def install(
    requirements: Path,
    folder: Path,
    target: Target,
    progress: Callable[[str], None],
    *,
    only: Collection[str] = (),
    without: Collection[str] = (),
) -> None:
    """Install the requirements for the target in `folder`; pip's own cache spares a download.

    Shapes: only these, or those without these; all of them are known to each other.
    Raises: PackageError naming the requirement that has no such wheel, or that is needed and not pinned.
    """
    pinned = read(requirements)
    wanted = [each for each in pinned if (not only or each.name in only) and each.name not in without]
    platforms = [argument for tag in target.platforms for argument in ("--platform", tag)]
    version = f"{target.python[0]}.{target.python[1]}"
    python = ["--implementation", "cp", "--python-version", version]
    named = [f"{each.name}{each.specifier}" for each in wanted]
    _pip(
        ["--target", str(folder), "--no-deps", "--no-compile", "--only-binary", ":all:", *python, *platforms, *named],
        progress,
        f"Lambda's Python {version} on {target.architecture}",
    )
    _check_closed(folder, pinned)


def read(requirements: Path) -> list[Requirement]:
    """Read what is required of this Python.

    Raises: PackageError naming one that is not pinned: another day it would be another version.
    """
    lines = (line.partition("#")[0].strip() for line in requirements.read_text().splitlines())
    required = [Requirement(line) for line in lines if line]
    for each in required:
        if not re.fullmatch(r"==[^*,]+", str(each.specifier)):
            raise PackageError(f"{requirements.name} does not pin {each.name}")
    return [each for each in required if each.marker is None or each.marker.evaluate()]


def _pip(arguments: list[str], progress: Callable[[str], None], where: str) -> None:
    told = []
    with subprocess.Popen(  # noqa: S603 (pip, with the settings and the cache of whoever runs this)
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as pip:
        for line in pip.stdout or ():
            if line.startswith("Collecting "):
                progress(line.strip().lower())
            told.append(line.strip())
    if pip.returncode == 0:
        return
    errors = [line.removeprefix("ERROR: ") for line in told if line.startswith("ERROR: ")]
    for error in errors:
        if missing := re.match(r"No matching distribution found for (\S+)", error):
            raise PackageError(f"{missing[1]}: pip finds no wheel that {where} can load")
    raise PackageError(f"pip cannot install the requirements: {(errors or told or ['it says nothing'])[-1]}")


def _check_closed(folder: Path, pinned: Collection[Requirement]) -> None:
    """Hold what is installed against what it says that it needs."""
    versions = {canonicalize_name(each.name): str(each.specifier).removeprefix("==") for each in pinned}
    for distribution in importlib.metadata.distributions(path=[str(folder)]):
        if distribution.name in NEEDED_BY_ITS_COMMANDS_ONLY:
            continue
        for needed in map(Requirement, distribution.requires or ()):
            if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
                continue
            version = versions.get(canonicalize_name(needed.name))
            if version is None:
                raise PackageError(f"{distribution.name} needs {needed.name}, which requirements.txt does not pin")
            if not needed.specifier.contains(version, prereleases=True):
                raise PackageError(f"{distribution.name} needs {needed}, and requirements.txt pins {version}")
