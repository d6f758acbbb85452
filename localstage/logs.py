"""Follows the functions' log files and hands on each new line."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

POLL_SECONDS = 0.2


class LogTail:
    """Calls `show(name, line)` for every line that is added to one of the files between `with` and its end."""

    def __init__(self, paths: Sequence[Path], show: Callable[[str, str], None]) -> None:
        self._positions = {path: path.stat().st_size for path in paths}
        self._show = show
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="log-tail", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            for path in self._positions:
                self._show_what_is_new(path)

    def _show_what_is_new(self, path: Path) -> None:
        with path.open("rb") as log:
            log.seek(self._positions[path])
            text = log.read()
        whole_lines = text[: text.rfind(b"\n") + 1]
        self._positions[path] += len(whole_lines)
        for line in whole_lines.decode("utf-8", "replace").splitlines():
            self._show(path.stem, line)
