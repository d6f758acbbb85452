"""The command says what it did, names what it refuses by line, and sends nothing of a broken file."""

import gzip
import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from loadtest.producer import Receipt, Retry, kinesis_client
from loadtest.producer.__main__ import Pace, main, summary

GOOD = b'{"data":{"user_id":"00001"},"amount":12.00}'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def run(stream: Any, *arguments: object) -> int:
    at_once = Retry(attempts_max=3, sleep=lambda seconds: None)
    return main(["--stage", "test", *map(str, arguments)], client=stream, retry=at_once)


@pytest.mark.parametrize(
    ("encoding", "records"),
    [([], 3), (["--plain"], 3), (["--aggregate"], 1), (["--compress", "gzip"], 1), (["--compress", "zstd"], 1)],
)
def test_a_file_is_sent_and_summed_up(
    kinesis: Any, file: Path, capsys: pytest.CaptureFixture[str], encoding: list[str], records: int
) -> None:
    file.write_bytes(GOOD + b"\n\n" + GOOD + b"\r\n" + GOOD)
    stream = kinesis()
    assert run(stream, *encoding, file) == 0
    assert sum(map(len, stream.requests)) == records
    table = capsys.readouterr().out
    assert "highwater-test-events" in table
    assert f"00000{records}" in table


def test_lines_go_out_byte_for_byte(kinesis: Any, file: Path) -> None:
    file.write_bytes(b' {"subject": "user",  "amount": 1.10} \r\n')
    stream = kinesis()
    assert run(stream, file) == 0
    assert stream.requests == [[b' {"subject": "user",  "amount": 1.10} ']]


def test_a_packed_file_and_standard_input_are_read(
    kinesis: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "events.jsonl.gz"
    packed.write_bytes(gzip.compress(GOOD))
    stream = kinesis()
    assert run(stream, packed) == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(GOOD)))
    assert run(stream, "-") == 0
    assert stream.requests == [[GOOD], [GOOD]]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{secret", "line 3: not JSON, or a number beyond a double (column 2)"),
        (b'["secret"]', "line 3: not a JSON object"),
        (b'{"secret": 1}', "line 3: the event has neither data.user_id nor a subject"),
        (b'{"subject": "%s"}' % (b"secret" * 50), "line 3: the partition key has 300 characters"),
        (b'{"subject": "user", "text": "%s"}' % (b"secret" * 180_000), "line 3: the event has 1080031 bytes"),
    ],
)
def test_nothing_of_a_file_with_a_broken_line_is_sent(
    kinesis: Any, file: Path, capsys: pytest.CaptureFixture[str], line: bytes, complaint: str
) -> None:
    file.write_bytes(b"\n".join([GOOD, b"", line]))
    stream = kinesis()
    assert run(stream, file) == 2
    assert stream.requests == []
    said = capsys.readouterr().err
    assert complaint in said
    assert "secret" not in said


def test_poison_is_sent_as_it_is_when_unchecked(kinesis: Any, file: Path) -> None:
    file.write_bytes(GOOD + b'\n{poison\n\xff\xfe\n{"no": "key"}\n')
    stream = kinesis()
    assert run(stream, "--no-check", file) == 0
    assert stream.requests == [[GOOD, b"{poison", b"\xff\xfe", b'{"no": "key"}']]


def test_events_that_stay_refused_are_counted_and_fail_the_run(
    kinesis: Any, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_bytes(GOOD)
    assert run(kinesis(refuse=lambda request, entry: "InternalFailure"), file) == 1
    assert "1 events were not accepted: InternalFailure" in capsys.readouterr().err


def test_a_sequence_number_of_129_digits_is_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=60).print(summary("events", Receipt(last_sequence_numbers={"shardId-0": "7" * 129}), 1.0))
    assert capsys.readouterr().out.count("7") == 129


def test_no_such_file_is_one_line(kinesis: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(kinesis(), tmp_path / "absent.jsonl") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_that_is_no_gzip_is_one_line(kinesis: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "events.gz").write_bytes(GOOD)
    assert run(kinesis(), tmp_path / "events.gz") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_no_such_stream_is_one_line(kinesis: Any, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_bytes(GOOD)
    assert run(kinesis(), "--stream", "absent", file) == 2
    assert capsys.readouterr().err == (
        "loadtest.producer: cannot send: ListShards fails with ResourceNotFoundException: no stream\n"
    )


def test_a_pace_holds_back_only_who_is_ahead() -> None:
    now = 100.0
    pauses: list[float] = []
    pace = Pace(40, clock=lambda: now, sleep=pauses.append)
    assert [count for count in range(1, 31) if pace.flush_is_due(count)] == [10, 20, 30]
    pace.wait(10)
    now = 100.3
    pace.wait(10)
    pace.wait(20)
    assert pauses == pytest.approx([0.25, 0.2])


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "fast"])
def test_a_rate_is_above_zero(kinesis: Any, rate: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(kinesis(), "--rate", rate, "-")


@pytest.mark.parametrize(
    ("stage", "given", "environ", "endpoint"),
    [
        ("local", None, {}, "http://127.0.0.1:4566"),
        ("local", "http://127.0.0.1:9", {}, "http://127.0.0.1:9"),
        ("local", None, {"AWS_ENDPOINT_URL": "http://127.0.0.1:8"}, "http://127.0.0.1:8"),
        ("prod", None, {"AWS_REGION": "eu-west-1"}, "https://kinesis.eu-west-1.amazonaws.com"),
    ],
)
def test_the_local_stage_is_on_this_machine_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, stage: str, given: str | None, environ: dict[str, str], endpoint: str
) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"AWS_DEFAULT_REGION": "eu-west-1", **environ}.items():
        monkeypatch.setenv(name, value)
    client: Any = kinesis_client(stage, given, environ)
    assert client.meta.endpoint_url == endpoint
