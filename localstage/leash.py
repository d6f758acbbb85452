"""Runs a Python module that ends with the process that started it, however that one ends.

    python -P leash.py <module> [arguments…]       with standard input a pipe that the parent never closes

When the parent is gone, even by SIGKILL, the kernel closes the pipe, and the whole process group of this one is killed.
Not `PR_SET_PDEATHSIG`: that is Linux alone, and it fires when the *thread* that started the process ends.
"""

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any


def inherited_environment() -> dict[str, str]:
    """The variables that a child takes over; the rest (an AWS profile, say) is none of its affair."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}


def start(
    arguments: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    log: IO[Any],
    flags: Sequence[str] = (),
    script: str = __file__,
) -> subprocess.Popen[bytes]:
    """Start `python <flags> -m <arguments>` on a leash, in a process group of its own, its output into `log`.

    Shapes: script, what runs the module in place of this one, and begins with `end_with_the_parent`.
    """
    return subprocess.Popen(  # noqa: S603 (a module of ours)
        [sys.executable, "-P", *flags, script, *arguments],
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C at the terminal is the stage's to handle, and the group can be killed as one
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """End the process and all that it has started, now; a process that has ended is left alone."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):  # it has ended this very moment
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def end_with_the_parent() -> None:
    """Wait, on a thread of its own, until the parent is gone, and kill the whole process group then."""
    os.read(sys.stdin.fileno(), 1)  # nothing is ever written: this returns at end of file
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Run the module that the arguments name, as `python -m` would."""
    threading.Thread(target=end_with_the_parent, daemon=True).start()
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
