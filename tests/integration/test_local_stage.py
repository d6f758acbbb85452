"""A whole local stage on free ports, with a small application: emulated AWS, processes, mappings and HTTP."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import urllib3

from localstage import LocalStage, StageError
from localstage.aws import client
from tests.waiting import wait_until

PROJECT_DIR = Path(__file__).parent / "sample_project"
PATIENCE_SECONDS = 15


class Sample:
    """A stage of the sample application, and the journal in which its function notes what it is given."""

    def __init__(self, stage: LocalStage, journal: Path) -> None:
        self.stage = stage
        self.kinesis = client("kinesis", stage.endpoint_url)
        self.dynamodb = client("dynamodb", stage.endpoint_url)
        self._journal = journal

    def put(self, *payloads: dict[str, Any]) -> None:
        self.kinesis.put_records(
            StreamName="sample-test-events",
            Records=[{"Data": json.dumps(payload).encode(), "PartitionKey": "k"} for payload in payloads],
        )

    def put_row(self, payload: dict[str, Any], **attributes: Any) -> None:
        item = {"id": {"S": payload["test"]}, "payload": {"S": json.dumps(payload)}, **attributes}
        self.dynamodb.put_item(TableName="sample-test-rows", Item=item)

    def deliveries(self, test: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._journal.read_text().splitlines()]
        return [line for line in lines if line["payloads"][0]["test"] == test]

    def wait_for(self, test: str, count: int) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.deliveries(test)) >= count, PATIENCE_SECONDS)
        return self.deliveries(test)


def numbers(delivery: dict[str, Any]) -> list[int]:
    return [payload["n"] for payload in delivery["payloads"]]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def sample_stage(tmp_path: Path, project_dir: Path = PROJECT_DIR, **options: Any) -> Iterator[Sample]:
    journal = tmp_path / "journal"
    journal.touch()
    settings = {"JOURNAL": str(journal)}
    with LocalStage(
        "test",
        shards=1,
        aws_port=0,
        api_port=0,
        settings=settings,
        project_dir=project_dir,
        state_dir=tmp_path,
        **options,
    ) as stage:
        yield Sample(stage, journal)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sample]:
    with sample_stage(tmp_path_factory.mktemp("stage")) as running:
        yield running


@pytest.fixture
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False) as pool:
        yield pool


# ---- streams


def test_records_are_delivered_as_lambda_delivers_them(sample: Sample) -> None:
    sample.put({"test": "shape", "n": 1}, {"test": "shape", "n": 2})
    (delivery,) = sample.wait_for("shape", 1)
    assert numbers(delivery) == [1, 2]
    record = delivery["records"][0]
    assert record["eventID"] == f"shardId-000000000000:{record['kinesis']['sequenceNumber']}"
    assert record["eventSourceARN"].endswith(":stream/sample-test-events")
    assert len(record["kinesis"]["sequenceNumber"]) == 30, "padded, as the emulator wrote it"


def test_a_partial_failure_is_retried_from_the_record_that_it_names(sample: Sample) -> None:
    sample.put({"test": "partial", "n": 1}, {"test": "partial", "n": 2, "do": "report"}, {"test": "partial", "n": 3})
    assert [numbers(delivery) for delivery in sample.wait_for("partial", 2)] == [[1, 2, 3], [2, 3]]


def test_an_exception_has_the_whole_batch_retried_in_the_same_process(sample: Sample) -> None:
    sample.put({"test": "raise", "n": 1, "do": "raise"})
    first, second = sample.wait_for("raise", 2)
    assert first["pid"] == second["pid"]


def test_a_crash_has_the_batch_retried_in_a_fresh_process(sample: Sample) -> None:
    sample.put({"test": "exit", "n": 1, "do": "exit"})
    first, second = sample.wait_for("exit", 2)
    assert numbers(first) == numbers(second) == [1]
    assert not is_running(first["pid"])
    assert first["pid"] != second["pid"]


def test_a_time_out_kills_the_process(sample: Sample) -> None:
    sample.put({"test": "hang", "n": 1, "do": "hang"})
    first, second = sample.wait_for("hang", 2)
    assert not is_running(first["pid"])
    assert first["pid"] != second["pid"]


def test_a_worker_killed_in_the_middle_of_a_batch_has_it_delivered_again_in_a_fresh_process(sample: Sample) -> None:
    sample.put({"test": "kill", "n": 1, "do": "hang"})
    assert sample.stage.kill_worker("ingest", patience_seconds=PATIENCE_SECONDS)
    first, second = sample.wait_for("kill", 2)
    assert numbers(first) == numbers(second) == [1]
    assert not is_running(first["pid"])


def test_a_batch_that_is_given_up_is_reported_and_the_shard_goes_on(sample: Sample) -> None:
    sample.put({"test": "poison", "n": 1, "do": "raise", "always": True})
    sample.wait_for("poison", 3)
    sample.put({"test": "after", "n": 2})
    sample.wait_for("after", 1)
    assert len(sample.deliveries("poison")) == 3, "once, and two retries"

    s3 = client("s3", sample.stage.endpoint_url)
    listing = s3.list_objects_v2(Bucket="sample-test-dead-letters", Prefix="aws/lambda/shardId-000000000000/")
    (listed,) = listing["Contents"]
    report = json.loads(s3.get_object(Bucket="sample-test-dead-letters", Key=listed["Key"])["Body"].read())
    assert report["requestContext"]["condition"] == "RetryAttemptsExhausted"
    assert report["requestContext"]["approximateInvokeCount"] == 3
    assert report["KinesisBatchInfo"]["batchSize"] == 1
    assert json.loads(report["payload"])["Records"] == sample.deliveries("poison")[0]["records"]


def test_every_batch_can_be_delivered_twice_on_purpose(tmp_path: Path) -> None:
    with sample_stage(tmp_path, redeliver=1) as sample:
        sample.put({"test": "again", "n": 1}, {"test": "again", "n": 2})
        first, second = sample.wait_for("again", 2)
        assert numbers(first) == numbers(second) == [1, 2]
        sample.put_row({"test": "a row again", "n": 1})
        first, second = sample.wait_for("a row again", 2)
        assert numbers(first) == numbers(second) == [1]
        assert sample.stage.redelivered_batches == 2


# ---- tables' streams


def test_changes_of_a_table_are_delivered_in_order_as_lambda_delivers_them(sample: Sample) -> None:
    sample.put_row({"test": "rows", "n": 1}, exact={"N": "12345678901234567890.12345"}, octets={"B": b"\x00\xff"})
    sample.put_row({"test": "rows", "n": 2})
    sample.dynamodb.delete_item(TableName="sample-test-rows", Key={"id": {"S": "rows"}})

    def delivered() -> list[dict[str, Any]]:
        return [record for each in sample.deliveries("rows") for record in each["records"]]

    wait_until(lambda: len(delivered()) == 3, PATIENCE_SECONDS)
    inserted, modified, removed = delivered()
    assert [each["eventName"] for each in (inserted, modified, removed)] == ["INSERT", "MODIFY", "REMOVE"]
    assert inserted["eventSource"] == "aws:dynamodb"
    assert inserted["eventSourceARN"] == sample.stage.plan.dynamodb[0].stream
    assert inserted["dynamodb"]["Keys"] == {"id": {"S": "rows"}}
    assert inserted["dynamodb"]["NewImage"]["exact"] == {"N": "12345678901234567890.12345"}
    assert inserted["dynamodb"]["NewImage"]["octets"] == {"B": "AP8="}
    assert modified["dynamodb"]["OldImage"] == inserted["dynamodb"]["NewImage"]
    assert "NewImage" not in removed["dynamodb"]


def test_a_partial_failure_of_a_tables_batch_is_retried_from_the_change_that_it_names(tmp_path: Path) -> None:
    with sample_stage(tmp_path, mapping={"follow": {"batch_size": 3, "batching_window_ms": 60_000}}) as sample:
        for payload in ({"n": 1}, {"n": 2, "do": "report"}, {"n": 3}):
            sample.put_row({"test": "partial rows", **payload})
        assert [numbers(each) for each in sample.wait_for("partial rows", 2)] == [[1, 2, 3], [2, 3]]


def test_a_worker_killed_in_the_middle_of_a_tables_batch_has_it_delivered_again(sample: Sample) -> None:
    sample.put_row({"test": "killed row", "n": 1, "do": "hang"})
    assert sample.stage.kill_worker("follow", patience_seconds=PATIENCE_SECONDS)
    first, second = sample.wait_for("killed row", 2)
    assert numbers(first) == numbers(second) == [1]
    assert not is_running(first["pid"])
    assert sample.stage.log_path("follow").name == "sample-test-follow.log"


def test_a_tables_batch_that_is_given_up_is_reported_as_one_of_dynamodb_streams(sample: Sample) -> None:
    sample.put_row({"test": "poison row", "n": 1, "do": "raise", "always": True})
    sample.wait_for("poison row", 3)
    sample.put_row({"test": "row after", "n": 2})
    sample.wait_for("row after", 1)
    s3 = client("s3", sample.stage.endpoint_url)
    listed = s3.list_objects_v2(Bucket="sample-test-dead-letters", Prefix="aws/lambda/shardId-00000000000000000000-")
    (key,) = [each["Key"] for each in listed["Contents"]]
    report = json.loads(s3.get_object(Bucket="sample-test-dead-letters", Key=key)["Body"].read())
    assert report["DDBStreamBatchInfo"]["streamArn"] == sample.stage.plan.dynamodb[0].stream
    assert json.loads(report["payload"])["Records"] == sample.deliveries("poison row")[0]["records"]


def patient_project(folder: Path) -> Path:
    """The sample project with functions whose time is not over before a redeployment has begun."""
    template = shutil.copytree(PROJECT_DIR, folder) / ".chalice" / "resources.yaml"
    template.write_text(template.read_text().replace("Timeout: 1\n", "Timeout: 60\n"))
    return folder


def test_a_redeployment_goes_on_from_a_tables_checkpoint_and_a_replay_is_of_kinesis_alone(tmp_path: Path) -> None:
    with sample_stage(tmp_path, patient_project(tmp_path / "project")) as sample:
        sample.put({"test": "event", "n": 1})
        sample.put_row({"test": "row", "n": 1})
        sample.wait_for("event", 1)
        (before,) = sample.wait_for("row", 1)
        sample.put_row({"test": "row under way", "n": 1, "do": "hang"})
        sample.wait_for("row under way", 1)

        sample.stage.redeploy()
        cut_off, again = sample.wait_for("row under way", 2)
        assert numbers(cut_off) == numbers(again) == [1]
        assert again["pid"] not in {before["pid"], cut_off["pid"]}

        sample.stage.replay()
        sample.wait_for("event", 2)
        sample.put_row({"test": "row later", "n": 1})
        (later,) = sample.wait_for("row later", 1)
        assert later["pid"] == again["pid"]
        assert len(sample.deliveries("row")) == 1


# ---- HTTP


def test_a_request_makes_the_round_trip(sample: Sample, http: urllib3.PoolManager) -> None:
    answer = http.request("GET", f"{sample.stage.api_url}/items/7?a=1&a=2&b=")
    assert answer.status == 200
    assert answer.json()["item"] == "7"
    assert answer.json()["query"] == {"a": ["1", "2"], "b": [""]}


def test_a_warm_process_answers_the_next_request(sample: Sample, http: urllib3.PoolManager) -> None:
    pids = {http.request("GET", f"{sample.stage.api_url}/items/7").json()["pid"] for _ in range(3)}
    assert len(pids) == 1


def test_text_bytes_and_repeated_headers_survive(sample: Sample, http: urllib3.PoolManager) -> None:
    assert http.request("POST", f"{sample.stage.api_url}/echo", json={"é": [1]}).json() == {"é": [1]}
    octets = {"Content-Type": "application/octet-stream", "Accept": "application/octet-stream"}
    assert (
        http.request("POST", f"{sample.stage.api_url}/bytes", body=b"\x00\xff\x01", headers=octets).data
        == b"\x01\xff\x00"
    )
    answer = http.request("GET", f"{sample.stage.api_url}/cookies")
    assert (answer.status, answer.data) == (203, b"two")
    assert answer.headers.getlist("Set-Cookie") == ["a=1", "b=2"]


def test_a_head_request_has_no_body(sample: Sample, http: urllib3.PoolManager) -> None:
    answer = http.request("HEAD", f"{sample.stage.api_url}/items/7")
    assert (answer.status, answer.data) == (200, b"")


def test_an_api_can_stand_under_a_prefix_as_a_deployed_one_does(tmp_path: Path, http: urllib3.PoolManager) -> None:
    with sample_stage(tmp_path, api_prefix="/api") as sample:
        assert sample.stage.api_url.endswith("/api")
        assert http.request("GET", f"{sample.stage.api_url}/items/7").json()["item"] == "7"
        outside = http.request("GET", sample.stage.api_url.removesuffix("/api") + "/items/7")
        assert (outside.status, outside.json()) == (403, {"message": "Forbidden"})


def test_a_long_answer_is_compressed_for_whoever_accepts_that(sample: Sample, http: urllib3.PoolManager) -> None:
    url = f"{sample.stage.api_url}/echo"
    for size, encoding in ((2_000, "gzip"), (500, None)):
        answer = http.request("POST", url, json=["x" * size], headers={"Accept-Encoding": "gzip"})
        assert (answer.headers.get("Content-Encoding"), answer.json()) == (encoding, ["x" * size])
    assert "Content-Encoding" not in http.request("POST", url, json=["x" * 2_000]).headers


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("DELETE", "/items/7"), ("OPTIONS", "/items/7")])
def test_what_has_no_route_is_forbidden_as_api_gateway_has_it(
    sample: Sample, http: urllib3.PoolManager, method: str, path: str
) -> None:
    answer = http.request(method, sample.stage.api_url + path)
    assert answer.status == 403
    assert answer.json() == {"message": "Missing Authentication Token"}


def test_a_preflight_request_is_answered_without_the_function(sample: Sample, http: urllib3.PoolManager) -> None:
    answer = http.request("OPTIONS", f"{sample.stage.api_url}/echo")
    assert answer.status == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://example.org"
    assert answer.headers["Access-Control-Allow-Methods"] == "POST,OPTIONS"


def test_a_function_that_crashes_is_a_bad_gateway_and_the_next_request_is_served(
    sample: Sample, http: urllib3.PoolManager
) -> None:
    assert http.request("GET", f"{sample.stage.api_url}/crash").status == 502
    assert http.request("GET", f"{sample.stage.api_url}/items/7").status == 200


# ---- starting


def test_an_application_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    chalice_dir = tmp_path / ".chalice"
    chalice_dir.mkdir()
    for name in ("config.json", "resources.yaml"):
        (chalice_dir / name).write_text((PROJECT_DIR / ".chalice" / name).read_text())
    (tmp_path / "app.py").write_text("import nothing_of_this_name\n")
    with (
        pytest.raises(StageError, match="nothing_of_this_name"),
        LocalStage("test", aws_port=0, api_port=0, project_dir=tmp_path),
    ):
        pass


def test_a_tables_stream_that_is_not_there_is_named(tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(PROJECT_DIR, project, ignore=shutil.ignore_patterns("__pycache__"))
    template = project / ".chalice" / "resources.yaml"
    template.write_text(template.read_text().replace("Stream: ", "NotTheStream: "))
    stage = LocalStage("test", shards=1, aws_port=0, api_port=0, project_dir=project, state_dir=tmp_path)
    with (
        pytest.raises(StageError, match=r"^sample-test-follow: its stream the template knows it cannot be read: .+$"),
        stage,
    ):
        pass


def test_a_bad_stage_name_is_named(tmp_path: Path) -> None:
    stage = LocalStage("No!", aws_port=0, api_port=0, project_dir=PROJECT_DIR, state_dir=tmp_path)
    with pytest.raises(StageError, match=r"parameter Stage has to match .*, not 'No!'"), stage:
        pass


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with sample_stage(tmp_path) as sample:
        second = LocalStage(
            "test", aws_port=0, api_port=sample.stage.api_port, project_dir=PROJECT_DIR, state_dir=tmp_path
        )
        with pytest.raises(StageError, match="--api-port"), second:
            pass
