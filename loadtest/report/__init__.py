"""What a load test has measured: as a struct, as JSON, as one page of HTML and on the terminal.

report = make(recording, prove(recording, expected, api))
write(report, folder)       # report.json, report.html
show(report, Console())     # ends in one line with the verdict
"""

from pathlib import Path

import msgspec

from loadtest.report.page import render
from loadtest.report.report import SCHEMA, Report, make
from loadtest.report.terminal import show

__all__ = ["SCHEMA", "Report", "make", "read", "render", "show", "write"]

JSON_NAME, HTML_NAME = "report.json", "report.html"


def write(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write report.json and report.html into the folder. Returns: their paths. Raises: OSError."""
    json_path, html_path = folder / JSON_NAME, folder / HTML_NAME
    json_path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1))
    html_path.write_text(render(report), encoding="utf-8")
    return json_path, html_path


def read(path: Path) -> Report:
    """Read a report.json, or that of a folder. Raises: OSError; msgspec.MsgspecError when it is none."""
    return msgspec.json.decode((path / JSON_NAME if path.is_dir() else path).read_bytes(), type=Report)
