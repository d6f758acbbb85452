"""The suite of benchmarks: what is asked is run, what fails is told, and what is kept can be read again."""

from types import SimpleNamespace

import pytest
from msgspec import Struct

from benchmarks import __main__ as command
from benchmarks import result, suite
from benchmarks.page import Part


class Settings(Struct, frozen=True):
    rounds: int = 9
    sizes: tuple[int, ...] = (1, 2)


def section(name, measure):
    return SimpleNamespace(
        NAME=name, Settings=Settings, QUICK=Settings(1), measure=measure, describe=lambda figures: Part(name, "")
    )


def fails(options, progress):
    raise RuntimeError("no\nluck")


@pytest.fixture(autouse=True)
def there(monkeypatch):
    sections = {
        "fine": section("fine", lambda options, progress: {"rounds": options.settings.rounds, "sizes": (1.5,)}),
        "broken": section("broken", fails),
        "after": section("after", lambda options, progress: []),
        "read": section("read", fails),
    }
    sections["read"].IS_OF_ANOTHER_RUN = True
    monkeypatch.setattr(command, "sections", lambda: sections)


def test_a_section_that_fails_is_one_line_and_the_others_go_on(tmp_path, capsys):
    assert command.main(["--results", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "benchmarks: broken: RuntimeError: no luck\n"
    assert {path.stem for path in tmp_path.iterdir()} == {"fine", "after"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none"], "there is no section none; there are: fine, broken, after, read"),
        (["fine", "--set", "turns=2"], "turns is no setting of fine; there are: rounds, sizes"),
        (["fine", "--set", "rounds=few"], "fine: rounds=few: Expected `int`, got `str`"),
        (["fine", "--set", "after.rounds=2"], "after is set and not measured"),
        (["fine", "--set", "rounds"], "'rounds' is not NAME=VALUE"),
    ],
)
def test_what_there_is_not_is_one_line_and_exit_code_2(tmp_path, capsys, arguments, told):
    try:
        code = command.main([*arguments, "--results", str(tmp_path)])
    except SystemExit as exited:
        code = exited.code
    said = capsys.readouterr().err
    assert code == 2
    assert told in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_result_tells_how_it_was_made_and_is_read_as_it_was_written(tmp_path):
    assert command.main(["fine", "--set", "rounds=3", "--set", "sizes=7,8", "--results", str(tmp_path)]) == 0
    read = result.read("fine", tmp_path)
    assert read.figures == {"rounds": 3, "sizes": [1.5]}
    assert read.settings == {"rounds": 3, "sizes": [7, 8]}
    assert read.command == "python -m benchmarks fine --set rounds=3 --set sizes=7,8"
    assert read.machine.cores > 0
    assert "orjson" in read.versions
    assert not read.is_quick


def test_a_quick_run_does_not_touch_what_the_page_is_made_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(["fine", "--quick"]) == 0
    read = result.read("fine", tmp_path / "out" / "benchmarks")
    assert read.is_quick
    assert read.figures["rounds"] == 1


def test_the_sections_are_named_like_their_modules():
    there = suite.sections()
    assert {name: module.NAME for name, module in there.items()} == {name: name for name in there}
    assert set(there) == set(suite.SECTIONS)
