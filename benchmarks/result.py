"""The form of a section's result, as it is kept in benchmarks/results. Only this file reads and writes them."""

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

RESULTS = Path(__file__).with_name("results")
PROJECT = Path(__file__).parents[1]
PACKAGES = (
    "aws-kinesis-agg",
    "aws-lambda-powertools",
    "boto3",
    "botocore",
    "datasketches",
    "ministack",
    "msgspec",
    "numpy",
    "orjson",
    "pybase64",
    "xxhash",
)
CPU_INFO = Path("/proc/cpuinfo")


class Machine(Struct, frozen=True):
    """On what was measured. Shapes: cores, those that the process may use. Units: memory in GB."""

    cpu: str
    cores: int
    memory_gb: float
    kernel: str
    python: str


class Result(Struct, frozen=True):
    """What a section measured, and with what, when, where. Shapes: figures, the section's own JSON."""

    section: str
    command: str
    date: str
    revision: str
    is_quick: bool
    settings: Any
    machine: Machine
    versions: dict[str, str]
    figures: Any


def write(result: Result, folder: Path = RESULTS) -> Path:
    """Keep a result. Returns: where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.section}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    return path


def read(section: str, folder: Path = RESULTS) -> Result | None:
    """A section's result; None when there is none."""
    path = folder / f"{section}.json"
    return msgspec.json.decode(path.read_bytes(), type=Result) if path.exists() else None


def now() -> str:
    """This instant, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def revision() -> str:
    """What of the source was measured."""
    git = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(git, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603  our own words
    return done.stdout.strip() or "unknown"


def versions(more: Iterable[str] = ()) -> dict[str, str]:
    """The versions of these packages, as far as they are installed."""
    found = {}
    for package in sorted({*PACKAGES, *more}):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> Machine:
    """This machine."""
    return Machine(
        cpu=_told(CPU_INFO, "model name") or platform.processor() or platform.machine(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
    )


def _told(path: Path, name: str) -> str:
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
