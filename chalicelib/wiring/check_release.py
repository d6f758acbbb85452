"""`check_release`: whether a new version of a function may take traffic."""

from collections.abc import Mapping
from typing import Any


def answer(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Say whether a new version of a function may take traffic, before it does: CodeDeploy asks."""
    raise NotImplementedError


def make() -> None:
    """Nothing: what is checked is made when it is asked for."""
