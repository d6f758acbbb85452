"""The command: a table and an exit code; what cannot be checked is one line and exit code 2."""

import copy
import json
import re
import shutil

import pytest
import yaml

from ops.package.template import save
from ops.parameters import ParameterError
from ops.preflight import __main__ as command

TOLD = ["--set", "AlarmEmail=operators@example.org", "--set", "MonthlyBudgetUSD=500"]


@pytest.fixture
def package_dir(packaged, tmp_path):
    save(packaged, tmp_path / "sam.yaml")
    for name in ("deployment.zip", "sketches.zip"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.fixture(autouse=True)
def _a_wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")


def run(package_dir, *arguments):
    return command.main(["--stage", "prod", "--package-dir", str(package_dir), *arguments])


def test_a_package_that_holds_is_fit(package_dir, capsys):
    assert run(package_dir, *TOLD) == 0
    printed = capsys.readouterr().out
    assert f"{len(command.CHECKS)} of {len(command.CHECKS)} lines hold, 0 fail" in printed
    assert all(check.title in printed for check in command.CHECKS)


def test_what_does_not_hold_is_told_with_where_and_why_and_the_exit_code_is_1(package_dir, capsys):
    assert run(package_dir, "--set", "MonthlyBudgetUSD=500") == 1
    printed = capsys.readouterr().out
    *_, told = printed.partition("✘ Somebody is told [somebody-is-told]")
    assert [line.strip().split(maxsplit=1) for line in told.splitlines() if line.strip()] == [
        ["found", "AlarmsTopic: no subscription → a subscription"],
        ["set", ".chalice/parameters.json: AlarmEmail"],
        ["why", "a topic without a subscription tells nobody"],
        [f"{len(command.CHECKS) - 1}", f"of {len(command.CHECKS)} lines hold, 1 fail"],
    ]


@pytest.mark.parametrize("columns", [40, 80, 100, 160])
def test_nothing_is_cut_off_however_narrow_the_terminal(package_dir, capsys, monkeypatch, columns):
    broken(a_broad_resource)(package_dir)
    monkeypatch.setenv("COLUMNS", str(columns))
    run(package_dir, "--set", "ReserveConcurrency=false")
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= columns
    words = re.sub(r"\s", "", printed.partition("└")[2])
    for told in (
        "APIHandler.ReservedConcurrentExecutions: not set → at least 1",
        ".chalice/parameters.json: ReserveConcurrency",
        f".chalice/policies/rollup.json KeepRollups: Resource: {BROAD} → a pattern only within a resource of prod",
        ".chalice/parameters.json: MonthlyBudgetUSD",
    ):
        assert re.sub(r"\s", "", told) in words


def test_what_warns_is_told_before_what_fails_so_that_the_end_is_what_counts(package_dir, capsys):
    run(package_dir, "--set", "MonthlyBudgetUSD=500", "--set", "ConsumerRelease=LambdaAllAtOnce")
    printed = capsys.readouterr().out
    assert 0 < printed.index("[gradual-consumers]") < printed.index("[somebody-is-told]")


def test_warnings_fail_nothing(package_dir, capsys):
    assert run(package_dir, *TOLD, "--set", "ConsumerRelease=LambdaAllAtOnce") == 0
    assert "1 warn" in capsys.readouterr().out


BROAD = f"arn:aws:dynamodb:*:*:table/highwater-prod-{'very-' * 20}long/*"


def a_broad_resource(template):
    (policy,) = template["Resources"]["RollupRole"]["Properties"]["Policies"]
    policy["PolicyDocument"]["Statement"][0]["Resource"] = BROAD


def broken(change):
    def breaks(package_dir):
        template = yaml.safe_load((package_dir / "sam.yaml").read_text())
        change(template)
        (package_dir / "sam.yaml").write_text(yaml.safe_dump(template))

    return breaks


def sam_refuses(template):
    template["Resources"]["Ingest"]["Properties"]["Events"]["IngestKinesisEventSource"]["Type"] = "Nonsense"


def condition_of_nothing(template):
    template["Resources"]["Ingest"]["Properties"]["MemorySize"] = {"Fn::If": ["Nonsense", 512, 1024]}


@pytest.mark.parametrize(
    ("breaks", "arguments", "told"),
    [
        (None, ["--stage", "nowhere"], "there is no stage nowhere"),
        (None, ["--stage", "../prod"], "stage is a name of"),
        (None, ["--stage", "dev"], "is of stage prod, not dev: make package STAGE=dev"),
        (None, ["--set", "AlarmEmial=a@b"], "parameter AlarmEmial is unknown"),
        (None, ["--set", "EventsShardCount=many"], "parameter EventsShardCount is a number, not 'many'"),
        (lambda directory: (directory / "sam.yaml").unlink(), [], "there is no package"),
        (lambda directory: (directory / "deployment.zip").unlink(), [], "lacks ./deployment.zip"),
        (lambda directory: (directory / "sam.yaml").write_text("{"), [], "is no YAML"),
        (lambda directory: (directory / "sam.yaml").write_bytes(b"\xff\xfe\x00"), [], "is no YAML"),
        (lambda directory: (directory / "sam.yaml").write_text("hello"), [], "is no CloudFormation template"),
        (broken(sam_refuses), [], "SAM refuses the template"),
        (broken(condition_of_nothing), [], "the template cannot be resolved: 'Nonsense'"),
    ],
)
def test_what_cannot_be_checked_is_one_line_and_exit_code_2(package_dir, capsys, breaks, arguments, told):
    if breaks:
        breaks(package_dir)
    assert run(package_dir, *arguments) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert said.err.startswith("ops.preflight: ")
    assert (said.err.count("\n"), said.out) == (1, "")


def test_a_stage_without_parameters_is_refused_before_its_package_is_looked_at(tmp_path):
    shutil.copytree(command.PROJECT_DIR / ".chalice", tmp_path / ".chalice")
    (tmp_path / ".chalice" / "parameters.json").write_text(json.dumps({"dev": {}}))
    with pytest.raises(ParameterError, match=r"stage prod has no parameters in .*; there are: dev"):
        command.read(tmp_path / "no-package", tmp_path, "prod", {})


def test_live_without_credentials_says_what_to_do(package_dir, capsys, monkeypatch, tmp_path):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert run(package_dir, *TOLD, "--live") == 2
    said = capsys.readouterr().err
    assert "there are no AWS credentials" in said
    assert said.count("\n") == 1


def test_live_without_anybody_who_answers_is_one_line_and_exit_code_2(package_dir, capsys):
    assert run(package_dir, *TOLD, "--live", "--endpoint-url", "http://127.0.0.1:9") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_reading_a_package_leaves_the_template_as_it_was(stage_of, packaged):
    before = copy.deepcopy(packaged)
    stage_of()
    assert packaged == before
