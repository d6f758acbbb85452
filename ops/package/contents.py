"""What of the installed packages runs in Lambda: by kind of file, and by what the application asks of them.

Nothing is changed, only left out: what nobody imports or reads there.
"""

import ast
import shutil
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from ops.package.errors import PackageError

# Modules, libraries, and the data that the modules read: botocore's models and certificates, X-Ray's rules. What else
# there is are headers, sources of extensions, type stubs, licences' texts and examples.
SUFFIXES = {".gz", ".json", ".pem", ".py", ".so"}
# By METADATA scanners tell what is there and who made it, and `importlib.metadata` answers.
DESCRIBED_BY = "METADATA"
FOLDERS_LEFT_OUT = {"bin", "examples", "include", "test", "tests"}
PATHS_LEFT_OUT = {
    "numpy/_pyinstaller",
    "numpy/conftest.py",
    "numpy/distutils",  # builds extensions …
    "numpy/f2py",  # … of Fortran
    "zstandard/backend_cffi.py",  # for a Python that is not CPython
}
PREFIXES_LEFT_OUT = ("zstandard/_cffi.",)  # as above; half of it
CHALICE = {"chalice/__init__.py", "chalice/app.py"}  # what Chalice's own packages have of it
MODELS = ("botocore/data", "boto3/data")  # of every service of AWS, a folder each
CLIENTS = Path("chalicelib") / "aws" / "clients.py"


def services_of(project: Path) -> set[str]:
    """Read off the one module that makes clients which services of AWS it makes them for.

    Raises: PackageError when it cannot be told.
    """
    calls = [node for node in ast.walk(ast.parse((project / CLIENTS).read_text())) if isinstance(node, ast.Call)]
    services = {
        first.value
        for call in calls
        if call.args and _name(call.func).endswith("client")
        for first in call.args[:1]
        if isinstance(first, ast.Constant) and isinstance(first.value, str)
    }
    if not services:
        raise PackageError(f"{CLIENTS} makes no client by a service's name: nobody can tell which models to package")
    return services


def move_what_runs(installed: Path, folder: Path, services: Collection[str] = ()) -> None:
    """Move from the installed packages into `folder` what runs, with the models of these services."""
    for file in sorted(installed.rglob("*")):
        path = PurePosixPath(file.relative_to(installed).as_posix())
        if file.is_file() and runs(path, services):
            destination = folder / path
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(file, destination)


def runs(path: PurePosixPath, services: Collection[str]) -> bool:
    """Tell whether a file of an installed package, by its path, is needed where the functions run."""
    if path.parts[0].endswith(".dist-info"):
        return path.name == DESCRIBED_BY
    if path.parts[0] == "chalice":
        return str(path) in CHALICE
    if FOLDERS_LEFT_OUT & {*path.parts[:-1]} or any(str(each) in PATHS_LEFT_OUT for each in (path, *path.parents)):
        return False
    if str(path).startswith(PREFIXES_LEFT_OUT):
        return False
    for models in MODELS:
        if path.is_relative_to(models) and len(path.relative_to(models).parts) > 1:
            return path.relative_to(models).parts[0] in services and path.suffix in SUFFIXES
    return path.suffix in SUFFIXES or ".so." in path.name


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
