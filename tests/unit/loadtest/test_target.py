"""A stage that cannot be loaded is refused in one line that says why; what was begun for it is ended."""

import json
import time
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from loadtest.producer import Encoding
from loadtest.profile import Arrivals, Events, Fault, FaultKind, Profile, Reshard
from loadtest.recording import StageKind
from loadtest.target import ShardStanding, StreamStanding, TargetError, Where, reached, wait_until_it_keeps_up

PROFILE = Profile(description="x", arrivals=Arrivals(rate=1, seconds=1))
HEALTH = {"status": "ok", "stage": "local"}
SHARD = {"shard_id": "shardId-000000000000", "open": True, "checkpoint": "7", "committed_until": None, "behind_ms": 4}
STREAM = {"stream": "highwater-local-events", "complete_until": None, "shards": [SHARD]}
METRICS = {"metrics": [{"name": "orders", "event_type": "order.placed", "lateness": "2h"}]}
SHARDS = [
    {
        "ShardId": SHARD["shard_id"],
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "9"},
        "SequenceNumberRange": {"StartingSequenceNumber": "1"},
    }
]


class FakeStage:
    """The API and the AWS of a stage, at one address. Shapes: aws, by operation its status and answer."""

    def __init__(self, *, health=HEALTH, stream=STREAM, metrics=METRICS, token=None, date=None, aws=None, letters=200):
        self.health, self.stream, self.metrics, self.token, self.letters = health, stream, metrics, token, letters
        self.date = date
        self.aws = {"ListShards": (200, {"Shards": SHARDS}), **(aws or {})}
        self.asked = []

    def answer(self, path, headers):
        if path == "/v1/health":
            return 200, self.health
        if "list-type" in path:
            return self.letters, {}
        if self.token is not None and headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {"title": "Unauthorized"}
        return 200, {"/v1/stream": self.stream, "/v1/metrics": self.metrics}[path]


@contextmanager
def running(stage):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self._send(*stage.answer(self.path, self.headers))

        def do_POST(self):
            operation = self.headers["X-Amz-Target"].rpartition(".")[2]
            stage.asked.append(operation)
            self.rfile.read(int(self.headers["Content-Length"]))
            self._send(*stage.aws[operation])

        def _send(self, status, answer):
            body = b"<ListBucketResult/>" if "list-type" in self.path else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def date_time_string(self, timestamp=None):
            return stage.date or super().date_time_string(timestamp)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def found(stage, *, profile=PROFILE, environ=None, name="local"):
    with (
        running(stage) as url,
        reached(
            name,
            profile,
            "r1",
            where=Where(url, url),
            state_dir=None,
            tell=lambda _what: None,
            environ=environ or {},
        ) as it,
    ):
        yield it


def refusal(stage, **more):
    with pytest.raises(TargetError) as raised, found(stage, **more):
        pytest.fail("it was not refused")
    told = str(raised.value)
    assert "\n" not in told
    return told


def test_a_stage_that_keeps_up_is_found_with_what_it_is_like():
    with found(FakeStage()) as it:
        assert it.token is None
        assert it.target.stage.kind is StageKind.RUNNING
        assert (it.target.stage.shards, it.target.stage.lateness_ms) == (1, 7_200_000)
        assert it.target.stream == "highwater-local-events"


def test_the_token_that_is_given_is_taken():
    with found(FakeStage(token="t"), environ={"HIGHWATER_TOKEN": "t"}) as it:
        assert it.token == "t"


def test_a_token_that_is_not_accepted_is_refused_and_not_told():
    told = refusal(FakeStage(token="other"), environ={"HIGHWATER_TOKEN": "my-secret"})
    assert told == "the API does not accept the token in HIGHWATER_TOKEN (401)"


def test_a_token_that_no_header_can_hold_is_refused_and_not_told():
    for token in ("my-\nsecret", "my-secrét"):
        told = refusal(FakeStage(token="t"), environ={"HIGHWATER_TOKEN": token})
        assert told == "the token in HIGHWATER_TOKEN is none: it has characters that no header can hold"


@pytest.mark.parametrize("url", ["nonsense", "http://[::1", "http://", "ftp://127.0.0.1"])
def test_what_is_no_url_of_aws_is_refused(url):
    where, told = Where("http://127.0.0.1:9"), f"{url!r} is no URL of AWS"
    with (
        pytest.raises(TargetError) as raised,
        reached("local", PROFILE, "r", where=where, state_dir=None, tell=print, environ={"AWS_ENDPOINT_URL": url}),
    ):
        pass
    assert str(raised.value).startswith(told)


def test_dead_letters_that_could_not_be_read_at_the_end_are_told_at_the_beginning():
    assert refusal(FakeStage(letters=404)).startswith("stage local: ListObjectsV2 fails with")


def test_a_stage_that_counts_no_orders_is_refused():
    metrics = {"metrics": [{"name": "clicks", "event_type": "click", "lateness": "2h"}]}
    assert "has no metric of order.placed" in refusal(FakeStage(metrics=metrics))


def test_an_api_where_nothing_listens_is_refused():
    with running(FakeStage()) as url:
        pass
    told = r"nothing answers at http://127\.0\.0\.1:\d+/v1/health"
    where = Where(url, url)
    with (
        pytest.raises(TargetError, match=told),
        reached("local", PROFILE, "r", where=where, state_dir=None, tell=print),
    ):
        pass


def test_another_stage_at_the_address_is_refused():
    told = refusal(FakeStage(health={"status": "ok", "stage": "prod"}))
    assert told.endswith("is stage prod, not local")


def test_what_is_no_stage_is_refused():
    assert "answers 200, and not as a stage does" in refusal(FakeStage(health={"hello": "world"}))


def test_a_clock_that_is_apart_is_refused():
    told = refusal(FakeStage(date=formatdate(time.time() - 90, usegmt=True)))
    assert told.startswith("the clock of this machine and that of stage local are ")
    assert "apart" in told


def test_wrong_credentials_are_refused_before_anything_is_put():
    stage = FakeStage(aws={"ListShards": (400, {"__type": "UnrecognizedClientException", "message": "no"})})
    told = refusal(stage)
    assert told.startswith("stage local: the AWS credentials are not valid")
    assert stage.asked == ["ListShards"]


def test_credentials_that_may_issue_no_token_are_told_so():
    denied = (400, {"__type": "AccessDeniedException", "message": "not you"})
    told = refusal(FakeStage(token="t", aws={"GetSecretValue": denied}))
    assert told == "stage local: AWS denies GetSecretValue: not you"


def test_faults_are_for_a_stage_of_the_runs_own():
    profile = Profile(description="x", arrivals=PROFILE.arrivals, faults=(Fault(kind=FaultKind.REPLAY, at_seconds=1),))
    assert "only a stage that is started for the run does" in refusal(FakeStage(), profile=profile)


def test_a_local_stage_is_not_resharded():
    profile = Profile(
        description="x",
        arrivals=Arrivals(rate=1, seconds=9),
        events=Events(encodings={Encoding.PLAIN: 1.0}),
        reshard=Reshard(at_seconds=1, shards=2),
    )
    assert "take a stage on AWS" in refusal(FakeStage(), profile=profile)


def test_a_stage_that_nobody_has_declared_is_refused():
    with (
        pytest.raises(TargetError, match="there is no stage nope in"),
        reached("nope", PROFILE, "r1", state_dir=None, tell=print, environ={}),
    ):
        pass


class Stream:
    """Shards that are so far behind, one answer after the other; time passes as it is slept."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.ticks = 0
        self.now = 0.0

    def ask(self):
        behind = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        shards = tuple(ShardStanding(f"shardId-{place}", True, each) for place, each in enumerate(behind))
        return StreamStanding(None, (*shards, ShardStanding("shardId-closed", False, 10**9)))

    def tick(self):
        self.ticks += 1

    def wait(self):
        wait_until_it_keeps_up(
            "dev", self.ask, self.tick, patience_seconds=15, clock=lambda: self.now, sleep=self._sleep
        )

    def _sleep(self, seconds):
        self.now += seconds


def test_a_stage_that_keeps_up_gets_no_tick():
    stream = Stream([0, 29_000])
    stream.wait()
    assert stream.ticks == 0


def test_a_stage_that_was_idle_gets_a_tick_and_has_caught_up_then():
    stream = Stream([58_000, 100], [58_000, 100], [1_200, 1_100])
    stream.wait()
    assert stream.ticks == 1


def test_a_stage_that_has_counted_nothing_yet_gets_a_tick():
    stream = Stream([None, None], [None, 1], [1, 1])
    stream.wait()
    assert stream.ticks == 1


def test_a_stage_that_is_lagging_already_is_refused_by_its_worst_shard():
    with pytest.raises(TargetError, match=r"^stage dev is already lagging: shard shardId-1 is 95 s behind$"):
        Stream([40_000, 95_000]).wait()
    with pytest.raises(TargetError, match="shard shardId-1 has not committed a record of 15 s ago"):
        Stream([40_000, None]).wait()
