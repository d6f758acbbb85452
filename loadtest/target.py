"""The stage that is loaded: where it is, whether it can be loaded now, and a token for its API.

A local stage that answers is taken, or one of its own is started; of any other stage its stack tells where the API is.
All that would spoil a run is refused before the first event, in one line, and whatever was begun by then is ended:
the stage of its own, the token issued for the run.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
import msgspec
import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from chalicelib.access.errors import MalformedTokensError
from chalicelib.access.grant import ANY
from chalicelib.aggregates.windows import parse_duration
from chalicelib.aws.events_stream import EventsStream
from chalicelib.consumers.tick import tick_on
from chalicelib.errors import TransientError
from loadtest.producer.shards import ShardMap
from loadtest.producer.stage import CLIENT_CONFIG, LOCAL_ENDPOINT_URL, LOCAL_REGION, stream_name
from loadtest.profile import Profile
from loadtest.recording import Stage, StageKind
from ops import aws, tokens
from ops.deploy import api_url
from ops.parameters import ParameterError, check_stage
from ops.stack import Stack
from ops.survey import letters_bucket
from ops.token_ledger import LedgerError, TokenLedger

if TYPE_CHECKING:
    from localstage import LocalStage

PROJECT_DIR = Path(__file__).resolve().parent.parent
LOCAL = "local"
LOCAL_API_URL = "http://127.0.0.1:8000"
TOKEN_VARIABLE = "HIGHWATER_TOKEN"  # noqa: S105 (the name of a variable)
STREAM_TIMEOUT_MS = 20_000
ASK_SECONDS = 30
SKEW_MS_MAX = 5_000  # late and future events would not be what the profile says, and freshness not what it was
LAG_MS_MAX = 30_000
# An idle shard is up to a minute behind, for no more than the tick of each minute comes to it; so one that seems to lag
# gets a tick, and time for it.
TICK_SECONDS = 15
TICK_SECONDS_OWN = 60  # whose first batch starts its processes
TOKEN_SECONDS = 75  # functions keep what they read of tokens for a minute
TOKEN_SPARE_MS = 3_600_000
POLL_SECONDS = 0.5
NOT_LET_IN = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
EVENT_TYPE = "order.placed"


class TargetError(Exception):
    """The stage cannot be loaded; the text is one line that says why."""


class Target(Struct, frozen=True):
    """Where the load goes; no secret is in it.

    Shapes: endpoint_url, of AWS, None for AWS itself. Units: clock_margin_ms, how far the stream's clock may be from
            this machine's.
    """

    stage: Stage
    stream: str
    region: str
    endpoint_url: str | None
    clock_margin_ms: int

    def session(self) -> boto3.Session:
        """A session that reaches it: as configured, or, on this machine, with credentials that open nothing."""
        if self.stage.kind is StageKind.AWS:
            return aws.session()
        return boto3.Session("local", "local", region_name=LOCAL_REGION)

    def client(self, service: str) -> Any:
        """A client of one service."""
        connected: Any = self.session()  # typed, it would take none but literal names
        return connected.client(service, endpoint_url=self.endpoint_url, config=CLIENT_CONFIG)

    def shards(self, kinesis: Any) -> ShardMap:
        """The stream's open shards. Raises: what the client raises."""
        page = kinesis.list_shards(StreamName=self.stream)
        shards = list(page["Shards"])
        while page.get("NextToken"):
            page = kinesis.list_shards(NextToken=page["NextToken"])
            shards += page["Shards"]
        return ShardMap(shards)

    def put_ticks(self, kinesis: Any, now_ms: int) -> None:
        """Put a tick on every open shard, as the stage's own `tick` does each minute: no metric counts it.

        Why: an idle shard then tells at once how far it is, and nobody waits for the minute to be over.
        Raises: BotoCoreError, ClientError, TransientError.
        """
        stream = EventsStream(kinesis, self.stream)
        shards = [shard for shard in stream.list_shards(STREAM_TIMEOUT_MS) if shard.is_open]
        stream.put_records([tick_on(shard, now_ms) for shard in shards], STREAM_TIMEOUT_MS)


class ShardStanding(Struct):
    """What `/v1/stream` tells of a shard."""

    shard_id: str
    open: bool
    behind_ms: int | None


class StreamStanding(Struct):
    """What `/v1/stream` tells."""

    complete_until: str | None
    shards: tuple[ShardStanding, ...]

    def open_shards(self) -> list[ShardStanding]:
        """Those that take records."""
        return [shard for shard in self.shards if shard.open]


@dataclass(frozen=True, slots=True)
class Where:
    """What was said of where the stage is; None is found out."""

    api_url: str | None = None
    endpoint_url: str | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """A stage that can be loaded now. Shapes: token, None where callers need none; local, a stage of its own."""

    target: Target
    token: str | None
    local: "LocalStage | None"


class HttpApi:
    """The stage's API, asked once a question."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = urllib3.PoolManager(retries=False, timeout=ASK_SECONDS)

    def ask(self, path: str, token: str | None = None) -> urllib3.BaseHTTPResponse:
        """Ask. Raises: TargetError when nothing answers."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            return self._http.request("GET", f"{self.url}{path}", headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise TargetError(f"nothing answers at {self.url}{path} ({type(error).__name__})") from None


def given_token(environ: Mapping[str, str] = os.environ) -> str | None:
    """The token in HIGHWATER_TOKEN, if there is one.

    Raises: TargetError for what no header can hold: the HTTP client's own error would quote it.
    """
    token = environ.get(TOKEN_VARIABLE) or None
    if token is not None and not (token.isascii() and token.isprintable()):
        raise TargetError(f"the token in {TOKEN_VARIABLE} is none: it has characters that no header can hold")
    return token


def now_ms() -> int:
    """What the clock says, epoch milliseconds."""
    return time.time_ns() // 1_000_000


@contextmanager
def reached(
    name: str,
    profile: Profile,
    run_id: str,
    *,
    where: Where = Where(),
    state_dir: Path | None,
    tell: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
) -> Iterator[Reached]:
    """Find the stage and see that it can be loaded; what was begun for it ends with the block.

    Shapes: state_dir, where a stage of its own keeps its logs; None: none may be started. tell is told what is done.
    Raises: TargetError.
    """
    with ExitStack() as begun:
        search = _Search(name, profile, run_id, where, state_dir, tell, environ, begun)
        try:
            found = search.check(*search.find())
        except (BotoCoreError, ClientError, TransientError) as error:
            raise TargetError(f"stage {name}: {aws.reason(error)}") from None
        yield found


@dataclass(frozen=True, slots=True)
class _Search:
    """The search for a stage. Shapes: as `reached`; begun, what ends with the run."""

    name: str
    profile: Profile
    run_id: str
    where: Where
    state_dir: Path | None
    tell: Callable[[str], None]
    environ: Mapping[str, str]
    begun: ExitStack

    def find(self) -> tuple[Stage, str | None, "LocalStage | None"]:
        """Find the stage, or start one. Returns: it, as far as it is known by now, and where its AWS is."""
        endpoint_url = _endpoint_url(self.where.endpoint_url or self.environ.get("AWS_ENDPOINT_URL"))
        if self.name != LOCAL:
            self._refuse_faults(f"stage {self.name}")
            kind = StageKind.RUNNING if aws.is_local(endpoint_url) else StageKind.AWS
            if kind is StageKind.RUNNING:
                self._refuse_reshard()
            url = self.where.api_url or _deployed_api(self.name, endpoint_url)
            return Stage(self.name, kind, url.rstrip("/"), 0, 0), endpoint_url, None
        self._refuse_reshard()
        url = (self.where.api_url or LOCAL_API_URL).rstrip("/")
        if self.where != Where() or _answers(url):
            self._refuse_faults(f"the local stage at {url}, which was not started for the run,")
            return Stage(LOCAL, StageKind.RUNNING, url, 0, 0), endpoint_url or LOCAL_ENDPOINT_URL, None
        if self.state_dir is None:
            raise TargetError(f"no local stage answers at {url}; start one (make stage)")
        local = self._start(self.state_dir)
        return Stage(LOCAL, StageKind.OWN, local.api_url, 0, 0), local.endpoint_url, local

    def check(self, stage: Stage, endpoint_url: str | None, local: "LocalStage | None") -> Reached:
        """See that the stage answers, that its clock is right, that it takes records and a token, and keeps up."""
        api = HttpApi(stage.api_url)
        _check_health(api, stage)
        is_aws = stage.kind is StageKind.AWS
        region = (aws.session().region_name or LOCAL_REGION) if is_aws else LOCAL_REGION
        target = Target(stage, stream_name(stage.name), region, endpoint_url, SKEW_MS_MAX if is_aws else 0)
        kinesis = target.client("kinesis")
        shards = target.shards(kinesis)
        token = self._token(api, target)
        lateness_ms = _lateness_ms(api, token)
        wait_until_it_keeps_up(
            stage.name,
            lambda: ask_stream(api, token),
            lambda: target.put_ticks(kinesis, now_ms()),
            patience_seconds=TICK_SECONDS_OWN if local else TICK_SECONDS,
        )
        if local is None:  # after hours of load it would be too late to find that they cannot be read
            target.client("s3").list_objects_v2(Bucket=letters_bucket(stage.name), MaxKeys=1)
        checked = msgspec.structs.replace(stage, shards=len(shards.ids), lateness_ms=lateness_ms)
        return Reached(msgspec.structs.replace(target, stage=checked), token, local)

    def _refuse_faults(self, whose: str) -> None:
        if self.profile.faults:
            raise TargetError(
                f"the profile causes faults, and {whose} gets none: only a stage that is started for the run does"
            )

    def _refuse_reshard(self) -> None:
        if self.profile.reshard:
            raise TargetError(
                "the profile reshards, and the emulated Kinesis of this machine loses records when it does; take a "
                "stage on AWS"
            )

    def _start(self, state_dir: Path) -> "LocalStage":
        from localstage import LocalStage, StageError  # noqa: PLC0415 (it loads much that a load on AWS is spared)

        local = self.profile.local
        self.tell(f"starting a local stage of {local.shards} shards")
        try:
            return self.begun.enter_context(
                LocalStage(
                    LOCAL,
                    shards=local.shards,
                    aws_port=0,
                    api_port=0,
                    settings={"API_AUTH": "token", **local.settings},
                    state_dir=state_dir,
                )
            )
        except (StageError, ValueError, OSError) as error:
            raise TargetError(f"the local stage cannot start: {error}") from None

    def _token(self, api: HttpApi, target: Target) -> str | None:
        """The token that was given, none if none is needed, or else one that is issued for the run."""
        if given := given_token(self.environ):
            _refuse_unless_accepted(api.ask("/v1/stream", given).status, f"the token in {TOKEN_VARIABLE}")
            return given
        if api.ask("/v1/stream").status not in NOT_LET_IN:
            return None
        name = f"loadtest-{self.run_id}"
        self.tell(f"issuing the token {name}")
        ledger = TokenLedger(target.client("secretsmanager"), f"highwater-{target.stage.name}-api-tokens")
        lasts_ms = int((self.profile.arrivals.seconds + self.profile.settle_seconds) * 1000) + TOKEN_SPARE_MS
        try:
            token = tokens.issue(ledger, name, [ANY], (now_ms() + lasts_ms) // 1000 * 1000)
        except (LedgerError, MalformedTokensError) as error:
            raise TargetError(f"no token can be issued: {error}") from None
        self.begun.callback(_revoke, ledger, name, self.tell)
        deadline = time.monotonic() + TOKEN_SECONDS
        while (status := api.ask("/v1/stream", token).status) in NOT_LET_IN and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        _refuse_unless_accepted(status, "a token that was issued for the run")
        return token


def _endpoint_url(told: str | None) -> str | None:
    """Where AWS is, as it was told. Raises: TargetError for what botocore would not take."""
    if not told:
        return None
    try:
        where = urlsplit(told)
    except ValueError:
        where = urlsplit("")
    if where.scheme not in {"http", "https"} or not where.hostname:
        raise TargetError(
            f"{told!r} is no URL of AWS; --endpoint-url, or AWS_ENDPOINT_URL, is like {LOCAL_ENDPOINT_URL}"
        )
    return told


def _answers(url: str) -> bool:
    try:
        return HttpApi(url).ask("/v1/health").status == HTTPStatus.OK
    except TargetError:
        return False


def _deployed_api(name: str, endpoint_url: str | None) -> str:
    """Where the API of a deployed stage answers, as its stack tells."""
    try:
        check_stage(PROJECT_DIR, name)
    except ParameterError as error:
        raise TargetError(str(error)) from None
    stack = Stack(aws.client("cloudformation", endpoint_url), f"highwater-{name}")
    try:
        url = api_url(stack.outputs(), endpoint_url)
    except ClientError as error:
        if "does not exist" in str(error):
            raise TargetError(f"there is no stack {stack.name}: the stage is not deployed here") from None
        raise
    if url is None:
        raise TargetError(f"stack {stack.name} does not tell where its API is")
    return url


def _check_health(api: HttpApi, stage: Stage) -> None:
    answer = api.ask("/v1/health")
    try:
        said = msgspec.json.decode(answer.data, type=dict[str, str])
    except msgspec.MsgspecError:
        said = {}
    if answer.status != HTTPStatus.OK or said.get("status") != "ok":
        raise TargetError(f"{api.url}/v1/health answers {answer.status}, and not as a stage does")
    if said.get("stage") != stage.name:
        raise TargetError(f"at {api.url} is stage {said.get('stage')!s:.40}, not {stage.name}")
    skew_ms = _skew_ms(answer.headers.get("Date"))
    if skew_ms > SKEW_MS_MAX:
        raise TargetError(
            f"the clock of this machine and that of stage {stage.name} are {skew_ms / 1000:.0f} s apart: set it first"
        )


def _skew_ms(date: str | None) -> float:
    """How far this clock is from one that has told the date, which is in whole seconds."""
    try:
        told_ms = parsedate_to_datetime(date or "").timestamp() * 1000
    except ValueError:
        return 0
    return max(0.0, abs(now_ms() - told_ms - 500) - 500)


def _revoke(ledger: TokenLedger, name: str, tell: Callable[[str], None]) -> None:
    try:
        tokens.revoke(ledger, name)
    except (BotoCoreError, ClientError, LedgerError, MalformedTokensError) as error:
        tell(f"the token {name} could not be revoked ({aws.reason(error)}); it ends by itself")


def _refuse_unless_accepted(status: int, what: str) -> None:
    if status in NOT_LET_IN:
        raise TargetError(f"the API does not accept {what} ({status})")


def _lateness_ms(api: HttpApi, token: str | None) -> int:
    """The lateness that holds in this stage, of the metrics that the load is counted in."""
    answer = api.ask("/v1/metrics", token)
    if answer.status != HTTPStatus.OK:
        raise TargetError(f"{api.url}/v1/metrics answers {answer.status}")
    metrics = msgspec.json.decode(answer.data)["metrics"]
    lateness_ms = [parse_duration(metric["lateness"]) for metric in metrics if metric["event_type"] == EVENT_TYPE]
    if not lateness_ms:
        raise TargetError(f"{api.url} has no metric of {EVENT_TYPE}, which the load is made of")
    return min(lateness_ms)


def ask_stream(api: HttpApi, token: str | None) -> StreamStanding:
    """How far the stream is. Raises: TargetError."""
    answer = api.ask("/v1/stream", token)
    if answer.status != HTTPStatus.OK:
        raise TargetError(f"{api.url}/v1/stream answers {answer.status}")
    return msgspec.json.decode(answer.data, type=StreamStanding)


def wait_until_it_keeps_up(
    name: str,
    ask: Callable[[], StreamStanding],
    put_ticks: Callable[[], None],
    *,
    patience_seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """See that no shard is behind; one that seems so gets a tick, and time for it.

    Raises: TargetError, naming the shard that is furthest behind.
    """
    if not (behind := _behind(ask().open_shards())):
        return
    put_ticks()
    deadline = clock() + patience_seconds
    while behind := _behind(ask().open_shards()):
        if clock() > deadline:
            worst = max(behind, key=lambda shard: float("inf") if shard.behind_ms is None else shard.behind_ms)
            lag = (
                f"has not committed a record of {patience_seconds:.0f} s ago"
                if worst.behind_ms is None
                else f"is {worst.behind_ms / 1000:.0f} s behind"
            )
            raise TargetError(f"stage {name} is already lagging: shard {worst.shard_id} {lag}")
        sleep(POLL_SECONDS)


def _behind(shards: Sequence[ShardStanding]) -> list[ShardStanding]:
    return [shard for shard in shards if shard.behind_ms is None or shard.behind_ms > LAG_MS_MAX]
