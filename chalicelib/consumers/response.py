"""The partial batch response: which items of a batch Lambda is to deliver again. Only this file knows its form.

Source: AWS Lambda Developer Guide, "Configuring partial batch response".
"""

from collections.abc import Iterable
from typing import Any


def deliver_again(items: Iterable[str | None]) -> dict[str, Any]:
    """The answer that has these delivered again: message ids of a queue, or of a stream the first sequence number.

    Shapes: None is nothing to deliver again.
    """
    return {"batchItemFailures": [{"itemIdentifier": item} for item in items if item is not None]}
