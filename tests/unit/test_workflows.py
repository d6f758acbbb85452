"""The pipeline's workflows: whom they trust, and that nobody's key is stored."""

import re
from pathlib import Path

import pytest
import yaml
from cfnlint.api import lint

GITHUB = Path(__file__).parents[2] / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
PINNED = re.compile(r"uses: ([\w.-]+/[\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$")
OWN = re.compile(r"uses: \./\.github/workflows/[\w-]+\.yml\b")


def read(path):
    return yaml.safe_load(path.read_text())


@pytest.fixture(scope="module")
def jobs():
    """By file and name, every job."""
    return {f"{path.name}: {name}": job for path in WORKFLOWS for name, job in read(path)["jobs"].items()}


def test_every_action_is_pinned_by_its_commit_with_the_version_beside_it():
    used = [
        line.strip().removeprefix("- ")
        for path in WORKFLOWS
        for line in path.read_text().splitlines()
        if "uses:" in line
    ]
    assert used
    assert [each for each in used if not PINNED.fullmatch(each) and not OWN.match(each)] == []


def test_an_action_has_one_commit_everywhere():
    found = {match[1]: set() for path in WORKFLOWS for match in pinned_lines(path)}
    for path in WORKFLOWS:
        for match in pinned_lines(path):
            found[match[1]].add((match[2], match[3]))
    assert {action: len(commits) for action, commits in found.items() if len(commits) != 1} == {}


def pinned_lines(path):
    return [match for line in path.read_text().splitlines() if (match := PINNED.search(line))]


def test_no_key_is_stored_and_nothing_secret_is_needed():
    for path in WORKFLOWS:
        text = path.read_text()
        assert "secrets." not in text
        assert not re.search(r"aws-(access-key-id|secret-access-key)", text)


def test_every_job_ends_by_itself_and_may_no_more_than_it_says(jobs):
    for name, job in jobs.items():
        if "uses" not in job:
            assert job["timeout-minutes"] <= 110, name
    for path in WORKFLOWS:
        assert read(path)["permissions"] in ({}, {"contents": "read"}), path.name
    writes = {name for name, job in jobs.items() if "write" in job.get("permissions", {}).values()}
    assert writes == {"deploy.yml: dev", "deploy.yml: prod", "stage.yml: deploy"}
    assert all(job.get("permissions", {}).get("id-token") == "write" for name, job in jobs.items() if name in writes)


def test_nothing_of_a_pull_request_gets_into_a_shell(jobs):
    """Whatever is not ours reaches a shell through the environment, never as a part of the command."""
    steps = [step for job in jobs.values() for step in job.get("steps", [])]
    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]
    assert not [path.name for path in WORKFLOWS if "pull_request_target" in path.read_text()]


def test_prod_comes_after_dev_which_comes_after_all_checks(jobs):
    assert jobs["deploy.yml: dev"]["needs"] == "ci"
    assert jobs["deploy.yml: prod"]["needs"] == "dev"
    assert jobs["stage.yml: deploy"]["environment"] == "${{ inputs.stage }}"


def test_ci_runs_what_the_repository_calls_ci_and_packages_for_both_processors(jobs):
    runs = [step.get("run", "") for job in jobs.values() for step in job.get("steps", [])]
    assert ".ci/run" in runs
    assert jobs["ci.yml: package"]["strategy"]["matrix"] == {"stage": ["dev", "prod"], "arch": ["x86_64", "arm64"]}
    for command in ("make simulate", "cfn-lint", "ops.preflight", "pip-audit", "ops.deploy"):
        assert any(command in run for run in runs), command


@pytest.fixture(scope="module")
def deployer():
    return read(GITHUB / "deployer.yaml")


def test_cfn_lint_finds_nothing_in_the_deployers_template():
    assert not lint((GITHUB / "deployer.yaml").read_text())


def test_only_a_job_of_the_repository_in_the_stages_environment_is_given_the_role(deployer):
    (statement,) = deployer["Resources"]["Deployer"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": {"Fn::Sub": "repo:${Repository}:environment:${Stage}"},
        }
    }


# Calls that know no resource, or whose resource has no name to tell a stage by.
FOR_ANY_RESOURCE = {"NewKey", "Mappings", "MappingsSeen", "Queries"}


def test_the_deployer_may_touch_its_stage_alone(deployer):
    policies = deployer["Resources"]["Deployer"]["Properties"]["Policies"]
    statements = [each for policy in policies for each in policy["PolicyDocument"]["Statement"]]
    for statement in statements:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [action for action in actions if "*" in action], statement["Sid"]
        assert (statement["Resource"] == "*") == (statement["Sid"] in FOR_ANY_RESOURCE), statement["Sid"]
    passes_roles = [each for each in statements if each["Action"] == "iam:PassRole"]
    assert [each["Condition"]["StringEquals"]["iam:PassedToService"] for each in passes_roles] == [
        ["lambda.amazonaws.com", "codedeploy.amazonaws.com"]
    ]
