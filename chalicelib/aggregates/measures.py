"""What can be measured of a group of events, and how two measurements become one.

A *measure* is what an analyst asks for (Mean of amount). An *accumulator* is what a partial stores for it (the count
and the sum of amount): mergeable, associative, commutative, exact. Measures share accumulators, so that a metric's
mean costs nothing beside its count and its sum. Of two measures the accumulator is a *sketch*: mergeable too, of
bounded size, and exact about which events are in it; what it answers is within a bound that the answer tells.
"""

from collections.abc import Callable, Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow
from functools import partial, reduce
from math import ceil
from operator import add, itemgetter
from typing import Any, ClassVar

from msgspec import Struct

from chalicelib.aggregates import sketches

# Wide enough for 2^63 measured numbers (records.decode.MEASURED); `Inexact` is trapped, so a sum is exact or raises.
EXACT = Context(prec=96, traps=[Inexact, InvalidOperation, Overflow])
MEAN_DECIMALS = Decimal("1e-6")
ROUNDED = Context(prec=96, rounding=ROUND_HALF_EVEN)

Value = int | Decimal  # what a measure answers
State = Value | bytes  # what is stored for it
Reduce = Callable[[Sequence[Any]], State]  # from a group's values to an accumulator's state
Finish = Callable[[Sequence[State]], Value | None]  # from a group's states to a measure's answer


class Accumulator(Struct, frozen=True):
    """One mergeable state of a group: kind is `count`, `sum`, `min`, `max`, or a sketch's; field what it looks at."""

    kind: str
    field: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}({self.field or ''})"

    @property
    def state_type(self) -> type[State]:
        """What its state is, encoded and decoded."""
        return STATE_TYPE[self.kind]

    @property
    def state_bytes_max(self) -> int:
        """How many bytes its state takes at most, encoded."""
        return STATE_BYTES_MAX[self.kind]

    @property
    def is_of_numbers(self) -> bool:
        """Whether its field is a number to measure; otherwise its values are only told apart."""
        return True

    @property
    def reduce(self) -> Reduce:
        """What makes the state of values of its field. It runs in the thread's context, which callers set to EXACT."""
        return REDUCE[self.kind]

    def merge(self, states: Iterable[Any]) -> State:
        """Make one state of several, of which there is at least one."""
        return MERGE[self.kind](states)

    @property
    def merge_two(self) -> Callable[[Any, Any], State]:
        """What makes one state of two; the same as `merge`."""
        return MERGE_TWO[self.kind]


class Sketch(Accumulator, frozen=True, kw_only=True):
    """An accumulator whose state is a sketch of this size.

    Why a class of its own: what is stored of a metric is guarded by how its accumulators are written, and the others
         are written without a size.
    """

    size: int

    @property
    def state_type(self) -> type[State]:  # noqa: D102  as Accumulator's
        return bytes

    @property
    def merge_two(self) -> Callable[[Any, Any], State]:  # noqa: D102  as Accumulator's
        return lambda one, other: self.merge((one, other))


class DistinctSketch(Sketch, frozen=True):
    """A HyperLogLog sketch: its kind is `distinct`, its size lg_k."""

    @property
    def state_bytes_max(self) -> int:  # noqa: D102  as Accumulator's
        return sketches.distinct_bytes_max(self.size)

    @property
    def is_of_numbers(self) -> bool:  # noqa: D102  as Accumulator's
        return False

    @property
    def reduce(self) -> Reduce:  # noqa: D102  as Accumulator's
        return partial(sketches.distinct_of, lg_k=self.size)

    def merge(self, states: Iterable[Any]) -> State:  # noqa: D102  as Accumulator's
        return sketches.merge_distinct(states, self.size)


class QuantilesSketch(Sketch, frozen=True):
    """A KLL sketch: its kind is `quantiles`, its size k."""

    @property
    def state_bytes_max(self) -> int:  # noqa: D102  as Accumulator's
        return sketches.quantiles_bytes_max(self.size)

    @property
    def reduce(self) -> Reduce:  # noqa: D102  as Accumulator's
        return partial(sketches.quantiles_of, k=self.size)

    def merge(self, states: Iterable[Any]) -> State:  # noqa: D102  as Accumulator's
        return sketches.merge_quantiles(states, self.size)


STATE_TYPE: dict[str, type[State]] = {"count": int, "sum": Decimal, "min": Decimal, "max": Decimal}
TAKES_BACK = {"count", "sum"}  # what was added to these can be taken back; a least value tells nothing of the next one
STATE_BYTES_MAX = {"count": 9, "sum": 100, "min": 60, "max": 60}  # encoded; bounds the size of a partial


def _least(values: Sequence[Any]) -> Decimal:
    return EXACT.plus(min(values))


def _greatest(values: Sequence[Any]) -> Decimal:
    return EXACT.plus(max(values))


REDUCE: dict[str, Reduce] = {
    "count": len,
    "sum": partial(sum, start=Decimal(0)),
    "min": _least,
    "max": _greatest,
}
MERGE: dict[str, Callable[[Iterable[Any]], State]] = {
    "count": sum,
    "sum": partial(reduce, EXACT.add),
    "min": min,
    "max": max,
}
MERGE_TWO: dict[str, Callable[[Any, Any], State]] = {"count": add, "sum": EXACT.add, "min": min, "max": max}


class ErrorBound(Struct, frozen=True):
    """How far from the truth an answer may be, and how often it is no farther.

    Shapes: kind says what is off by the bound: `relative`, the value, as a share of it; `rank`, the rank of the value.
    """

    kind: str
    bound: float
    confidence: float


class Measure(Struct, frozen=True):
    """A question about a group of events."""

    type_name: ClassVar[str]

    @property
    def accumulators(self) -> tuple[Accumulator, ...]:
        """What must be stored to answer it."""
        raise NotImplementedError

    @property
    def can_take_back(self) -> bool:
        """Whether it can be asked of changes: what an old row added is then taken back."""
        return TAKES_BACK.issuperset(needed.kind for needed in self.accumulators)

    @property
    def error(self) -> ErrorBound | None:
        """How far from the truth its answers may be; None where they are exact."""
        return None

    @property
    def fault(self) -> str | None:
        """What is wrong with how it is declared, apart from its field; None when nothing is."""
        return None

    def finish(self, *states: Any) -> Value | None:
        """The answer, from the merged states of its accumulators in their order; None where there is none."""
        value: Value | None = states[0]
        return value

    def finisher(self, accumulators: Sequence[Accumulator]) -> Finish:
        """Make what takes the answer from a group's states.

        Shapes: accumulators, those that the states are of, in their order.
        """
        places = [accumulators.index(needed) for needed in self.accumulators]
        if type(self).finish is Measure.finish:  # the state is the answer
            return itemgetter(places[0])
        return lambda states: self.finish(*[states[place] for place in places])


class Count(Measure, frozen=True):
    """How many events."""

    type_name: ClassVar[str] = "integer"

    @property
    def accumulators(self) -> tuple[Accumulator, ...]:  # noqa: D102  as Measure's
        return (Accumulator("count"),)


class _OfField(Measure, frozen=True):
    """A measure that one accumulator of a number field answers."""

    type_name: ClassVar[str] = "decimal"
    kind: ClassVar[str]
    field: str

    @property
    def accumulators(self) -> tuple[Accumulator, ...]:
        return (Accumulator(self.kind, self.field),)


class Sum(_OfField, frozen=True):
    """The exact sum of a number field."""

    kind: ClassVar[str] = "sum"


class Min(_OfField, frozen=True):
    """The smallest value of a number field."""

    kind: ClassVar[str] = "min"


class Max(_OfField, frozen=True):
    """The largest value of a number field."""

    kind: ClassVar[str] = "max"


class Mean(Measure, frozen=True):
    """The mean of a number field: the exact sum by the count, rounded half to even at 6 decimals.

    There is none where the count is 0: where rows came and as many went.
    """

    type_name: ClassVar[str] = "decimal"
    field: str

    @property
    def accumulators(self) -> tuple[Accumulator, ...]:  # noqa: D102  as Measure's
        return (Accumulator("sum", self.field), Accumulator("count"))

    def finish(self, *states: Any) -> Value | None:  # noqa: D102  as Measure's
        total, count = states
        if not count:
            return None
        return ROUNDED.quantize(ROUNDED.divide(Decimal(total), Decimal(count)), MEAN_DECIMALS)


class Distinct(Measure, frozen=True):
    """About how many different values a text or integer field has; the empty text is one.

    Shapes: lg_k, two more of which halve the error and take four times the room: 14 is a standard error of 0.8 %, in
            16 KB at most.
    """

    type_name: ClassVar[str] = "integer"
    field: str
    lg_k: int = 14

    @property
    def accumulators(self) -> tuple[Accumulator, ...]:  # noqa: D102  as Measure's
        return (DistinctSketch("distinct", self.field, size=self.lg_k),)

    @property
    def error(self) -> ErrorBound | None:  # noqa: D102  as Measure's
        return ErrorBound("relative", _rounded_up(sketches.distinct_error(self.lg_k)), 0.95)

    @property
    def fault(self) -> str | None:  # noqa: D102  as Measure's
        return _fault_of_size("lg_k", self.lg_k, sketches.LG_K_MIN, sketches.LG_K_MAX)

    def finish(self, *states: Any) -> Value | None:  # noqa: D102  as Measure's
        return sketches.estimate_distinct(states[0])


class Quantile(Measure, frozen=True):
    """About the least value of a number field that the share `rank` of all values is at or below.

    Shapes: rank from 0 to 1, 0.5 is the median; k, twice of which nearly halves the error and takes twice the room: of
            256 the rank is off by 1.05 % at most, 99 times in 100, in 10 KB at most. Measures of one field and k share
            one sketch.
    """

    type_name: ClassVar[str] = "decimal"
    field: str
    rank: float
    k: int = 256

    @property
    def accumulators(self) -> tuple[Accumulator, ...]:  # noqa: D102  as Measure's
        return (QuantilesSketch("quantiles", self.field, size=self.k),)

    @property
    def error(self) -> ErrorBound | None:  # noqa: D102  as Measure's
        return ErrorBound("rank", _rounded_up(sketches.rank_error(self.k)), 0.99)

    @property
    def fault(self) -> str | None:  # noqa: D102  as Measure's
        is_number = isinstance(self.rank, int | float) and not isinstance(self.rank, bool)
        if not (is_number and 0 <= self.rank <= 1):
            return f"its rank {self.rank!r} is no number from 0 to 1"
        return _fault_of_size("k", self.k, sketches.K_MIN, sketches.K_MAX)

    def finish(self, *states: Any) -> Value | None:  # noqa: D102  as Measure's
        return sketches.quantile(states[0], self.rank)


def _fault_of_size(name: str, size: Any, least: int, greatest: int) -> str | None:
    is_size = isinstance(size, int) and not isinstance(size, bool) and least <= size <= greatest
    return None if is_size else f"its {name} {size!r} is no integer from {least} to {greatest}"


def _rounded_up(bound: float) -> float:
    return ceil(bound * 10_000) / 10_000
