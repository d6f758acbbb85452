"""What is decided of a run before its load begins, and the files in its folder."""

import os
import platform
import secrets
import time
from importlib.metadata import version

from msgspec import Struct

from loadtest.profile import Profile
from loadtest.target import Target

PLAN_VARIABLE = "HIGHWATER_LOADTEST"  # by which `python -m loadtest` tells Locust's master the plan
RUN, PROGRESS, RECORDING = "run.json", "progress.jsonl", "recording.json"
VERSIONS = ("locust", "gevent", "boto3", "msgspec", "orjson", "ministack")


class Plan(Struct, frozen=True):
    """What the master is to do.

    Shapes: folder, where all is written to; command, the line that began it; needs_token, whether
            the API lets nobody in without one.
    """

    run_id: str
    profile_name: str
    profile: Profile
    target: Target
    folder: str
    command: str
    needs_token: bool


def new_run_id() -> str:
    """An id that no other run has; later ones sort behind earlier ones."""
    return f"{int(time.time()):x}{secrets.token_hex(2)}"


def versions() -> dict[str, str]:
    """Of what the load is made with."""
    return {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}}


def machine() -> str:
    """What the load is made on."""
    return f"{platform.system()} {platform.release()} {platform.machine()}, {os.cpu_count()} cores"
