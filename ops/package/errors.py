"""What packaging refuses with."""

import re
from pathlib import Path

OURS = re.compile(r"^chalicelib\.errors\.\w+: ")  # a traceback names the class; what is wrong stands behind it
PLACE = re.compile(r'^ *File "(?P<file>[^"]+)", line (?P<line>[0-9]+)', re.MULTILINE)


class PackageError(Exception):
    """The package cannot be made, or not be deployed; the text is one line for whoever does it."""


def told_by(output: str, project: Path) -> PackageError:
    """What a process that failed told at last; of an exception that is not ours, where in the project it was raised."""
    (last,) = [line.strip() for line in output.splitlines() if line.strip()][-1:] or ["it failed, and told nothing"]
    if OURS.match(last):
        return PackageError(OURS.sub("", last))
    paths = [(Path(place["file"]), place["line"]) for place in PLACE.finditer(output)]
    places = [f"{path.relative_to(project)}, line {line}: " for path, line in paths if path.is_relative_to(project)]
    return PackageError("".join(places[-1:]) + last.removeprefix("Error: "))
