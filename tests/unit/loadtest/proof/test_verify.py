"""A recording is proved again against the stage; what is none, or a stage that is not there, is refused in one line."""

from pathlib import Path

import pytest

from loadtest import report, verify
from loadtest.recording import write
from tests.unit.loadtest.proof.http_stage import Stage
from tests.unit.loadtest.proof.world import World, copy_of


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIGHWATER_TOKEN", "a-token-of-a-test")


def run_of(world: World, folder: Path) -> Path:
    write(world.recording, folder / "recording.json")
    return folder


def test_a_recording_is_proved_again(
    world: World,
    tmp_path: Path,
    stage: Stage,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stage.fake = copy_of(world).api
    world.recording.seconds = []
    code = verify.main([str(run_of(world, tmp_path)), "--api-url", stage.url])
    assert code == 3  # no second was recorded, so the objective of the rate was not shown
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("EXACT (an objective was missed)")
    assert report.read(tmp_path).verdict.outcome == "exact"
    assert (tmp_path / "report.html").exists()
    assert {token for _, _, token in stage.seen} == {"Bearer a-token-of-a-test"}
    assert all("a-token" not in each.read_text() for each in tmp_path.iterdir())


def test_a_difference_ends_with_1(world: World, tmp_path: Path, stage: Stage) -> None:
    stage.fake = world.api
    del world.api.rows["customers"][min(world.api.rows["customers"])]
    assert verify.main([str(run_of(world, tmp_path)), "--api-url", stage.url]) == 1


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"run": 1}', b"\xff"])
def test_what_is_no_recording_is_refused(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "recording.json").write_bytes(content)
    assert verify.main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"loadtest.verify: {tmp_path} has no recording")
    assert said.count("\n") == 1


def test_a_stage_that_refuses_the_token_is_told_in_one_line(
    world: World,
    tmp_path: Path,
    stage: Stage,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stage.answers = [(401, '{"detail": "Valid credentials are needed"}')]
    assert verify.main([str(run_of(world, tmp_path)), "--api-url", stage.url]) == 2
    said = capsys.readouterr().err
    assert "401: Valid credentials are needed" in said
    assert (said.count("\n"), "a-token" in said) == (1, False)
    assert not (tmp_path / "report.json").exists()


def test_a_token_that_no_header_can_hold_is_refused_and_not_told(
    world: World, tmp_path: Path, stage: Stage, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIGHWATER_TOKEN", "a-token\nof two lines")
    with pytest.raises(SystemExit) as ended:
        verify.main([str(run_of(world, tmp_path)), "--api-url", stage.url])
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n"), "a-token" in said) == (2, 1, False)


def test_a_url_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        verify.main([str(tmp_path), "--api-url", "nowhere"])
    assert ended.value.code == 2
