"""From a poison event to its redrive, with the real application on a local stage."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3

from chalicelib.aggregates.windows import format_instant
from chalicelib.aws.dead_letters_reader import DeadLettersReader
from localstage import LocalStage
from localstage.aws import client
from ops import redrive
from tests.builders import aggregated, json_line, letter, letters_object, order, undeliverable_object
from tests.permissions.recording import Recording
from tests.waiting import wait_until

BUCKET, STREAM = "highwater-test-dead-letters", "highwater-test-events"
MENDED = f"dead-letters/{STREAM}/2026-11-24/shardId-000000000000/7.jsonl.gz"
GIVEN_UP = "aws/lambda/shardId-000000000000/2026/11/24/2026-11-24T12.00.00-0"
PATIENCE_SECONDS = 30


class Redriven:
    """A stage, and the shortest ways to what is asked of it."""

    def __init__(self, stage: LocalStage) -> None:
        self.stage = stage
        self.s3, self.sqs, self.kinesis = (client(name, stage.endpoint_url) for name in ("s3", "sqs", "kinesis"))
        self.reader = DeadLettersReader(self.s3, BUCKET)

    def get(self, path: str) -> Any:
        answer = urllib3.request("GET", self.stage.api_url + path, retries=False)
        assert answer.status == 200, answer.data
        return json.loads(answer.data)

    def stored_keys(self) -> set[str]:
        return {each["Key"] for each in self.s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}

    def dead_letters(self) -> list[dict[str, Any]]:
        examples: list[dict[str, Any]] = self.get("/v1/dead-letters")["examples"]
        return examples

    def orders(self) -> int:
        rows = self.get("/v1/metrics/orders/windows?step=all&measures=count")["data"]
        return int(rows[0]["count"]) if rows else 0


@pytest.fixture(scope="module")
def redriven(tmp_path_factory: pytest.TempPathFactory, recording: Recording) -> Iterator[Redriven]:
    state_dir = tmp_path_factory.mktemp("stage")
    with LocalStage(
        "test", shards=1, aws_port=0, api_port=0, settings=recording.settings, state_dir=state_dir
    ) as stage:
        yield Redriven(stage)


@pytest.fixture
def environment(redriven: Redriven, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in redriven.stage.environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("environment")
def test_what_is_mended_is_counted_once_and_what_is_still_bad_is_a_dead_letter_again(
    redriven: Redriven, capsys: pytest.CaptureFixture[str]
) -> None:
    now = format_instant(int(time.time()) * 1000)
    poison = json_line(order(1, time=now, amount=-1))
    redriven.kinesis.put_record(StreamName=STREAM, PartitionKey="ada", Data=poison)
    wait_until(redriven.dead_letters, PATIENCE_SECONDS)
    (first,) = redriven.dead_letters()
    assert first["reason"] == "invalid"
    # A letter that was refused once and is no more, as after a mend of the definitions; and what Lambda gave up.
    mended, *delivered = (json_line(order(number, time=now)) for number in (2, 3, 4))
    redriven.s3.put_object(Bucket=BUCKET, Key=MENDED, Body=letters_object(letter(mended)))
    redriven.s3.put_object(Bucket=BUCKET, Key=GIVEN_UP, Body=undeliverable_object(aggregated(*delivered)))

    assert redrive.main(["--stage", "test", "--timeout", "60"]) == 0
    assert "undeliverable" in capsys.readouterr().out
    assert {f"redriven/{key}" for key in (first["key"], MENDED, GIVEN_UP)} <= redriven.stored_keys()
    assert not {first["key"], MENDED, GIVEN_UP} & redriven.stored_keys()
    wait_until(lambda: redriven.orders() == 3 and redriven.dead_letters(), PATIENCE_SECONDS)
    (second,) = redriven.dead_letters()
    assert second["key"] != first["key"]
    assert [each.data for each in redriven.reader.read_letters(second["key"])] == [poison]

    # A replay makes the object again: it goes, and nothing of it is sent.
    redriven.s3.put_object(Bucket=BUCKET, Key=MENDED, Body=letters_object(letter(mended)))
    assert redrive.main(["--stage", "test", "--timeout", "60"]) == 0
    wait_until(lambda: redriven.dead_letters() and redriven.dead_letters()[0]["key"] != second["key"], PATIENCE_SECONDS)
    assert redriven.orders() == 3
    assert MENDED not in redriven.stored_keys()


def test_a_message_that_cannot_be_carried_out_ends_in_the_failed_queue_and_holds_no_other_up(
    redriven: Redriven,
) -> None:
    queue, failed = (
        redriven.sqs.get_queue_url(QueueName=f"highwater-test-{name}")["QueueUrl"]
        for name in ("redrive", "redrive-failed")
    )
    key = f"dead-letters/{STREAM}/2026-11-23/shardId-000000000000/9.jsonl.gz"
    redriven.s3.put_object(Bucket=BUCKET, Key=key, Body=letters_object(letter(b"{", "malformed")))
    redriven.sqs.send_message(QueueUrl=queue, MessageBody="no message of redrive")
    prefix = f"dead-letters/{STREAM}/2026-11-23/"
    redriven.sqs.send_message(QueueUrl=queue, MessageBody=json.dumps({"prefix": prefix}))
    wait_until(lambda: f"redriven/{key}" in redriven.stored_keys(), PATIENCE_SECONDS)
    wait_until(lambda: bodies(redriven, failed) == ["no message of redrive"], PATIENCE_SECONDS)


def bodies(redriven: Redriven, url: str) -> list[str]:
    page = redriven.sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)
    return [message["Body"] for message in page.get("Messages", [])]
