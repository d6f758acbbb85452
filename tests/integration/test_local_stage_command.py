"""`python -m localstage` as a user runs it, with the real application: what it leaves behind is nothing."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

from localstage.emulator import free_port

PROJECT_DIR = Path(__file__).parent.parent.parent
PATIENCE_SECONDS = 20


class Command:
    """The command, running; and every process that came of it."""

    def __init__(self, aws_port: int, api_port: int) -> None:
        self.ports = (aws_port, api_port)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "localstage", "--aws-port", str(aws_port), "--api-port", str(api_port)],
            cwd=PROJECT_DIR,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output: list[str] = []

    def wait_until_up(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output.append(line)
            if "Ctrl-C stops it" in line:
                break
        else:
            pytest.fail("".join(self.output))
        urllib3.request("GET", f"http://127.0.0.1:{self.ports[1]}/v1/metrics", retries=False)  # a function runs too

    def descendants(self) -> set[int]:
        table = ps("-A", "-o", "pid=,ppid=")
        parent_of = {int(pid): int(parent) for pid, parent in (line.split() for line in table.splitlines())}
        found = {self.process.pid}
        while more := {pid for pid, parent in parent_of.items() if parent in found} - found:
            found |= more
        return found - {self.process.pid}


def ps(*arguments: str) -> str:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout  # noqa: S607


@contextmanager
def running() -> Iterator[Command]:
    command = Command(free_port(), free_port())
    try:
        command.wait_until_up()
        yield command
    finally:
        command.process.kill()
        command.process.communicate()


def is_running(pid: int) -> bool:
    """A zombie is not: it waits for whoever inherits it to read its status."""
    state = ps("-o", "stat=", "-p", str(pid)).strip()
    return bool(state) and not state.startswith("Z")


def assert_nothing_is_left(pids: set[int], ports: tuple[int, int]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while left := {pid for pid in pids if is_running(pid)}:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)
    for port in ports:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"somebody still listens on {port}"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_it_is_stopped_no_process_and_no_port_is_left(stop: signal.Signals) -> None:
    with running() as command:
        pids = command.descendants()
        assert len(pids) >= 1
        command.process.send_signal(stop)
        command.process.wait(PATIENCE_SECONDS)
        assert command.process.returncode == (-signal.SIGKILL if stop == signal.SIGKILL else 0)
        assert_nothing_is_left(pids, command.ports)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads the kernel's own table")
def test_nothing_listens_beyond_loopback() -> None:
    with running() as command:
        inodes = set()
        for pid in {command.process.pid} | command.descendants():
            for handle in Path(f"/proc/{pid}/fd").iterdir():
                inodes.add(str(handle.readlink()).removeprefix("socket:[").removesuffix("]"))
        rows = [
            line.split()
            for table in ("tcp", "tcp6")
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        ]
        listening = {row[1] for row in rows if row[3] == "0A" and row[9] in inodes}
        assert {int(address.split(":")[1], 16) for address in listening} >= set(command.ports)
        assert {address.split(":")[0] for address in listening} == {"0100007F"}


def test_the_summary_says_where_everything_is() -> None:
    with running() as command:
        summary = "".join(command.output)
        aws_port, api_port = command.ports
        assert f"http://127.0.0.1:{api_port}" in summary
        assert f"export AWS_ENDPOINT_URL=http://127.0.0.1:{aws_port}" in summary
        assert "highwater-local-events" in summary
        assert "highwater-local-redrive → app.redrive" in summary


@pytest.mark.parametrize("option", ["--aws-port", "--api-port"])
def test_a_taken_port_is_one_line_and_exit_code_2(option: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        other = "--api-port" if option == "--aws-port" else "--aws-port"
        done = run(option, port, other, "0")
    assert done.returncode == 2
    variable = {"--aws-port": "AWS_PORT", "--api-port": "API_PORT"}[option]
    told = f"localstage: port {port} on 127.0.0.1 is taken; choose another with {option} (make: {variable}=)\n"
    assert done.stderr == told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--stage", "No!"], "localstage: parameter Stage must be a name of 1 to 20 of a-z, 0-9 and -"),
        (["--redeliver", "2"], "localstage: redeliver is 2.0; it is a fraction from 0 to 1"),
        (["--api-prefix", "api"], "localstage: the API's prefix is / and a name of A-Z, a-z, 0-9, _ and -, not 'api'"),
        (["--set", "LATENESS"], "'LATENESS' is not NAME=VALUE"),
    ],
)
def test_a_bad_argument_is_named_with_exit_code_2(arguments: list[str], message: str) -> None:
    done = run("--aws-port", "0", "--api-port", "0", *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "localstage", *arguments],
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
