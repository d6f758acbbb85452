"""A Lambda function in processes of its own, so that a time-out or a crash is a real one.

Each execution environment is one process, AWS's own runtime interface client (`awslambdaric`) around the handler, and
the Lambda Runtime API that this client talks to, on a loopback port of its own: whoever asks there is that process.
Why a process and not a thread: docs/decisions/0002-local-lambda-runtime.md.

A function imports what this environment has, or, told `imports`, nothing beside Python's own but what stands there: so
what is missing from a package is missed.

Source: AWS Lambda Developer Guide, "Using the Lambda runtime API".
"""

import importlib.metadata
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

import orjson

from localstage import leash

INIT_TIMEOUT_SECONDS = 60  # Lambda gives 10 on a machine of its own; here every function starts at once on this one
WORK_SECONDS_BEFORE_A_KILL = 0.2  # by then a handler of ours has done some of its work; most take longer for all
KILL_POLL_SECONDS = 0.005
RESPONSE_BYTES_MAX = 6_291_556  # Lambda's limit for the answer of a synchronous invocation
INVOCATION = "/2018-06-01/runtime/invocation/"
NEXT = INVOCATION + "next"
INIT_ERROR = "/2018-06-01/runtime/init/error"
TRACE_CAUSE = "Lambda-Runtime-Function-XRay-Error-Cause"
CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")  # AWS's runtime client, and what it needs itself


@dataclass(frozen=True, slots=True)
class Answer:
    """What an invocation came to: the function's JSON; or, of a `function_error`, Lambda's JSON that describes it.

    Shapes: trace_cause is what the runtime client has Lambda write of the error into its segment of the trace, JSON.
    """

    payload: bytes
    request_id: str
    function_error: bool = False
    trace_cause: str = ""


@dataclass(frozen=True, slots=True)
class FunctionSpec:
    """One function as Lambda would be told of it.

    Shapes: imports, the folders from which alone it imports, after its own and before Python's own, `client_folder`'s
            among them; None, whatever this environment has.
    """

    name: str
    handler: str
    arn: str
    project_dir: Path
    environment: Mapping[str, str]
    timeout_seconds: int = 60
    memory_mb: int = 128
    concurrency: int = 4
    is_traced: bool = False  # whether X-Ray has picked its invocations
    imports: Sequence[Path] | None = None


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What a start came to: until its process first asked for an invocation; and the most memory that it has had."""

    seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Invoked:
    """How often a function was invoked, and how long that took together, by the memory it has."""

    count: int = 0
    gb_seconds: float = 0


class InitError(Exception):
    """The function cannot be initialised; the text is one line."""


class FunctionClosedError(Exception):
    """The stage is stopping: nothing is known of this invocation, and nothing may be concluded from it."""


class Function:
    """Invokes one function in environments created on demand, up to its concurrency, and used again while warm."""

    def __init__(self, spec: FunctionSpec, log_path: Path) -> None:
        self.spec = spec
        self.log_path = log_path
        self._log = log_path.open("ab", buffering=0)
        self._log.truncate(0)  # a log is of one run
        self._free = threading.Semaphore(spec.concurrency)
        self._warm: list[_Environment] = []  # the last one used comes first: fewer are needed
        self._all: set[_Environment] = set()
        self._lock = threading.Lock()
        self._closed = False
        self.invoked = Invoked()

    def invoke(self, event: bytes) -> Answer:
        """Run the function on one event (JSON); waits while as many invocations as its concurrency are under way.

        Raises: FunctionClosedError when the function is closed meanwhile.
        """
        with self._free:
            environment = self._take()
            began = time.monotonic()
            answer = environment.invoke(event)
            self._count(time.monotonic() - began)
            self._give_back(environment)
        if self._closed:
            raise FunctionClosedError(self.spec.name)
        return answer

    def cold_start(self) -> ColdStart:
        """Start a new environment and wait until it is initialised; the next invocation is its first.

        Raises: InitError when it ends before, with what it told.
        """
        with self._lock:
            if self._closed:
                raise FunctionClosedError(self.spec.name)
            environment = _Environment(self.spec, self._log)
            self._all.add(environment)
        try:
            return environment.cold_start()
        finally:
            self._give_back(environment)

    def peak_memory_bytes(self) -> int:
        """The most memory that any of the processes alive has had at once. Linux alone tells."""
        with self._lock:
            return max(
                (environment.peak_memory_bytes() for environment in self._all if environment.is_alive), default=0
            )

    def kill_worker(self, patience_seconds: float, after_seconds: float = WORK_SECONDS_BEFORE_A_KILL) -> bool:
        """Kill, by SIGKILL, a process that has worked on an invocation for `after_seconds`; wait until there is one.

        Returns: whether an invocation has ended by it, which is then a `Runtime.ExitError` as of any crash; False when
                 none was under way long enough within the patience. A process that answered at the very moment does not
                 count, and another one is waited for.
        """
        give_up_at = time.monotonic() + patience_seconds
        while True:
            with self._lock:
                environments = list(self._all)
            if any(environment.kill_at_work(after_seconds) for environment in environments):
                return True
            if self._closed or time.monotonic() >= give_up_at:
                return False
            time.sleep(KILL_POLL_SECONDS)

    def close(self) -> None:
        """Kill every environment; an invocation under way ends with FunctionClosedError."""
        with self._lock:
            self._closed = True
            environments = list(self._all)
        with ThreadPoolExecutor(max(1, len(environments))) as at_once:  # each takes a tenth of a second to be gone
            list(at_once.map(_Environment.kill, environments))
        self._log.close()

    def _count(self, seconds: float) -> None:
        with self._lock:
            before = self.invoked
            self.invoked = Invoked(before.count + 1, before.gb_seconds + seconds * self.spec.memory_mb / 1024)

    def _take(self) -> "_Environment":
        with self._lock:
            if self._closed:
                raise FunctionClosedError(self.spec.name)
            while self._warm:
                environment = self._warm.pop()
                if environment.is_alive:
                    return environment
                environment.kill()  # it ended by itself while idle
                self._all.discard(environment)
            environment = _Environment(self.spec, self._log)
            self._all.add(environment)
            return environment

    def _give_back(self, environment: "_Environment") -> None:
        with self._lock:
            if environment.is_alive:
                self._warm.append(environment)
            else:
                environment.kill()  # its Runtime API, if it was killed while it answered
                self._all.discard(environment)


@dataclass(frozen=True, slots=True)
class _Invocation:
    request_id: str
    event: bytes
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """The process has asked for an invocation: it is initialised, and done with the one before."""


@dataclass(frozen=True, slots=True)
class _Exited:
    """The process has ended."""


_Report = Answer | _Asked | _Exited


@dataclass(slots=True, eq=False)
class _Work:
    """An invocation that the process has been given; `report` is what ended it, None a time-out."""

    began: float = field(default_factory=time.monotonic)
    ended: threading.Event = field(default_factory=threading.Event)
    report: _Report | None = None


class _Environment:
    """One process and its Runtime API: one invocation at a time, until the first that fails the process."""

    def __init__(self, spec: FunctionSpec, log: IO[bytes]) -> None:
        self.spec = spec
        self.is_alive = True
        self.invocations: SimpleQueue[_Invocation | None] = SimpleQueue()
        self.reports: SimpleQueue[_Report] = SimpleQueue()
        self._work: _Work | None = None
        self._work_lock = threading.Lock()  # so that what is killed is the invocation that was looked at
        self._api = _RuntimeApi(self)
        self._started = time.perf_counter()
        self._process = leash.start(
            ["awslambdaric", spec.handler],
            cwd=spec.project_dir,
            environment=_environment_variables(spec, self._api.server_port),
            log=log,
            flags=() if spec.imports is None else ("-s", "-S"),
        )
        threading.Thread(
            target=self._api.serve_forever, args=(0.1,), name=f"{spec.name}-runtime-api", daemon=True
        ).start()
        threading.Thread(target=self._watch, name=f"{spec.name}-watch", daemon=True).start()

    def invoke(self, event: bytes) -> Answer:
        """Run one invocation to its end, whatever that is."""
        request_id = str(uuid.uuid4())
        report = self._next_report(INIT_TIMEOUT_SECONDS)
        if isinstance(report, _Asked):
            # The function's time begins here: initialisation is not counted, as on Lambda.
            deadline_ms = int((time.time() + self.spec.timeout_seconds) * 1000)
            report = self._run(_Invocation(request_id, event, deadline_ms))
            if isinstance(report, Answer):
                return report
        self.kill()
        if isinstance(report, Answer):  # the error of its initialisation, by which the process has ended itself
            return report
        if isinstance(report, _Exited):
            return _failure(
                request_id, "Runtime.ExitError", f"Runtime exited with error: {_how_it_ended(self._process)}"
            )
        return _failure(request_id, "Sandbox.Timedout", f"Task timed out after {self.spec.timeout_seconds:.2f} seconds")

    def cold_start(self) -> ColdStart:
        """Wait until it is initialised, and leave it as it is then."""
        report = self._next_report(INIT_TIMEOUT_SECONDS)
        seconds = time.perf_counter() - self._started
        if not isinstance(report, _Asked):
            self.kill()
            if isinstance(report, Answer):
                told = orjson.loads(report.payload)
                raise InitError(f"{self.spec.name}: {told['errorType']}: {told['errorMessage']}")
            raise InitError(f"{self.spec.name}: {_how_it_ended(self._process)} before it was initialised")
        self.reports.put(report)  # whoever invokes waits for it
        return ColdStart(seconds, self.peak_memory_bytes())

    def peak_memory_bytes(self) -> int:
        """The most memory that the process has had at once; 0 when it has ended."""
        try:
            status = Path(f"/proc/{self._process.pid}/status").read_text()
        except FileNotFoundError:
            return 0
        kib = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(kib[0]) * 1024 if kib else 0

    def kill_at_work(self, after_seconds: float) -> bool:
        """Kill the process if it has worked on an invocation for that long; say whether that ended the invocation."""
        with self._work_lock:
            work = self._work
            if work is None or time.monotonic() - work.began < after_seconds:
                return False
            self.is_alive = False
            leash.kill(self._process)
        work.ended.wait()  # not for long: the process's end is reported, if its answer was not before
        ended_by_a_kill = self._process.returncode == -signal.SIGKILL  # and not by itself, a moment before
        return isinstance(work.report, _Exited) and ended_by_a_kill

    def kill(self) -> None:
        """End the process and its Runtime API; to do so again does nothing."""
        self.is_alive = False
        leash.kill(self._process)
        self.invocations.put(None)  # for the thread that waits for one on the process's behalf
        self._api.shutdown()
        self._api.server_close()

    def _run(self, invocation: _Invocation) -> _Report | None:
        """Give the process the invocation; return what ended it, None when its time is over."""
        work = _Work()
        with self._work_lock:
            self._work = work
        self.invocations.put(invocation)
        work.report = self._next_report(self.spec.timeout_seconds)
        with self._work_lock:
            self._work = None
        work.ended.set()
        return work.report

    def _next_report(self, timeout_seconds: float) -> _Report | None:
        try:
            return self.reports.get(timeout=timeout_seconds)
        except Empty:
            return None

    def _watch(self) -> None:
        self._process.wait()
        self.is_alive = False
        self.reports.put(_Exited())


class _RuntimeApi(ThreadingHTTPServer):
    """The Lambda Runtime API of one environment."""

    def __init__(self, environment: _Environment) -> None:
        self.environment = environment
        super().__init__(("127.0.0.1", 0), _RuntimeApiHandler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a process that is killed resets its connections, and its end is reported by `_Exited`."""


class _RuntimeApiHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one segment: in two, Nagle's algorithm holds the second back for 40 ms
    server: _RuntimeApi

    def do_GET(self) -> None:
        if self.path != NEXT:
            self._reply(HTTPStatus.NOT_FOUND)
            return
        environment = self.server.environment
        environment.reports.put(_Asked())
        invocation = environment.invocations.get()
        if invocation is None:
            self.close_connection = True
            return
        self._reply(
            HTTPStatus.OK,
            invocation.event,
            {
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
                "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": environment.spec.arn,
                "Lambda-Runtime-Trace-Id": _trace_header(environment.spec.is_traced),
            },
        )

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == INIT_ERROR:
            answer = Answer(body, request_id="", function_error=True)
        else:
            request_id, _, kind = self.path.removeprefix(INVOCATION).partition("/")
            answer = Answer(body, request_id, kind == "error", self.headers.get(TRACE_CAUSE, ""))
            if len(body) > RESPONSE_BYTES_MAX:
                answer = _failure(
                    request_id,
                    "Function.ResponseSizeTooLarge",
                    f"Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes).",
                )
        self.server.environment.reports.put(answer)
        self._reply(HTTPStatus.ACCEPTED)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: these requests are between the stage and its own processes."""

    def _reply(self, status: HTTPStatus, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response_only(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _trace_header(is_sampled: bool) -> str:
    """As Lambda hands it to an invocation: the trace, Lambda's own segment of it, and whether it is kept.

    Source: AWS X-Ray Developer Guide, "Tracing header".
    """
    root = f"1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]}"
    return f"Root={root};Parent={uuid.uuid4().hex[:16]};Sampled={int(is_sampled)}"


def _environment_variables(spec: FunctionSpec, runtime_api_port: int) -> dict[str, str]:
    """Those that Lambda sets, around those of the function.

    Source: AWS Lambda Developer Guide, "Defined runtime environment variables".
    """
    imports = spec.imports
    # Where nothing but the folders counts, nothing may be written either: Lambda's file system is read-only.
    alone = {"PYTHONPATH": os.pathsep.join(map(str, imports)), "PYTHONDONTWRITEBYTECODE": "1"} if imports else {}
    return {
        **leash.inherited_environment(),
        **alone,
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PYTHONUNBUFFERED": "1",
        **spec.environment,
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec.memory_mb),
        "AWS_LAMBDA_FUNCTION_NAME": spec.name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{spec.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[$LATEST]{uuid.uuid4().hex}",
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{runtime_api_port}",
        "LAMBDA_TASK_ROOT": str(spec.project_dir),
        "_HANDLER": spec.handler,
    }


def client_folder(folder: Path) -> Path:
    """Make a folder of AWS's runtime client and what it needs, and nothing else: what Lambda has in /var/runtime.

    Why links: so the client's own byte code serves, as on Lambda.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in CLIENT:
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or () if not file.parts[0].endswith(".dist-info")}:
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(Path(str(distribution.locate_file(top))).resolve())
    return folder


def _failure(request_id: str, error_type: str, message: str) -> Answer:
    payload = orjson.dumps(
        {"errorMessage": f"RequestId: {request_id} Error: {message}", "errorType": error_type, "stackTrace": []}
    )
    return Answer(payload, request_id, function_error=True)


def _how_it_ended(process: subprocess.Popen[bytes]) -> str:
    status = process.wait()
    return f"signal: {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
