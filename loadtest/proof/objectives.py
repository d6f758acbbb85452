"""Whether what a profile wanted beside exactness was so. Pure."""

from collections.abc import Sequence
from math import ceil

from loadtest.percentiles import percentile
from loadtest.proof.verdict import Objective
from loadtest.recording import Query, Recording

OK, NOT_MODIFIED = 200, 304
GRACE_SECONDS = 1  # an event that was due in the load's last moment is accepted a moment later


def judge(recording: Recording) -> list[Objective]:
    """Each objective that the profile sets, with what was measured."""
    wanted = recording.run.profile.objectives
    judged = []
    if wanted.rate_share is not None:
        share = rate_share(recording)
        judged.append(
            Objective("rate_share", wanted.rate_share, share, share is not None and share >= wanted.rate_share)
        )
    for name, most, values in (
        ("freshness_p99_ms", wanted.freshness_p99_ms, freshness_ms(recording)),
        ("query_p99_ms", wanted.query_p99_ms, latencies_ms(recording.queries)),
    ):
        if most is not None:
            got = percentile(values, 0.99)
            is_known = got is not None and got != float("inf")
            judged.append(Objective(name, most, got if is_known else None, got is not None and got <= most))
    return judged


def rate_share(recording: Recording) -> float | None:
    """How much of what was offered was accepted in time, until a moment after the load's end; None of no events."""
    offered = sum(second.offered for second in recording.seconds)
    until = ceil(recording.run.profile.arrivals.seconds) + GRACE_SECONDS
    accepted = sum(second.accepted for second in recording.seconds if second.at < until)
    return accepted / offered if offered else None


def freshness_ms(recording: Recording) -> Sequence[float]:
    """Of each probe, how long after the stream took it the API told of it; infinite where it never did."""
    return [
        float("inf") if probe.visible_ms is None else probe.visible_ms - probe.accepted_ms for probe in recording.probes
    ]


def latencies_ms(queries: Sequence[Query]) -> Sequence[float]:
    """Of each question, how long it took; infinite where it was not answered."""
    return [query.elapsed_ms if query.status in (OK, NOT_MODIFIED) else float("inf") for query in queries]
