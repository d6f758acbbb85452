"""Open arrivals: what is due goes out when it is due, whether or not the stage has dealt with what was due before.

A load that waits for the answers of a slow stage spares it, and measures it as faster than its users would find it.

Source: Gil Tene, "How NOT to Measure Latency", on coordinated omission.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Due(Protocol):
    """What has an instant at which it is due, epoch milliseconds."""

    @property
    def due_ms(self) -> int:
        """That instant."""


SomeDue = TypeVar("SomeDue", bound=Due)
Clock = Callable[[], int]
Sleep = Callable[[float], None]


def when_due(slots: Iterable[SomeDue], clock_ms: Clock, sleep: Sleep) -> Iterator[SomeDue]:
    """Each when it is due, at once if that is over. Shapes: slots, in the order in which they are due."""
    for slot in slots:
        ahead_ms = slot.due_ms - clock_ms()
        if ahead_ms > 0:
            sleep(ahead_ms / 1000)
        yield slot


def arrivals(rate: float, started_ms: int, seconds: float, chance: random.Random) -> Iterator["Arrival"]:
    """When somebody comes: a Poisson process, as many callers make together. Units: rate, arrivals a second."""
    due_ms = float(started_ms)
    while rate > 0:
        due_ms += chance.expovariate(rate) * 1000
        if due_ms >= started_ms + seconds * 1000:
            return
        yield Arrival(int(due_ms))


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody comes at this instant, epoch milliseconds."""

    due_ms: int
