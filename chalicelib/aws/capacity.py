"""What a DynamoDB call cost, as its answer tells when `ReturnConsumedCapacity` asks for it."""

from collections.abc import Mapping
from typing import Any


def write_units_of(answer: Mapping[str, Any]) -> float:
    """The write units that a put took; 0 when the answer does not tell."""
    return float(answer.get("ConsumedCapacity", {}).get("CapacityUnits", 0))
