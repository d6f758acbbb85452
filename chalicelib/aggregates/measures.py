"""What can be measured of a group of events, and how two measurements become one.

A *measure* is what an analyst asks for (Mean of amount). An *accumulator* is what a partial stores for it (the count
and the sum of amount): mergeable, associative, commutative, exact. Measures share accumulators, so that a metric's
mean costs nothing beside its count and its sum.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow
from operator import add
from typing import Any, ClassVar

from msgspec import Struct

# Wide enough for 2^63 measured numbers (records.decode.MEASURED); `Inexact` is trapped, so a sum is exact or raises.
EXACT = Context(prec=96, traps=[Inexact, InvalidOperation, Overflow])
MEAN_DECIMALS = Decimal("1e-6")
ROUNDED = Context(prec=96, rounding=ROUND_HALF_EVEN)

State = int | Decimal


class Accumulator(Struct, frozen=True):
    """One mergeable state of a group: kind is `count`, `sum`, `min` or `max`; field, if any, what it looks at."""

    kind: str
    field: str | None = None

    def __str__(self) -> str:
        return f"{self.kind}({self.field or ''})"


STATE_TYPE: dict[str, type[State]] = {"count": int, "sum": Decimal, "min": Decimal, "max": Decimal}
TAKES_BACK = {"count", "sum"}  # what was added to these can be taken back; a least value tells nothing of the next one
STATE_BYTES_MAX = {"count": 9, "sum": 100, "min": 60, "max": 60}  # encoded; bounds the size of a partial


def _total(values: Sequence[Any]) -> Decimal:
    return EXACT.plus(sum(values))


def _least(values: Sequence[Any]) -> Decimal:
    return EXACT.plus(min(values))


def _greatest(values: Sequence[Any]) -> Decimal:
    return EXACT.plus(max(values))


# Both work on states of the same kind. `sum` runs in the thread's context, which callers set to EXACT.
REDUCE: dict[str, Callable[[Sequence[Any]], State]] = {"count": len, "sum": _total, "min": _least, "max": _greatest}
MERGE: dict[str, Callable[[Any, Any], State]] = {"count": add, "sum": EXACT.add, "min": min, "max": max}


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

    def finish(self, states: Mapping[Accumulator, State]) -> State | None:
        """The answer, from the merged states of its accumulators; None where there is none."""
        return states[self.accumulators[0]]


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

    def finish(self, states: Mapping[Accumulator, State]) -> State | None:  # noqa: D102  as Measure's
        total, count = (states[accumulator] for accumulator in self.accumulators)
        if not count:
            return None
        return ROUNDED.quantize(ROUNDED.divide(Decimal(total), Decimal(count)), MEAN_DECIMALS)
