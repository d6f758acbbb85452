"""What the Makefile asks of whoever runs it, and what it takes from a shell: nothing that was set for other things."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
EXPORTED = {"STAGE": "prod", "ARCH": "amd64", "SET": "LogRetentionDays=1", "BUCKET": "exported"}


def make(*arguments):
    return subprocess.run(
        [shutil.which("make"), "--dry-run", "--no-print-directory", *arguments],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], **EXPORTED},
        capture_output=True,
        text=True,
        check=False,
    )


def commands(*arguments):
    done = make(*arguments)
    assert done.returncode == 0, done.stderr
    lines = [
        line
        for line in done.stdout.splitlines()
        if " -m ops." in line or " -m localstage" in line or " -m loadtest" in line
    ]
    return [" ".join(line.partition(" -m ")[2].split()) for line in lines]


@pytest.mark.parametrize("target", ["package", "preflight", "deploy"])
def test_a_stage_is_named_on_the_command_line_whatever_the_shell_has_exported(target):
    done = make(target)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"Say which stage, here: make {target} STAGE=dev" in line


def test_the_architecture_is_the_stages_unless_one_is_named():
    assert commands("package", "STAGE=dev") == ["ops.package --stage dev"]
    assert commands("package", "STAGE=dev", "ARCH=arm64") == ["ops.package --stage dev --arch arm64"]


def test_what_is_deployed_was_refused_nothing_and_is_packaged_and_looked_at_with_the_same_parameters():
    deploy = "ops.deploy --stage dev --bucket mine --set A=1 --set B=2"
    assert commands("deploy", "STAGE=dev", "BUCKET=mine", "SET=A=1 B=2") == [
        f"{deploy} --check",
        "ops.package --stage dev",
        "ops.preflight --stage dev --set A=1 --set B=2",
        deploy,
    ]


def test_a_load_is_local_and_short_unless_told_otherwise_and_takes_nothing_that_a_shell_exported():
    assert commands("loadtest") == ["loadtest"]
    assert commands("loadtest", "STAGE=dev", "PROFILE=steady", "WORKERS=2") == [
        "loadtest --stage dev --profile steady --workers 2"
    ]


def test_the_local_stages_take_other_ports():
    assert commands("stage", "AWS_PORT=1", "API_PORT=2") == ["localstage --aws-port 1 --api-port 2"]
    assert commands("deploy-local", "AWS_PORT=1") == ["localstage.deployed --aws-port 1"]
    assert commands("deploy-local") == ["localstage.deployed"]
