"""A Kinesis that splits and merges shards as AWS does: kinesis-local, on Node, as a child process on loopback alone.

MiniStack throws the records of a shard away when it is split or merged, so resharding is tried here. It is slow and
keeps everything in memory: streams of some thousands of records, no more.

Where it differs from AWS: a closed shard's ending sequence number is one constant, a child takes records while the
stream is still UPDATING, and nothing is throttled.
"""

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from localstage import leash
from localstage.emulator import free_port

HERE = Path(__file__).resolve().parent
PACKAGE = HERE / "node_modules" / "kinesis-local"
START_TIMEOUT_SECONDS = 30


def require() -> None:
    """Skip the test where there is no Node to run kinesis-local; where `CI` is set, fail it: nothing is skipped there.

    Why: a laptop without Node runs all other tests, and says which it did not; `make test` installs the package
         wherever there is npm.
    """
    missing = "Node" if shutil.which("node") is None else "its package (make test installs it, with npm)"
    if missing == "Node" or not PACKAGE.is_dir():
        reason = f"resharding is not tried: kinesis-local lacks {missing}"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


class KinesisLocal:
    """kinesis-local on `http://127.0.0.1:{port}`, a free one, between `with` and its end."""

    def __init__(self, log_path: Path) -> None:
        self.port = free_port()
        self.endpoint_url = f"http://127.0.0.1:{self.port}"
        self._log_path = log_path

    def __enter__(self) -> Self:
        self._log = self._log_path.open("wb", buffering=0)
        self._process = subprocess.Popen(
            ["node", "--require", str(HERE / "loopback.cjs"), str(PACKAGE / "main.js")],  # noqa: S607 (the PATH's Node)
            cwd=self._log_path.parent,
            env=_environment_variables(self.port),
            stdin=subprocess.PIPE,  # its leash: loopback.cjs ends the process when this closes
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
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
        leash.kill(self._process)
        self._log.close()

    def _wait_until_healthy(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.endpoint_url}/healthcheck", timeout=1):  # noqa: S310 (http)
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise RuntimeError(f"kinesis-local did not start: {self._log_path.read_text()[-2_000:]}")


def _environment_variables(port: int) -> dict[str, str]:
    return {
        **leash.inherited_environment(),
        "KINESIS_MOCK_PLAIN_PORT": str(port),
        "KINESIS_MOCK_TLS_PORT": "0",  # it cannot be told to do without TLS: any free port, never used
        "KINESIS_MOCK_CERT_PATH": str(PACKAGE / "server.json"),
        "LOG_LEVEL": "WARN",
        "LOAD_DATA_IF_EXISTS": "false",
        "SHARD_LIMIT": "50",
        # Short of AWS's half a minute, and not nothing: for this long the stream is UPDATING, and takes records.
        "CREATE_STREAM_DURATION": "100ms",
        "DELETE_STREAM_DURATION": "100ms",
        "SPLIT_SHARD_DURATION": "500ms",
        "MERGE_SHARDS_DURATION": "500ms",
    }
