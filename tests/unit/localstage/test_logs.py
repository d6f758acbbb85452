"""Log files that grow."""

import time
from pathlib import Path

from localstage.logs import LogTail


def test_only_new_and_whole_lines_are_shown(tmp_path: Path) -> None:
    log = tmp_path / "function.log"
    log.write_text("old\n")
    seen: list[tuple[str, str]] = []
    with LogTail([log], lambda name, line: seen.append((name, line))), log.open("a") as growing:
        growing.write("new\nhalf a li")
        growing.flush()
        time.sleep(0.5)
        assert seen == [("function", "new")]
        growing.write("ne\n")
        growing.flush()
        time.sleep(0.5)
    assert seen == [("function", "new"), ("function", "half a line")]
