"""What the command says before it has asked anybody."""

import pytest

from ops.resources import ResourcesError, ensure, main


def test_a_stage_name_that_the_template_does_not_allow_is_named() -> None:
    template = {
        "Parameters": {"Stage": {"AllowedPattern": "[a-z]+"}},
        "Resources": {"A": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": {"Ref": "Stage"}}}},
    }
    with pytest.raises(ResourcesError, match=r"^parameter Stage has to match \[a-z\]\+, not 'No!'$"):
        ensure("No!", template=template)


def test_the_command_names_a_bad_stage_in_one_line_and_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stage", "No!"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ops.resources: parameter Stage must be a name of 1 to 20 of a-z, 0-9 and -")
    assert error.count("\n") == 1
