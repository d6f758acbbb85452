"""A call of a store in a world of faults: it may fail, kill who makes it, or take effect when nobody waits for it."""

from collections.abc import Callable
from random import Random
from typing import TypeVar

from tests.simulation.faults import Faults, Killed

T = TypeVar("T")


class Calls:
    """Every call of every store of one world. `meanwhile` runs ahead of each: others may be at work."""

    def __init__(self, chance: Random, faults: Faults, meanwhile: Callable[[], None]) -> None:
        self._chance = chance
        self._faults = faults
        self._meanwhile = meanwhile
        self._late_effects: list[Callable[[], object]] = []

    def make(self, effect: Callable[[], T], error: Callable[[], T]) -> T:
        """Carry out one call, or let it go wrong; `error` is what the caller gets when it seems to fail."""
        self._meanwhile()
        if self._faults.hits(self._chance, "killed_before"):
            raise Killed
        if self._faults.hits(self._chance, "throttled"):
            return error()
        if self._faults.hits(self._chance, "effect_late"):
            self._late_effects.append(effect)
            return error()
        result = effect()
        if self._faults.hits(self._chance, "killed_after"):
            raise Killed
        return error() if self._faults.hits(self._chance, "answer_lost") else result

    @property
    def are_over(self) -> bool:
        """Whether no effect is still to come."""
        return not self._late_effects

    def let_late_effects_land(self) -> None:
        """Have some of the effects happen that callers have long given up; all, once nothing goes wrong any more."""
        self._chance.shuffle(self._late_effects)
        while self._late_effects and (self._chance.random() < 0.3 or not self._faults.effect_late):
            self._late_effects.pop()()
