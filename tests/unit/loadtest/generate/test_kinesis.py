"""PutRecords over the wire: what is sent, and what each answer says of what the stream has taken."""

import base64
import json
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import NamedTuple

import boto3
import pytest

from loadtest.generate.kinesis import AnswerLostError, KinesisPuts, NeverSentError, RequestRefusedError


class Record(NamedTuple):
    partition_key: str
    data: bytes


RECORDS = [Record("ada", b"\x00\xff plain"), Record("grace", b"{}")]
TAKEN = {"FailedRecordCount": 0, "Records": [{"ShardId": "shardId-1", "SequenceNumber": "7"}] * 2}
SESSION = boto3.Session("key", "secret", region_name="eu-west-1")


@contextmanager
def answering(status, body):
    """An endpoint that answers all requests so; None: it hangs up. Yields: its URL and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            if body is None:
                self.connection.close()
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

        def handle(self):
            with suppress(OSError, ValueError):  # its connection is closed
                super().handle()

        def finish(self):
            with suppress(OSError, ValueError):
                super().finish()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def put(url):
    return KinesisPuts(SESSION, url, "events", "eu-west-1", 2)(RECORDS)


def test_records_are_sent_as_kinesis_has_them_and_signed():
    with answering(200, json.dumps(TAKEN).encode()) as (url, asked):
        answers = put(url)
    ((headers, body),) = asked
    assert json.loads(body) == {
        "StreamName": "events",
        "Records": [
            {"Data": base64.b64encode(record.data).decode(), "PartitionKey": record.partition_key} for record in RECORDS
        ],
    }
    assert headers["X-Amz-Target"] == "Kinesis_20131202.PutRecords"
    assert "Credential=key/" in headers["Authorization"]
    assert "/eu-west-1/kinesis/aws4_request" in headers["Authorization"]
    assert [(answer.shard_id, answer.error) for answer in answers] == [("shardId-1", None)] * 2


def test_a_record_that_is_refused_is_told_by_its_code():
    refused = {"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "Rate exceeded for shard"}
    with answering(200, json.dumps({"FailedRecordCount": 1, "Records": [TAKEN["Records"][0], refused]}).encode()) as (
        url,
        _,
    ):
        assert [answer.error for answer in put(url)] == [None, "ProvisionedThroughputExceededException"]


@pytest.mark.parametrize(
    ("status", "body", "error", "told"),
    [
        (
            400,
            b'{"__type":"UnrecognizedClientException","message":"secret"}',
            RequestRefusedError,
            "UnrecognizedClient",
        ),
        (
            400,
            b'{"__type":"com.amazonaws.kinesis#AccessDeniedException"}',
            RequestRefusedError,
            "AccessDeniedException",
        ),
        (413, b"too large", RequestRefusedError, "413"),
        (500, b'{"__type":"InternalFailure"}', AnswerLostError, "InternalFailure"),
        (503, b"", AnswerLostError, "503"),
        (200, b'{"Records":[]}', AnswerLostError, "MalformedAnswer"),
        (200, b"<html>", AnswerLostError, "MalformedAnswer"),
        (200, None, AnswerLostError, "ConnectionClosedError"),
    ],
    ids=["credentials", "denied", "too large", "failure", "busy", "too few answers", "no JSON", "hung up"],
)
def test_what_the_stream_has_taken_is_told_or_nobody_knows(status, body, error, told):
    with answering(status, body) as (url, _), pytest.raises(error, match=told) as raised:
        put(url)
    assert "secret" not in str(raised.value)


def test_where_nobody_listens_nothing_was_sent():
    with answering(200, b"") as (url, _):
        pass
    with pytest.raises(NeverSentError, match="EndpointConnectionError"):
        put(url)


def test_without_credentials_nothing_is_sent(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with answering(200, b"{}") as (url, asked), pytest.raises(NeverSentError, match="NoCredentialsError"):
        KinesisPuts(boto3.Session(), url, "events", "eu-west-1", 2)(RECORDS)
    assert asked == []
