"""Each stage and parameter that cannot be is named, in one line."""

import json

import pytest

from ops.deploy import PROJECT_DIR
from ops.parameters import ParameterError, check, read
from ops.template import load

DECLARED = {
    "Stage": {"Type": "String", "AllowedPattern": "[a-z][a-z0-9-]{0,19}"},
    "Shards": {"Type": "Number", "Default": 4, "MinValue": 1, "MaxValue": 9},
    "Days": {"Type": "Number", "Default": 30, "AllowedValues": [7, 30]},
    "Reserve": {"Type": "String", "Default": "true", "AllowedValues": [True, "false"]},
    "Email": {"Type": "String", "Default": "", "AllowedPattern": "|[^@]+@[^@]+"},
    "Topic": {"Type": "String", "Default": "", "AllowedPattern": "|[a-z]+", "ConstraintDescription": "must be a word"},
    "Name": {"Type": "String", "Default": "abc", "MinLength": 2, "MaxLength": 4},
}
GOOD = {"Stage": "dev"}


@pytest.fixture
def project(tmp_path):
    """A project with stages dev and odd, whose STAGE is another; only dev has parameters."""
    chalice = tmp_path / ".chalice"
    chalice.mkdir()
    stages = {
        "dev": {"environment_variables": {"STAGE": "dev"}},
        "bare": {"environment_variables": {"STAGE": "bare"}},
        "odd": {"environment_variables": {"STAGE": "dev"}},
    }
    (chalice / "config.json").write_text(json.dumps({"stages": stages}))
    (chalice / "parameters.json").write_text(json.dumps({"dev": {"Shards": "2"}, "odd": {}}))
    return tmp_path


def test_a_stages_parameters_are_its_own_and_itself(project):
    assert read(project, "dev", DECLARED) == {"Stage": "dev", "Shards": "2"}
    assert read(project, "dev", DECLARED, {"Shards": "3"}) == {"Stage": "dev", "Shards": "3"}


@pytest.mark.parametrize(
    ("stage", "fault"),
    [
        ("No!", "stage is a name of 1..20 of a-z, 0-9 and -, a letter first, not 'No!'"),
        ("a" * 21, "stage is a name of 1..20"),
        ("prod", "there is no stage prod in .chalice/config.json; there are: dev, bare, odd"),
        ("bare", "stage bare has no parameters in .chalice/parameters.json; there are: dev, odd"),
        ("odd", "stage odd has STAGE 'dev' in .chalice/config.json"),
    ],
)
def test_a_stage_that_cannot_be_is_named(project, stage, fault):
    with pytest.raises(ParameterError) as told:
        read(project, stage, DECLARED)
    assert str(told.value).startswith(fault)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"Shard": "2"}, "parameter Shard is unknown; the template has: Days, Email"),
        ({"Shards": "many"}, "parameter Shards is a number, not 'many'"),
        ({"Shards": "NaN"}, "parameter Shards is a number, not 'NaN'"),
        ({"Shards": "0"}, "parameter Shards is at least 1, not '0'"),
        ({"Shards": "10"}, "parameter Shards is at most 9, not '10'"),
        ({"Shards": 2}, "parameter Shards is a text in quotes, not 2"),
        ({"Days": "8"}, "parameter Days is one of 7, 30, not '8'"),
        ({"Reserve": "yes"}, "parameter Reserve is one of true, false, not 'yes'"),
        ({"Email": "nobody"}, "parameter Email has to match |[^@]+@[^@]+, not 'nobody'"),
        ({"Topic": "2"}, "parameter Topic must be a word, not '2'"),
        ({"Name": "a"}, "parameter Name has at least 2 characters, not 'a'"),
        ({"Name": "abcde"}, "parameter Name has at most 4 characters, not 'abcde'"),
        ({"Stage": "other"}, "parameter Stage is the stage itself, dev, not 'other'"),
    ],
)
def test_a_parameter_that_cannot_be_is_named(project, values, fault):
    with pytest.raises(ParameterError) as told:
        read(project, "dev", DECLARED, values)
    assert str(told.value).startswith(fault)


def test_a_parameter_without_a_default_is_missing():
    with pytest.raises(ParameterError, match="parameter Key is missing: the template has no default for it"):
        check(GOOD, {**DECLARED, "Key": {"Type": "String"}})


def test_values_at_their_limits_are_good():
    check({**GOOD, "Shards": "1", "Days": "7", "Reserve": "true", "Email": "", "Name": "abcd"}, DECLARED)
    check({**GOOD, "Shards": "9", "Reserve": "false", "Email": "a@b", "Name": "ab"}, DECLARED)


@pytest.mark.parametrize(("name", "fault"), [("parameters.json", "there is no"), ("config.json", "there is no")])
def test_a_file_that_is_missing_or_no_json_is_named(project, name, fault):
    path = project / ".chalice" / name
    path.write_text("{")
    with pytest.raises(ParameterError, match=rf"^\.chalice/{name} is no JSON: "):
        read(project, "dev", DECLARED)
    path.unlink()
    with pytest.raises(ParameterError, match=rf"^{fault} \.chalice/{name}$"):
        read(project, "dev", DECLARED)


@pytest.mark.parametrize("stage", ["local", "dev", "prod"])
def test_each_stage_of_this_project_has_parameters_that_its_template_takes(stage):
    assert read(PROJECT_DIR, stage, load(PROJECT_DIR)["Parameters"])["Stage"] == stage
