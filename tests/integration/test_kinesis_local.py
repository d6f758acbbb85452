"""kinesis-local as the tests run it: on loopback alone, and no longer than the process that started it."""

import socket
from pathlib import Path

import pytest

from tests.integration.kinesis_local import server
from tests.integration.kinesis_local.server import KinesisLocal

ANOTHER_LOOPBACK = "127.0.0.2"  # answers for who listens on every interface; on some systems for nobody


def test_it_listens_on_loopback_alone_and_ends_when_its_leash_is_gone(tmp_path: Path) -> None:
    server.require()
    with KinesisLocal(tmp_path / "kinesis.log") as running:
        with pytest.raises(OSError, match=r"refused|timed out|unreachable|assign"):
            socket.create_connection((ANOTHER_LOOPBACK, running.port), timeout=1)
        running._process.stdin.close()  # as the kernel does when this process ends, however it ends
        assert running._process.wait(10) == 0
