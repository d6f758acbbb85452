"""Quick draws: `Random`'s own integers cost five times as much, and a producer makes some twenty a record."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

T = TypeVar("T")


def below(chance: Random, stop: int) -> int:
    """A number of 0 to stop - 1; its bias is nothing for small ones."""
    return int(chance.random() * stop)


def between(chance: Random, start: int, stop: int) -> int:
    """A number of start to stop - 1."""
    return start + int(chance.random() * (stop - start))


def pick(chance: Random, choices: Sequence[T]) -> T:
    """One of these."""
    return choices[int(chance.random() * len(choices))]
