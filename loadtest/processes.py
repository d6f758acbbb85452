"""Locust's processes: a master and workers, each of which ends with this one, however this one ends.

Locust changes the whole process that it is imported in, so it is never imported here.
"""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from loadtest.generate.plan import PLAN_VARIABLE
from loadtest.recording import StageKind
from loadtest.target import TOKEN_VARIABLE, Reached
from localstage import leash
from localstage.emulator import free_port

PROJECT_DIR = Path(__file__).resolve().parent.parent
LOCUSTFILE = PROJECT_DIR / "loadtest" / "locustfile.py"
SCRIPT = PROJECT_DIR / "loadtest" / "generate" / "process.py"
LOOPBACK = "127.0.0.1"
EVERY_ADDRESS = {"*", "0.0.0.0"}  # noqa: S104 (whoever asks for them means them)
END_SECONDS = 10


def why_not_bound(host: str, port: int) -> str | None:
    """Why no master can listen there; None when one can."""
    try:
        socket.create_server(("" if host in EVERY_ADDRESS else host, port)).close()
    except OSError as error:
        return f"nothing can listen there: {error.strerror}"
    return None


def seen_from_here(host: str) -> str:
    """Where a master that listens there is for workers of this machine."""
    return LOOPBACK if host in EVERY_ADDRESS else host


class LocustProcesses:
    """The processes, running between `with` and its end.

    Shapes: plan, JSON, what the master is to do; workers, how many are started here; expected, how many there are in
            all; bind, where others reach the master: `HOST:PORT`, None for no others.
    """

    def __init__(
        self, folder: Path, plan: bytes, found: Reached, *, workers: int, expected: int, bind: tuple[str, int] | None
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._found = found
        self._workers = workers
        self._expected = expected
        self.host, self.port = bind or (LOOPBACK, free_port())
        self._began = ExitStack()
        self._master: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            log = self._began.enter_context((self._folder / "locust.log").open("wb"))
            of_master = ["--master", "--headless", "--only-summary", "--html", str(self._folder / "locust.html")]
            of_master += ["--master-bind-host", self.host, "--master-bind-port", str(self.port)]
            of_master += ["--expect-workers", str(self._expected)]
            self._master = self._start(of_master, {PLAN_VARIABLE: self._plan.decode()}, log)
            near = seen_from_here(self.host)
            for _ in range(self._workers):
                self._start(["--worker", "--master-host", near, "--master-port", str(self.port)], {}, log)
        except BaseException:
            self._began.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._began.close()

    def is_running(self) -> bool:
        """Whether the master still runs: it ends when the recording is written."""
        return self._master is not None and self._master.poll() is None

    def _start(self, arguments: list[str], more: Mapping[str, str], log: IO[Any]) -> subprocess.Popen[bytes]:
        is_aws = self._found.target.stage.kind is StageKind.AWS
        environment = dict(os.environ) if is_aws else leash.inherited_environment()
        environment |= {TOKEN_VARIABLE: self._found.token} if self._found.token else {}
        process = leash.start(
            ["-f", str(LOCUSTFILE), *arguments],
            cwd=PROJECT_DIR,
            environment={**environment, **more},
            log=log,
            script=str(SCRIPT),
        )
        self._began.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, at its leisure if it will."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        leash.kill(process)
