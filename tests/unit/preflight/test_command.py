"""The command: a table and an exit code; what cannot be checked is one line and exit code 2."""

import copy

import pytest
import yaml

from ops.package.template import save
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
    assert "AlarmsTopic: no subscription → a subscription (AlarmEmail)" in printed
    assert "a topic without a subscription tells nobody [somebody-is-told]" in printed
    assert "1 fail" in printed


def test_warnings_fail_nothing(package_dir, capsys):
    assert run(package_dir, *TOLD, "--set", "ConsumerRelease=LambdaAllAtOnce") == 0
    assert "1 warn" in capsys.readouterr().out


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


def test_live_without_anybody_who_answers_is_one_line_and_exit_code_2(package_dir, capsys):
    assert run(package_dir, *TOLD, "--live", "--endpoint-url", "http://127.0.0.1:9") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_reading_a_package_leaves_the_template_as_it_was(stage_of, packaged):
    before = copy.deepcopy(packaged)
    stage_of()
    assert packaged == before
