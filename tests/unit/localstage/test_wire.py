"""The client of the mappings, asked against an HTTP server that notes what comes and answers as it is told."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from localstage import wire


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.client_address, dict(self.headers), json.loads(body)))
        status, answer = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked, running.answer = [], (200, b"{}")
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        yield running
        running.shutdown()


@pytest.fixture
def url(server):
    return f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize(
    ("service", "target", "content_type"),
    [
        (wire.kinesis, "Kinesis_20131202.GetShardIterator", "application/x-amz-json-1.1"),
        (wire.dynamodb_streams, "DynamoDBStreams_20120810.GetShardIterator", "application/x-amz-json-1.0"),
    ],
)
def test_a_question_is_of_the_services_json_protocol(server, url, service, target, content_type):
    service(url).get_shard_iterator(ShardId="s-1", ShardIteratorType="LATEST")
    ((_, headers, body),) = server.asked
    assert (headers["X-Amz-Target"], headers["Content-Type"]) == (target, content_type)
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=local/")
    assert body == {"ShardId": "s-1", "ShardIteratorType": "LATEST"}


def test_what_is_on_the_wire_is_answered_as_it_is(server, url):
    record = {"Data": "aGVsbG8=", "ApproximateArrivalTimestamp": 1545084650.987}
    server.answer = (200, json.dumps({"Records": [record]}).encode())
    assert wire.kinesis(url).get_records(ShardIterator="i")["Records"] == [record]


def test_a_connection_is_kept_for_the_next_question(server, url):
    client = wire.kinesis(url)
    for _ in range(3):
        client.list_shards(StreamName="s")
    assert len({address for address, _, _ in server.asked}) == 1


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        (b'{"__type": "ExpiredIteratorException", "message": "gone"}', "ExpiredIteratorException", "gone"),
        (b'{"__type": "com.amazonaws#TrimmedDataAccessException"}', "TrimmedDataAccessException", ""),
        (b'{"__type": "ResourceNotFoundException", "Message": "no"}', "ResourceNotFoundException", "no"),
        (b"", "400", ""),
    ],
)
def test_a_refusal_is_botocores_error_with_the_services_code(server, url, answer, code, message):
    server.answer = (400, answer)
    with pytest.raises(ClientError) as refused:
        wire.kinesis(url).get_records(ShardIterator="i")
    assert refused.value.response["Error"] == {"Code": code, "Message": message}
    assert refused.value.operation_name == "GetRecords"


def test_where_nobody_listens_the_error_is_botocores_too():
    with pytest.raises(EndpointConnectionError):
        wire.kinesis("http://127.0.0.1:1").list_shards(StreamName="s")
