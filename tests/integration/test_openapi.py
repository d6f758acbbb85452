"""The API as its own description has it: schemathesis asks a local stage everything that the description allows, and
much that it does not."""

import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest
import urllib3

from localstage import LocalStage
from localstage.aws import client
from tests.builders import order

CONFIG = Path(__file__).parent / "schemathesis.toml"
# The description names no metric, and so nothing of one.
NAMES = {
    "metric": ["orders", "customers", "order_status"],
    "group_by": ["currency", "order_type", "currency,order_type", "user_id"],
    "measures": ["count", "revenue,mean", "orders"],
    "order_by": ["-revenue", "window_start", "-window_start,currency", "user_id"],
}
PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """The URL of a stage that has counted something."""
    with LocalStage("test", shards=1, aws_port=0, api_port=0, state_dir=tmp_path_factory.mktemp("stage")) as stage:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        payloads = [orjson.dumps(order(number, time=now, currency="EUR")) for number in range(20)]
        payloads.append(b"not JSON")
        client("kinesis", stage.endpoint_url).put_records(
            StreamName="highwater-test-events", Records=[{"Data": each, "PartitionKey": "k"} for each in payloads]
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _rows(stage.api_url):
            assert time.monotonic() < deadline, "nothing was counted"
            time.sleep(0.1)
        yield stage.api_url


def _rows(url):
    return urllib3.request("GET", f"{url}/v1/metrics/orders/windows").json()["rows"]


def test_every_answer_is_as_described(api, tmp_path):
    described = urllib3.request("GET", f"{api}/openapi.json").json()
    for methods in described["paths"].values():
        for parameter in methods["get"]["parameters"]:
            if parameter["name"] in NAMES:
                parameter["schema"] = {"enum": NAMES[parameter["name"]]}
    (tmp_path / "openapi.json").write_bytes(orjson.dumps(described))
    st = [sys.executable, "-c", "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"]
    done = subprocess.run(
        [*st, f"--config-file={CONFIG}", "run", "openapi.json", f"--url={api}", "--seed=1", "--max-examples=25"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert "Tested: 6" in done.stdout
