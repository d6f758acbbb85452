"""A small application for the tests of the local stage: its records say what becomes of the function."""

import base64
import json
import os
import time
from pathlib import Path
from typing import Any

from chalice.app import Chalice, CORSConfig, DynamoDBEvent, KinesisEvent, Response

app = Chalice(app_name="sample")
journal = Path(os.environ.get("JOURNAL", os.devnull))


@app.on_kinesis_record(stream=f"sample-{os.environ['STAGE']}-events", batch_size=100, starting_position="TRIM_HORIZON")
def ingest(event: KinesisEvent) -> dict[str, Any]:
    records = event.to_dict()["Records"]
    payloads = [json.loads(base64.b64decode(record["kinesis"]["data"])) for record in records]
    return handle(records, payloads, [record["kinesis"]["sequenceNumber"] for record in records])


@app.on_dynamodb_record(stream_arn="the template knows it", batch_size=100, starting_position="TRIM_HORIZON")
def follow(event: DynamoDBEvent) -> dict[str, Any]:
    records = event.to_dict()["Records"]
    rows = [record["dynamodb"].get("NewImage") or record["dynamodb"]["OldImage"] for record in records]
    payloads = [json.loads(row["payload"]["S"]) for row in rows]
    return handle(records, payloads, [record["dynamodb"]["SequenceNumber"] for record in records])


def handle(records: list[Any], payloads: list[Any], sequence_numbers: list[str]) -> dict[str, Any]:
    earlier = journal.read_text()
    with journal.open("a") as lines:
        lines.write(json.dumps({"pid": os.getpid(), "payloads": payloads, "records": records}) + "\n")
    for sequence_number, payload in zip(sequence_numbers, payloads, strict=True):
        is_the_first_time = f'"test": "{payload["test"]}"' not in earlier
        if is_the_first_time or payload.get("always"):
            match payload.get("do"):
                case "report":
                    return {"batchItemFailures": [{"itemIdentifier": sequence_number}]}
                case "raise":
                    raise ValueError("asked to raise")
                case "exit":
                    os._exit(3)
                case "hang":
                    time.sleep(60)
    return {"batchItemFailures": []}


@app.route("/items/{item}", methods=["GET", "HEAD"])
def read_item(item: str) -> dict[str, Any]:
    request = app.current_request
    return {
        "item": item,
        "query": {name: request.query_params.getlist(name) for name in request.query_params or {}},
        "pid": os.getpid(),
    }


@app.route("/echo", methods=["POST"], cors=CORSConfig(allow_origin="https://example.org"))
def echo() -> Any:
    return app.current_request.json_body


@app.route("/bytes", methods=["POST"], content_types=["application/octet-stream"])
def echo_bytes() -> Response:
    return Response(app.current_request.raw_body[::-1], headers={"Content-Type": "application/octet-stream"})


@app.route("/cookies")
def cookies() -> Response:
    return Response("two", headers={"Set-Cookie": ["a=1", "b=2"], "Content-Type": "text/plain"}, status_code=203)


@app.route("/crash")
def crash() -> None:
    os._exit(1)
