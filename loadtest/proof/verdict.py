"""What a proof comes to: the verdict, every difference, what was compared at all, and which objectives held.

All of it is JSON: numbers that have to be exact are texts of digits.
"""

from enum import StrEnum

from msgspec import Struct


class Outcome(StrEnum):
    """Every answer is right; some are not; or too little was shown to say either."""

    EXACT = "exact"
    DIFFERENT = "different"
    UNPROVED = "unproved"


class Kind(StrEnum):
    """In which way an answer is not what it has to be."""

    MISSING = "missing"  # a group of a window that has to be there
    EXTRA = "extra"  # one that has not, and is the run's
    TWICE = "twice"  # one that was told a second time
    VALUE = "value"
    BOUND = "bound"  # an estimate farther off than its bound allows
    TOTAL = "total"  # of a window whose groups were counted together, beyond the metric's group limit
    DEAD_LETTERS = "dead letters"
    DUPLICATES = "duplicates"


class Difference(Struct, frozen=True):
    """One answer that is not what it has to be.

    Shapes: window, its start as text, "" where it is of the whole run; group, `dimension=value, …`; measure, or a dead
            letter's reason, "" where a whole row is missing or extra; expected and counted as texts, "" for nothing.
    """

    kind: Kind
    metric: str
    window: str
    group: str
    measure: str
    expected: str
    counted: str

    def __str__(self) -> str:
        where = " · ".join(filter(None, (self.metric, self.window, self.group, self.measure)))
        return f"{self.kind}: {where}: expected {self.expected or 'nothing'}, counted {self.counted or 'nothing'}"


class Compared(Struct, frozen=True):
    """How much of a metric was compared: values of groups of windows; overflowed, windows by their totals alone."""

    metric: str
    windows: int
    groups: int
    values: int
    overflowed: int = 0


class Estimate(Struct, frozen=True):
    """How far the estimates of one measure were off.

    Shapes: bound and confidence as the answers' `meta` tells them; compared, how many were; outside, how many lay
            outside the bound; outside_max, how many may, None where that is not judged; worst, the farthest, in bounds.
    """

    metric: str
    measure: str
    bound: float
    confidence: float
    compared: int
    outside: int
    outside_max: int | None
    worst: float


class Totals(Struct, frozen=True):
    """All of a run in some numbers.

    Shapes: duplicates, None where they do not follow from the rest, for nobody knows how many events were accepted;
            sums, by `metric.measure` the exact sum over all groups of all windows.
    """

    events: int
    duplicates: int | None
    dead_letters: dict[str, int]
    sums: dict[str, str]


class Objective(Struct, frozen=True):
    """What had to hold beside exactness. Shapes: got is None where nothing was measured, or a probe never came."""

    name: str
    wanted: float
    got: float | None
    held: bool


class Verdict(Struct, frozen=True):
    """What a proof comes to.

    Shapes: unproved, why it proves too little, a line each; notes, what to know beside, a line each.
    """

    outcome: Outcome
    differences: list[Difference]
    unproved: list[str]
    notes: list[str]
    compared: list[Compared]
    estimates: list[Estimate]
    expected: Totals
    counted: Totals
    objectives: list[Objective]

    @property
    def objectives_held(self) -> bool:
        """Whether all did."""
        return all(objective.held for objective in self.objectives)

    @property
    def exit_code(self) -> int:
        """0 all is exact and every objective held; 1 something differs; 3 too little is proved, or one was missed."""
        if self.outcome is Outcome.DIFFERENT:
            return 1
        return 0 if self.outcome is Outcome.EXACT and self.objectives_held else 3
