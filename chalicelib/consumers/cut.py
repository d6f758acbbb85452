"""Things in a row, cut into lots: requests, parts of a message, what is worked on at once."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def cut(items: Iterable[T], size_of: Callable[[T], int], items_max: int, size_max: int) -> Iterator[list[T]]:
    """Cut items into lots, in order, each as full as fits; no more items are asked for than the next lot takes.

    Shapes: one item alone may be over a lot's size.
    """
    lot: list[T] = []
    lot_size = 0
    for item in items:
        size = size_of(item)
        is_full = len(lot) == items_max or lot_size + size > size_max
        if lot and is_full:
            yield lot
            lot, lot_size = [], 0
        lot.append(item)
        lot_size += size
    if lot:
        yield lot
