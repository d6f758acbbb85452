"""The AWS calls that the functions of local stages make, recorded while a test runs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDER = Path(__file__).parent / "recorder"


@dataclass(frozen=True, slots=True)
class Call:
    """One call: function by its policy's name, service and operation by botocore's."""

    stage: str
    function: str
    service: str
    operation: str
    parameters: Mapping[str, Any]


class Recording:
    """What stages record into one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def settings(self) -> dict[str, str]:
        """The settings by which a `LocalStage` has its functions record their calls here."""
        return {"PYTHONPATH": str(RECORDER), "RECORDED_CALLS": str(self._folder)}

    def calls(self) -> Iterator[Call]:
        """Every call that was made so far."""
        for path in self._folder.glob("*.jsonl"):
            yield from (Call(**json.loads(line)) for line in path.read_text().splitlines())
