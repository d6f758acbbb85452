"""The package of a stage: what it holds, within which budget, and that its sources alone decide its bytes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest
import yaml
from cfnlint.api import lint
from packaging.utils import canonicalize_name

from ops.package import DEPLOYMENT_BYTES_MAX, UNZIPPED_BYTES_MAX, Package, PackageError
from ops.package.dependencies import Target, install, read

PROJECT = Path(__file__).parents[2]
SKETCHING = {"APIHandler", "CheckRelease", "FanOut", "Ingest", "Rollup", "Tick"}


def names_in(path: Path) -> list[PurePosixPath]:
    with ZipFile(path) as archive:
        return [PurePosixPath(name) for name in archive.namelist()]


def test_it_holds_the_application_what_that_imports_and_nothing_else(made: Package) -> None:
    modules = {
        "aws_kinesis_agg",
        "aws_lambda_powertools",
        "aws_xray_sdk",
        "boto3",
        "botocore",
        "chalice",
        "dateutil",
        "google",
        "jmespath",
        "msgspec",
        "orjson",
        "pybase64",
        "pybreaker",
        "s3transfer",
        "six.py",
        "typing_extensions.py",
        "urllib3",
        "wrapt",
        "xxhash",
        "zstandard",
    }
    names = names_in(made.deployment.path)
    described = {name.parts[0] for name in names if name.parts[0].endswith(".dist-info")}
    assert {name.parts[0] for name in names} - described == {"app.py", "chalicelib", "__pycache__", *modules}
    assert {str(name) for name in names if name.parts[0] == "__pycache__"} == {
        f"__pycache__/{module}.{sys.implementation.cache_tag}.pyc" for module in ("app", "six", "typing_extensions")
    }
    required = {each.name for each in read(PROJECT / "requirements.txt")} - {"numpy", "datasketches"}
    assert {canonicalize_name(name.partition("-")[0]) for name in described} == {*map(canonicalize_name, required)}
    assert {name.name for name in names if name.parts[0] in described} == {"METADATA"}


def test_it_holds_no_test_no_cache_of_a_run_and_no_source_of_an_extension(made: Package) -> None:
    for archive in made.archives:
        names = names_in(archive.path)
        assert not [name for name in names if {"tests", "test", "include", "bin"} & {*name.parts}]
        foreign = [name for name in names if "chalicelib" not in name.parts and name.name != "METADATA"]
        suffixes = {".".join(name.suffixes[-1:]) for name in foreign if ".so." not in name.name}
        assert suffixes <= {".py", ".pyc", ".so", ".json", ".gz", ".pem"}


def test_every_module_comes_with_byte_code_that_is_never_held_against_it(made: Package) -> None:
    for archive in made.archives:
        with ZipFile(archive.path) as opened:
            names = set(opened.namelist())
            for name in names:
                path = PurePosixPath(name)
                if path.suffix == ".py":
                    assert str(path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc") in names
                elif path.suffix == ".pyc":
                    assert opened.read(name)[4:8] == b"\x01\x00\x00\x00", "an unchecked hash (PEP 552)"


def test_sketches_are_a_layer_of_their_own(made: Package) -> None:
    assert made.sketches is not None
    assert not {"numpy", "numpy.libs", "datasketches"} & {name.parts[0] for name in names_in(made.deployment.path)}
    names = names_in(made.sketches.path)
    assert {name.parts[0] for name in names} == {"python"}
    assert {"numpy", "numpy.libs", "datasketches"} <= {name.parts[1] for name in names}


def test_it_keeps_to_its_budgets(made: Package) -> None:
    assert made.deployment.zipped_bytes <= DEPLOYMENT_BYTES_MAX // 2, "well below: what is new has room"
    assert made.unzipped_bytes <= UNZIPPED_BYTES_MAX // 2
    for archive in made.archives:
        with ZipFile(archive.path) as opened:
            assert sum(info.file_size for info in opened.infolist()) == archive.unzipped_bytes


def test_the_template_is_finished(made: Package) -> None:
    template = yaml.safe_load(made.template_path.read_text())
    assert template == made.template
    functions = {
        name: each["Properties"] for name, each in template["Resources"].items() if each["Type"].endswith("::Function")
    }
    assert {each["CodeUri"] for each in functions.values()} == {"./deployment.zip"}
    assert {name for name, each in functions.items() if {"Ref": "SketchesLayer"} in each.get("Layers", [])} == {
        "APIHandler",
        "CheckRelease",
        "FanOut",
        "Ingest",
        "Rollup",
        "Tick",
    }
    assert not lint(made.template_path.read_text())


def test_the_same_sources_make_the_same_bytes_elsewhere_at_another_time_and_for_another_user(
    made: Package, tmp_path: Path
) -> None:
    elsewhere, temporary, out = tmp_path / "a folder" / "project", tmp_path / "temporary", tmp_path / "out"
    temporary.mkdir()
    for name in (".chalice", "chalicelib", "ops"):
        shutil.copytree(PROJECT / name, elsewhere / name, copy_function=shutil.copyfile)  # with times of its own
    for name in ("app.py", "requirements.txt"):
        shutil.copyfile(PROJECT / name, elsewhere / name)
    command = ["-m", "ops.package", "--stage", "dev", "--out", str(out)]
    done = subprocess.run(
        ["/bin/sh", "-c", 'umask 077 && exec "$@"', "sh", sys.executable, *command],
        cwd=elsewhere,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
            "PYTHONHASHSEED": "7",
            "TMPDIR": str(temporary),
            "TZ": "Asia/Tokyo",
            "API_AUTH": "none",
            "LATENESS": "1h",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert "deployment.zip" in done.stdout
    for path in (made.template_path, *(archive.path for archive in made.archives)):
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_a_requirement_without_a_wheel_is_named(tmp_path: Path, architecture: str) -> None:
    (tmp_path / "requirements.txt").write_text("msgspec==0.0.1\n")
    with pytest.raises(PackageError, match=rf"^msgspec==0\.0\.1: pip finds no wheel .* on {architecture} can load$"):
        install(tmp_path / "requirements.txt", tmp_path / "installed", Target.of(architecture), print)
