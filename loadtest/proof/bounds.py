"""Whether estimates are as near to the truth as their answers promise. Pure.

A bound has a confidence: of honest estimates some lie outside it. So two things are judged. No estimate may be farther
off than FARTHEST bounds: of a bound at 95 % (two standard errors) that is six of them, at 99 % nearly eight. And of
quantiles, whose errors are drawn anew for each sketch, no more may lie outside than an honest stage has once in a
million runs (Chernoff's bound). Of distinct counts the share outside is told and not judged: windows share most of
their customers, and a HyperLogLog errs alike about like sets, so many may lie outside together by one stroke of chance.
"""

from decimal import Decimal
from math import exp, log

from chalicelib.aggregates.measures import ErrorBound

FARTHEST = 3.0
BY_CHANCE = 1e-6


def relative_error(estimate: Decimal | int, truth: int) -> float:
    """How far an estimate is off, as a share of the truth."""
    return abs(float(estimate) - truth) / truth if truth else float(estimate != 0)


def rank_error(rank: float, ranks: tuple[float, float]) -> float:
    """How far the rank of an estimate lies from the one asked for.

    Shapes: ranks, the shares of all values below the estimate, and at or below it: what stands several times has all
            ranks between.
    """
    below, up_to = ranks
    return max(0.0, below - rank, rank - up_to)


def is_too_far(error: float, bound: ErrorBound) -> bool:
    """Whether no honest estimate is as far off."""
    return error > FARTHEST * bound.bound


def outside_max(compared: int, bound: ErrorBound) -> int | None:
    """How many of so many independent estimates may lie outside their bound; None where the number is not judged."""
    if bound.kind != "rank":
        return None
    share = 1 - bound.confidence
    return next(count for count in range(compared + 1) if _chance_of_more(count, compared, share) <= BY_CHANCE)


def _chance_of_more(outside: int, compared: int, share: float) -> float:
    """At most how likely more of them lie outside than this, each with this chance. Source: Chernoff's bound."""
    if outside >= compared:
        return 0
    is_outside = (outside + 1) / compared
    if is_outside <= share:
        return 1
    divergence = is_outside * log(is_outside / share)
    if is_outside < 1:
        divergence += (1 - is_outside) * log((1 - is_outside) / (1 - share))
    return exp(-compared * divergence)
