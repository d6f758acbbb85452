"""`python -m loadtest` as a user runs it: a short load on a stage of its own, and what is refused before any load."""

import json
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest

from loadtest import recording
from loadtest.report import read

PROJECT_DIR = Path(__file__).parents[2]
PATIENCE_SECONDS = 180
REFUSED = 2


def start(*arguments, out):
    return subprocess.Popen(
        [sys.executable, "-m", "loadtest", "--out", str(out), *arguments],
        cwd=PROJECT_DIR,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_the_end(process):
    """Wait. Returns: what it printed, and all processes that there were of it."""
    seen = set()
    watching = Thread(target=watch, args=(process, seen), daemon=True)
    watching.start()
    printed, told = process.communicate(timeout=PATIENCE_SECONDS)
    watching.join()
    return printed, told, seen


def watch(process, seen):
    while process.poll() is None:
        try:
            seen.update(psutil.Process(process.pid).children(recursive=True))
        except psutil.NoSuchProcess:
            return
        time.sleep(0.2)


def assert_nothing_is_left(seen):
    _, left = psutil.wait_procs(seen, timeout=10)
    assert [each for each in left if each.status() != psutil.STATUS_ZOMBIE] == []


def test_a_short_load_on_a_stage_of_its_own_is_exact_and_leaves_a_report_and_nothing_else(tmp_path):
    printed, told, seen = wait_for_the_end(start("--profile", "smoke", out=tmp_path))
    (folder,) = tmp_path.iterdir()
    log = (folder / "locust.log").read_text()
    assert "EXACT" in printed, f"{printed}\n{told}\n{log}"
    report = read(folder)
    assert report.verdict.outcome == "exact"
    assert report.verdict.differences == []
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    assert (folder / "locust.html").stat().st_size > 0
    seen_of_it = recording.read(folder / "recording.json")
    assert sum(second.offered for second in seen_of_it.seconds) > 6_000
    assert all(probe.visible_ms for probe in seen_of_it.probes)
    assert len(seen_of_it.probes) > 20
    assert {query.status for query in seen_of_it.queries} == {200}
    assert seen_of_it.lags
    assert seen_of_it.usage.units["dynamodb.write_units"] > 0
    # Every kind of event was there, and the stage said so.
    assert seen_of_it.duplicates_reported >= report.verdict.expected.duplicates > 100
    assert len(report.verdict.expected.dead_letters) == 7
    for kept in folder.glob("*.json*"):
        assert "highwater_" not in kept.read_text()  # as tokens begin
    assert "highwater_" not in printed + told + log
    assert len(seen) > 3
    assert_nothing_is_left(seen)


def test_a_load_that_is_interrupted_leaves_nothing_running(tmp_path):
    process = start("--profile", "smoke", out=tmp_path)
    for line in process.stderr:
        if "loading stage" in line:
            break
    time.sleep(1.5)  # its workers are about to begin
    seen = set(psutil.Process(process.pid).children(recursive=True))
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "loadtest: interrupted; nothing is left running, and nothing was proved"
    assert len(seen) > 3
    assert_nothing_is_left(seen)


class NoCredentials(BaseHTTPRequestHandler):
    """A stage whose API is there, and whose AWS takes nobody's credentials."""

    def do_GET(self):
        self._send(200, {"status": "ok", "stage": "local"})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(400, {"__type": "UnrecognizedClientException", "message": "The security token is invalid."})

    def _send(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Lagging(NoCredentials):
    """A stage that is behind and comes no nearer."""

    def do_GET(self):
        shard = {"shard_id": "shardId-000000000000", "open": True, "behind_ms": 95_000}
        metric = {"name": "orders", "event_type": "order.placed", "lateness": "1d"}
        answers = {
            "/v1/health": {"status": "ok", "stage": "local"},
            "/v1/stream": {"complete_until": None, "shards": [shard]},
            "/v1/metrics": {"metrics": [metric]},
        }
        self._send(200, answers[self.path])

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        keys = {"StartingHashKey": "0", "EndingHashKey": "9"}
        shard = {"ShardId": "shardId-000000000000", "HashKeyRange": keys, "SequenceNumberRange": {}}
        answer = {"Shards": [shard], "Records": [{"ShardId": "shardId-000000000000", "SequenceNumber": "1"}]}
        self._send(200, answer)


@pytest.fixture
def serve():
    servers = []

    def begin(handler):
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_begun(tmp_path, serve):
    unknown_key = tmp_path / "mine.toml"
    unknown_key.write_text('description = "x"\nspeed = 1\n[arrivals]\nrate = 1\nseconds = 1\n')
    refusing, lagging = serve(NoCredentials), serve(Lagging)
    refusals = {
        "there is no profile nosuch; there are: ": ["--profile", "nosuch"],
        "mine.toml: Object contains unknown field `speed`": ["--profile", str(unknown_key)],
        "there is no stage nosuch in .chalice/config.json": ["--stage", "nosuch"],
        "nothing answers at http://127.0.0.1:9/v1/health": ["--api-url", "http://127.0.0.1:9"],
        "stage local: the AWS credentials are not valid": ["--api-url", refusing, "--endpoint-url", refusing],
        "stage local is already lagging: shard shardId-000000000000 is 95 s behind": [
            "--api-url",
            lagging,
            "--endpoint-url",
            lagging,
        ],
        "the profile causes faults, and the local stage at ": ["--profile", "faults", "--api-url", refusing],
        "--workers 0 starts none: ": ["--workers", "0"],
        "--expect-workers 1 is fewer than the 2 that are started here": ["--workers", "2", "--expect-workers", "1"],
        "1 of 2 workers are started here": ["--workers", "1", "--expect-workers", "2"],
        "argument --bind: nothing can listen there: ": ["--bind", "203.0.113.7:5557"],
        "'http://' is no URL of AWS": ["--api-url", refusing, "--endpoint-url", "http://"],
        "argument --workers: 'many' is no whole number above 0": ["--workers", "many"],
    }
    out = tmp_path / "out"
    began = {what: start(*arguments, out=out) for what, arguments in refusals.items()}  # at once: one takes its time
    for what, process in began.items():
        printed, told, seen = wait_for_the_end(process)
        assert (process.returncode, printed) == (REFUSED, "")
        (line,) = told.splitlines()
        assert line.startswith(f"loadtest: {what}")
        assert not seen
    assert not out.exists()
