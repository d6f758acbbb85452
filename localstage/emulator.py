"""Emulated AWS: MiniStack as a child process, on loopback alone, with nothing kept when it ends."""

import os
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from localstage import leash
from localstage.errors import StageError

SERVICES = (
    "cloudformation,cloudwatch,dynamodb,dynamodbstreams,events,iam,kinesis,lambda,logs",
    "s3,secretsmanager,sns,sqs,ssm,sts",
)
PORT_OPTION = "--aws-port"
START_TIMEOUT_SECONDS = 30


class Emulator:
    """MiniStack on `http://127.0.0.1:{port}` between `with` and its end; port 0 takes a free one.

    Shapes: module, what is run: MiniStack with what this project puts right in it; services, further ones, by commas.
    Why:    it unzips functions, and a process that is killed clears nothing away. So all that it writes stands in a
            folder that is named after the process that began it: this one removes it, or the next to begin.
    """

    def __init__(
        self, port: int, log_path: Path, *, module: str = "localstage.quick_ministack", services: str = ""
    ) -> None:
        self.port = port or free_port()
        self.endpoint_url = f"http://127.0.0.1:{self.port}"
        self._log_path = log_path
        self._scratch = log_path.parent / f"aws-{os.getpid()}-{self.port}"
        self._module = module
        self._services = ",".join([*SERVICES, *([services] if services else [])])

    def __enter__(self) -> Self:
        refuse_taken_port(self.port, PORT_OPTION)
        _clear_what_was_left(self._log_path.parent)
        self._scratch.mkdir()
        self._log = self._log_path.open("wb", buffering=0)
        self._process = leash.start(
            [self._module],
            cwd=self._log_path.parent,
            environment=_environment_variables(self.port, self._services, scratch=self._scratch),
            log=self._log,
        )
        try:
            self._wait_until_healthy()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leash.kill(self._process)  # asked, it would wait for connections that nobody uses any more; nothing is kept
        self._log.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise StageError(f"the emulated AWS ended at once; {self._log_path} says why")
            try:
                with urllib.request.urlopen(f"{self.endpoint_url}/_ministack/health", timeout=1):  # noqa: S310 (http)
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise StageError(
            f"the emulated AWS did not answer within {START_TIMEOUT_SECONDS} s; {self._log_path} may say why"
        )


def _clear_what_was_left(folder: Path) -> None:
    """Remove the folders of those that are gone; another may be running beside this one."""
    for scratch in folder.glob("aws-*-*"):
        named = re.fullmatch(r"aws-([0-9]+)-[0-9]+", scratch.name)
        if named and not _is_running(int(named[1])):
            shutil.rmtree(scratch, ignore_errors=True)


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def refuse_taken_port(port: int, option: str) -> None:
    """Raises StageError, as `taken_port`, when somebody listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a connection in TIME_WAIT takes no port
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise taken_port(port, option) from None


def taken_port(port: int, option: str) -> StageError:
    """Tell what would help: the option, and Make's variable that is named as it is."""
    variable = option.removeprefix("--").replace("-", "_").upper()
    return StageError(f"port {port} on 127.0.0.1 is taken; choose another with {option} (make: {variable}=)")


def _environment_variables(port: int, services: str, scratch: Path) -> dict[str, str]:
    return {
        **leash.inherited_environment(),
        "BIND_HOST": "127.0.0.1",  # MiniStack's default is every interface
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_ENABLED": "0",  # these two would listen beyond loopback
        "SFTP_ENABLED": "0",
        "LOG_LEVEL": "WARNING",
        "MINISTACK_REGION": "us-east-1",
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "SERVICES": services,
        "TMPDIR": str(scratch),
    }
