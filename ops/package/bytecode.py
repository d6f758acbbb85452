"""Compiles a folder's modules, for Lambda cannot: its file system is read-only, so each cold start would do so anew.

The byte code is for this Python's minor version, which is the functions', and for every machine. It is never held
against its source ("unchecked hash", PEP 552), for nothing there can change; and it holds no time of this build.
"""

import os
import subprocess
import sys
from pathlib import Path

from ops.package.errors import PackageError

HASHED = ["--invalidation-mode", "unchecked-hash"]


def compile_all(folder: Path, root: Path) -> None:
    """Compile every module in `folder`, which will stand at `root`.

    Raises: PackageError naming a module that is no Python of this version.
    Why a process of its own, and one: what is compiled in it before decides how a module's constants are written.
    """
    placed = ["-s", str(folder), "-p", str(root)]
    done = subprocess.run(  # noqa: S603 (Python's own)
        [sys.executable, "-P", "-s", "-S", "-m", "compileall", "-f", "-q", "-j", "1", *HASHED, *placed, str(folder)],
        env={"PATH": os.defpath, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        told = " ".join(done.stdout.split()).replace(f"{folder}/", "")
        raise PackageError(f"a module cannot be compiled: {told}")
