"""The command that redrives, on a stage by moto where nobody does what its messages ask for."""

import threading
import time

import boto3
import orjson
import pytest
from moto import mock_aws

from ops import redrive
from tests.builders import DAY_MS, NOON_MS, SHARD, STREAM, json_line, letter, letters_object, order
from tests.builders import undeliverable_object as undeliverable

BUCKET = "highwater-test-dead-letters"
GIVEN_UP = f"aws/lambda/{SHARD}/2026/11/24/2026-11-24T12.00.00-0"


class Stage:
    def __init__(self):
        self.s3, self.sqs = boto3.client("s3"), boto3.client("sqs")
        self.s3.create_bucket(Bucket=BUCKET)
        self.urls = [
            self.sqs.create_queue(QueueName=f"highwater-test-{name}")["QueueUrl"]
            for name in ("redrive", "redrive-failed")
        ]

    def put(self, number, *letters, day="2026-11-24"):
        key = f"dead-letters/{STREAM}/{day}/{SHARD}/{number}.jsonl.gz"
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=letters_object(*letters))
        return key

    def messages(self):
        messages = []
        while page := self.sqs.receive_message(QueueUrl=self.urls[0], MaxNumberOfMessages=10).get("Messages"):
            messages += [orjson.loads(message["Body"]) for message in page]
        return sorted(messages, key=lambda message: message["key"])

    def waiting(self):
        names = ["ApproximateNumberOfMessages"]
        return int(self.sqs.get_queue_attributes(QueueUrl=self.urls[0], AttributeNames=names)["Attributes"][names[0]])

    def fail(self, key):
        self.sqs.send_message(QueueUrl=self.urls[1], MessageBody=orjson.dumps({"key": key}).decode())


@pytest.fixture
def stage():
    with mock_aws():
        yield Stage()


def run(*arguments):
    return redrive.main(["--stage", "test", *arguments])


def test_messages_that_never_were_on_the_stream_are_not_redriven_and_not_waited_for(stage, capsys):
    unsendable = stage.put(1, letter(b"{}", "unsendable"))
    assert run() == 0
    assert "There is nothing to redrive." in capsys.readouterr().out
    key = stage.put(2, letter(b"a"))
    assert run("--no-wait") == 0
    assert stage.messages() == [{"key": key}]
    assert unsendable not in capsys.readouterr().out


def test_every_object_gets_one_message_and_the_summary_is_by_day_and_reason(stage, capsys):
    keys = [stage.put(number, letter(b"a"), letter(b"b", "too late")) for number in range(11)]
    stage.s3.put_object(Bucket=BUCKET, Key=GIVEN_UP, Body=undeliverable(json_line(order())))
    assert run("--no-wait") == 0
    assert [message["key"] for message in stage.messages()] == sorted([*keys, GIVEN_UP])
    rows = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    for row in ("invalid 11 11", "too late 11 11", "undeliverable 1 1"):
        assert ["2026-11-24", *row.split()] in rows


def test_a_dry_run_shows_the_same_and_sends_nothing(stage, capsys):
    stage.put(1, letter(b"a"))
    assert run("--dry-run") == 0
    printed = capsys.readouterr().out
    assert "invalid" in printed
    assert "Nothing was sent." in printed
    assert stage.messages() == []


def test_only_objects_with_the_reason_get_a_message_and_it_names_the_reason(stage):
    stage.put(1, letter(b"a"))
    late = stage.put(2, letter(b"a"), letter(b"b", "too late"))
    assert run("--reason", "too late", "--no-wait") == 0
    assert stage.messages() == [{"key": late, "reason": "too late"}]


@pytest.mark.parametrize(
    ("since", "count"),
    [("2026-11-24", 1), ("2026-11-24T12:00:00Z", 1), ("2026-11-24T12:00:00.001Z", 0), ("2026-11-01", 2)],
)
def test_since_is_of_arrival(stage, since, count):
    stage.put(1, letter(b"a", arrived_at_ms=NOON_MS))
    stage.put(2, letter(b"a", arrived_at_ms=NOON_MS - DAY_MS), day="2026-11-23")
    assert run("--since", since, "--no-wait") == 0
    assert len(stage.messages()) == count


def test_what_was_accepted_before_is_not_counted_again_and_its_object_still_gets_its_message(stage, capsys):
    key = stage.put(1, letter(b"a"))
    stage.s3.put_object(Bucket=BUCKET, Key=f"redriven/{key}", Body=letters_object(letter(b"a")))
    assert run("--no-wait", "--reason", "invalid") == 0
    assert "nothing to redrive" in capsys.readouterr().out
    assert run("--no-wait") == 0
    assert stage.messages() == [{"key": key}]


def test_what_has_not_moved_in_time_is_named_with_exit_code_1(stage, capsys):
    key = stage.put(1, letter(b"a"))
    assert run("--timeout", "0") == 1
    assert f"{key}: not redriven within the time" in capsys.readouterr().out


def test_what_ended_in_the_failed_queue_is_named_but_not_what_was_there_before(stage, capsys):
    old, new = stage.put(1, letter(b"a")), stage.put(2, letter(b"b"))
    stage.fail(old)

    def one_moves_and_one_fails_once_both_are_sent():
        while stage.waiting() < 2:
            time.sleep(0.05)
        stage.s3.delete_object(Bucket=BUCKET, Key=old)
        stage.fail(new)

    other = threading.Thread(target=one_moves_and_one_fails_once_both_are_sent)
    other.start()
    assert run("--timeout", "60") == 1
    other.join()
    printed = capsys.readouterr().out
    assert f"{new}: its message ended in the queue redrive-failed" in printed
    assert f"{old}: " not in printed
    assert "1 of 2 objects: what was asked for is done." in printed


def test_an_object_that_cannot_be_read_is_named_and_gets_no_message(stage, capsys):
    key = f"dead-letters/{STREAM}/2026-11-24/{SHARD}/1.jsonl.gz"
    stage.s3.put_object(Bucket=BUCKET, Key=key, Body=letters_object(letter(b"a"))[:-1])
    assert run() == 1
    assert f"{key}: cannot be read: its gzip ends too soon" in capsys.readouterr().out
    assert stage.messages() == []


def test_an_empty_bucket_says_so(stage, capsys):
    assert run() == 0
    assert "There is nothing to redrive." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reason", "bad luck"], "invalid choice: 'bad luck'"),
        (["--since", "yesterday"], "an instant is RFC 3339 with an offset"),
        (["--timeout", "-1"], "'-1' is no number of seconds"),
        (["--timeout", "nan"], "'nan' is no number of seconds"),
        (["--sinc", "2026-11-24", "--more"], "--more"),
    ],
)
def test_a_bad_argument_is_one_line_and_exit_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert error.startswith("ops.redrive: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_stage_that_is_not_there_is_one_line_and_exit_code_2(stage, capsys):
    assert redrive.main(["--stage", "nowhere"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("ops.redrive: stage nowhere cannot be redriven")
    assert error.count("\n") == 1


def test_exit_codes_are_told_in_the_help(capsys):
    with pytest.raises(SystemExit):
        run("--help")
    assert "exit codes: 0 all redriven" in " ".join(capsys.readouterr().out.split())
