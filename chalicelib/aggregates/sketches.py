"""Sketches: about how many different values there are, and about which value stands at a rank, in little room.

Only this file knows Apache DataSketches, and it imports it, and with it numpy, when the first sketch is made or read:
that takes a tenth of a second, which a function that counts exactly does not pay.

A sketch's state is bytes, like any other state: plain, comparable, of bounded size. It opens with a checksum, for the
library trusts what it reads: other bytes may end the process.
"""

from collections.abc import Collection, Iterable
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any

from xxhash import xxh3_64_digest

from chalicelib.errors import CorruptSketchError

LG_K_MIN, LG_K_MAX = 13, 21  # below, other constants hold for the error; above, the library refuses
K_MIN, K_MAX = 8, 65_535  # as the library takes them
NO_TEXT = -1  # in the place of "", which the library passes over: eight bytes 0xff, which are the UTF-8 of no text
CHECKSUM_BYTES = 8
MSGPACK_BYTES = 5  # around bytes
QUANTILE_LEVELS_MAX = 63  # of a sketch of fewer than 2^63 values


def distinct_of(values: Iterable[str | int], lg_k: int) -> bytes:
    """Make a HyperLogLog sketch of these values, which are all texts or all integers.

    Why 8 bits a register: HLL_4 has half the size until more and more registers do not fit 4 bits, which chosen values
         can bring about; and merging such ones takes twice the time. Compressed they differ little.
    """
    library = _library()
    sketch = library.hll_sketch(lg_k, library.HLL_8)
    different = set(values)
    if "" in different:
        different.remove("")
        sketch.update(NO_TEXT)
    for value in different:
        sketch.update(value if isinstance(value, str) else hex(value))  # the library takes integers of 64 bits only
    return _sealed(sketch.serialize_compact())


def merge_distinct(states: Iterable[bytes], lg_k: int) -> bytes:
    """Make one sketch of several of the same lg_k: that of all their values."""
    library = _library()
    union = library.hll_union(lg_k)
    for state in states:
        union.update(_read(library.hll_sketch, state))
    return _sealed(union.get_result(library.HLL_8).serialize_compact())


def estimate_distinct(state: bytes) -> int:
    """About how many different values a sketch is of.

    Why it is merged with itself: of a sketch that was never merged the library has another estimate, which depends on
         the order of the values. Now it depends on the values alone, however they came and by way of which merges.
    """
    library = _library()
    sketch = _read(library.hll_sketch, state)
    union = library.hll_union(sketch.lg_config_k)
    union.update(sketch)
    union.update(sketch)
    return round(float(union.get_estimate()))


def quantiles_of(values: Collection[int | Decimal], k: int) -> bytes:
    """Make a KLL sketch of these numbers, each as the double next to it."""
    import numpy as np  # noqa: PLC0415  as the module says

    sketch = _library().kll_doubles_sketch(k)
    sketch.update(np.fromiter(map(float, values), np.float64, len(values)))
    return _sealed(sketch.serialize())


def merge_quantiles(states: Iterable[bytes], k: int) -> bytes:
    """Make one sketch of several of the same k. By chance: two merges of the same ones may differ within the error."""
    kind = _library().kll_doubles_sketch
    merged = kind(k)
    for state in states:
        merged.merge(_read(kind, state))
    return _sealed(merged.serialize())


def quantile(state: bytes, rank: float) -> Decimal | None:
    """About the least number of which this share of all numbers is at or below it; None where there are no numbers.

    Returns: the shortest decimal that reads back as the same double.
    """
    sketch = _quantiles(state)
    return None if sketch.is_empty() else Decimal(repr(sketch.get_quantile(rank, inclusive=True)))


def distinct_bytes_max(lg_k: int) -> int:
    """How many bytes a sketch of different values takes at most, encoded.

    Source: DataSketches, "HLL sketch", HLL_8: a byte a register behind a preamble of 40 bytes.
    """
    return _encoded_bytes(40 + 2**lg_k)


def quantiles_bytes_max(k: int) -> int:
    """How many bytes a sketch of fewer than 2^63 numbers takes at most, encoded.

    Source: DataSketches, kll_helper: a level holds two thirds of what the one above it holds, and 8 at least; behind a
            preamble of 20 bytes stand a place for each level, the extremes, and what the levels hold.
    """
    held = sum(max(8, round(k * (2 / 3) ** depth)) for depth in range(QUANTILE_LEVELS_MAX))
    return _encoded_bytes(20 + 4 * QUANTILE_LEVELS_MAX + 8 * (2 + held))


def distinct_error(lg_k: int) -> float:
    """How far an estimate lies from the truth at most, as a share of it, 95 times in 100: two standard errors.

    Source: DataSketches, "HLL sketch": of merged sketches the relative standard error is 1.03896 / √2^lg_k.
    """
    return float(2 * 1.03896 / 2 ** (lg_k / 2))


def rank_error(k: int) -> float:
    """How far the rank of a quantile lies from the one asked for at most, 99 times in 100.

    Source: DataSketches, KLL, `get_normalized_rank_error`: 2.296 / k^0.9723, fitted to thousands of trials.
    """
    return float(2.296 / k**0.9723)


@cache
def _library() -> Any:
    import datasketches  # noqa: PLC0415  as the module says

    return datasketches


@lru_cache(maxsize=1)  # several ranks are asked of one sketch in a row; reading it is most of the cost
def _quantiles(state: bytes) -> Any:
    return _read(_library().kll_doubles_sketch, state)


def _sealed(sketch: bytes) -> bytes:
    return xxh3_64_digest(sketch) + sketch


def _read(kind: Any, state: bytes) -> Any:
    checksum, sketch = state[:CHECKSUM_BYTES], state[CHECKSUM_BYTES:]
    if checksum != xxh3_64_digest(sketch):
        raise CorruptSketchError("a stored sketch is not as it was written")
    return kind.deserialize(sketch)


def _encoded_bytes(sketch_bytes: int) -> int:
    return CHECKSUM_BYTES + sketch_bytes + MSGPACK_BYTES
