"""An engine that needs packages of its own: in a virtual environment and a process of its own, made by the benchmark.

The process is told to count by a line of JSON on its standard input, and answers by a line on its standard output:
`{"rows": [[minute, currency, order_type, count, revenue], …], "events": n}`. CPU is that of the process and of all that
it has started, as the kernel counts it. When its input ends, so does it.
"""

import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import IO, Any, Self

import msgspec
import psutil

from benchmarks.engines.engine import UnavailableError
from benchmarks.result import PROJECT
from localstage import leash

HERE = Path(__file__).parent
ENVIRONMENTS = PROJECT / "out" / "engines"  # one folder for each engine
INSTALLED = ".installed"  # holds the requirements that are
INSTALL_TIMEOUT_SECONDS = 600
STOP_TIMEOUT_SECONDS = 10


class Answer(msgspec.Struct, frozen=True):
    """What the process counted."""

    rows: list[tuple[str, str, str, int, str]]
    events: int


def python_of(requirements: Path, environment: Path, *, installs: bool = True) -> Path:
    """The Python of the environment with these requirements, made if there is none.

    Raises: UnavailableError when it cannot be made, or is not there and is not to be.
    """
    python, installed = environment / "bin" / "python", environment / INSTALLED
    if installed.exists() and installed.read_bytes() == requirements.read_bytes():
        return python
    if not installs:
        raise UnavailableError("its environment has not been made")
    _run([sys.executable, "-m", "venv", "--clear", str(environment)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)])
    installed.write_bytes(requirements.read_bytes())
    return python


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603  our own words
            command, capture_output=True, text=True, check=False, timeout=INSTALL_TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"it did not install within {INSTALL_TIMEOUT_SECONDS} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no reason was told"]
        raise UnavailableError(f"it does not install: {lines[-1].strip()}")


class Apart:
    """The process between `with` and its end."""

    def __init__(self, python: Path, program: Path, log: Path) -> None:
        self._python, self._program, self._log_path = python, program, log

    def __enter__(self) -> Self:
        self._log: IO[bytes] = self._log_path.open("wb")
        self._process = subprocess.Popen(  # noqa: S603  a module of ours
            [str(self._python), "-P", str(self._program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=leash.inherited_environment(),
            cwd=self._log_path.parent,
            start_new_session=True,  # so that it and all that it has started can be ended as one
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._input.close()
        try:
            self._process.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            leash.kill(self._process)
        self._output.close()
        self._log.close()

    def ask(self, **request: Any) -> tuple[Answer, float, float]:
        """Have it count. Returns: what it counted, and its seconds of CPU and of the clock.

        Raises: UnavailableError when it ended instead.
        """
        wall, cpu = perf_counter(), self._cpu_seconds()
        self._input.write(msgspec.json.encode(request) + b"\n")
        self._input.flush()
        line = self._output.readline()
        wall_seconds = perf_counter() - wall
        if not line:
            raise UnavailableError(f"it ended: {self._last_words()}")
        cpu_seconds = self._cpu_seconds() - cpu
        return msgspec.json.decode(line, type=Answer), cpu_seconds, wall_seconds

    def _cpu_seconds(self) -> float:
        me = psutil.Process(self._process.pid)
        total = 0.0
        for each in [me, *me.children(recursive=True)]:
            try:
                times = each.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total

    @property
    def _input(self) -> IO[bytes]:
        return _there(self._process.stdin)

    @property
    def _output(self) -> IO[bytes]:
        return _there(self._process.stdout)

    def _last_words(self) -> str:
        self._process.wait(STOP_TIMEOUT_SECONDS)
        lines = [line for line in self._log_path.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip()[:300] if lines else f"exit code {self._process.returncode}"


def _there(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("the process was started without this pipe")
    return pipe
