"""What packaging refuses with."""

import re

OURS = re.compile(r"^chalicelib\.errors\.\w+: ")  # a traceback names the class; what is wrong stands behind it


class PackageError(Exception):
    """The package cannot be made; the text is one line for whoever makes it."""


def told_by(output: str) -> PackageError:
    """What a process that failed told at last."""
    last = [line for line in output.splitlines() if line.strip()][-1:] or ["it failed, and told nothing"]
    return PackageError(OURS.sub("", last[0].strip().removeprefix("Error: ")))
