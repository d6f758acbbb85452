"""The command that shows dead letters, on a bucket by moto."""

import boto3
import pytest
from moto import mock_aws

from chalicelib.aws.dead_letters_bucket import DeadLettersBucket
from chalicelib.records.rejection import Reason, Refusal, Rejected
from ops import dead_letters
from tests.builders import NOON_MS, SHARD, STREAM, record


@pytest.fixture
def bucket():
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="highwater-test-dead-letters")
        yield DeadLettersBucket(lambda: s3, "highwater-test-dead-letters")


def put(bucket, number, reason, error):
    rejected = {
        0: (
            record(b"", number, arrived_at_ms=NOON_MS + number),
            [Rejected(Refusal(reason, error), "k", None, b"secret")],
        )
    }
    assert bucket.put_dead_letters(STREAM, SHARD, rejected, 30_000) == {}


def test_dead_letters_are_counted_by_reason_and_the_newest_error_is_shown_without_a_payload(bucket, capsys):
    put(bucket, 2, Reason.INVALID, "the newest")
    put(bucket, 1, Reason.INVALID, "an old one")
    put(bucket, 3, Reason.TOO_LATE, "late")
    assert dead_letters.main(["--stage", "test"]) == 0
    printed = capsys.readouterr().out
    assert [word for word in ("invalid", "2", "the newest", "too late", "late") if word not in printed] == []
    assert "an old one" not in printed
    assert "secret" not in printed


def test_an_empty_bucket_says_so(bucket, capsys):
    assert dead_letters.main(["--stage", "test"]) == 0
    assert "no dead letters" in capsys.readouterr().out


def test_a_stage_that_is_not_there_is_one_line_and_exit_code_2(bucket, capsys):
    assert dead_letters.main(["--stage", "nowhere"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_bucket_of_another_name_is_the_one_that_the_functions_are_told(bucket, capsys, monkeypatch):
    put(bucket, 1, Reason.INVALID, "the newest")
    monkeypatch.setenv("DEAD_LETTERS_BUCKET", "highwater-test-dead-letters")
    assert dead_letters.main(["--stage", "other"]) == 0
    assert "the newest" in capsys.readouterr().out
