"""How often a batch that succeeded is delivered once more, on purpose.

Delivery is at least once, and counting exactly is Highwater's own affair: a demonstration need not wait for luck.
"""

import threading


class Redelivery:
    """Says yes to the given share of the questions, whichever shard asks, evenly spread and without chance."""

    def __init__(self, fraction: float) -> None:
        if not 0 <= fraction <= 1:
            raise ValueError(f"redeliver is {fraction}; it is a fraction from 0 to 1")
        self.count = 0
        self._fraction = fraction
        self._due = 0.5  # half-way there, so that a short demonstration sees one early
        self._lock = threading.Lock()

    def __call__(self) -> bool:
        """Whether the batch that just succeeded is to be delivered again."""
        with self._lock:
            self._due += self._fraction
            is_due = self._fraction > 0 and self._due >= 1
            if is_due:
                self._due -= 1
                self.count += 1
            return is_due
