"""What the master has heard of all users, put together. Pure, but for what it remembers."""

from http import HTTPStatus

from msgspec import Struct

from loadtest.generate.messages import Seen
from loadtest.percentiles import percentile
from loadtest.recording import Lag, Ledger, Probe, Query, Second

SETTLED_SECONDS = 2  # by then every worker has told of a second


class Progress(Struct):
    """How the load goes, a line each second. Units: as `Second`; milliseconds where it ends in _ms.

    Shapes: at, the second that it is about; rates of that second; totals so far; None where nothing is known yet.
    """

    at: int
    offered_rate: int
    accepted_rate: int
    offered: int
    accepted: int
    waiting: int
    throttled: int
    requests: int
    probes: int
    freshness_p50_ms: float | None
    freshness_p99_ms: float | None
    queries: int
    queries_failed: int
    query_p99_ms: float | None
    lag_ms: int | None
    note: str = ""


class Gathered:
    """All that was seen so far."""

    def __init__(self) -> None:
        self.seconds: dict[int, Second] = {}
        self.probes: list[Probe] = []
        self.queries: list[Query] = []
        self.lags: list[Lag] = []
        self.ledgers: dict[str, Ledger] = {}  # by seat

    def add(self, seen: Seen) -> None:
        """Take in what a user has seen."""
        for second in seen.seconds:
            self._add_second(second)
        self.probes += seen.probes
        self.queries += seen.queries
        self.lags += seen.lags
        if seen.ledger is not None:
            self.ledgers[seen.seat] = seen.ledger

    def _add_second(self, more: Second) -> None:
        counts = self.seconds.setdefault(more.at, Second(more.at))
        counts.offered += more.offered
        counts.accepted += more.accepted
        counts.throttled += more.throttled
        counts.records += more.records
        counts.bytes += more.bytes
        counts.requests += more.requests
        counts.waiting += more.waiting

    def progress(self, now: int) -> Progress:
        """How the load goes in its second `now`."""
        at = now - SETTLED_SECONDS
        of = self.seconds.get(at, Second(at))
        visible = [probe.visible_ms - probe.accepted_ms for probe in self.probes if probe.visible_ms is not None]
        latest = {lag.shard_id: lag.behind_ms for lag in self.lags[-1_000:]}
        return Progress(
            at=at,
            offered_rate=of.offered,
            accepted_rate=of.accepted,
            offered=sum(second.offered for second in self.seconds.values()),
            accepted=sum(second.accepted for second in self.seconds.values()),
            waiting=of.waiting,
            throttled=sum(second.throttled for second in self.seconds.values()),
            requests=sum(second.requests for second in self.seconds.values()),
            probes=len(self.probes),
            freshness_p50_ms=percentile(visible, 0.50),
            freshness_p99_ms=percentile(visible, 0.99),
            queries=len(self.queries),
            queries_failed=sum(not query.status or query.status >= HTTPStatus.BAD_REQUEST for query in self.queries),
            query_p99_ms=percentile((query.elapsed_ms for query in self.queries), 0.99),
            lag_ms=max((behind for behind in latest.values() if behind is not None), default=None),
        )
