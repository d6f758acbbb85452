"""What the master has heard of all users, put together."""

from loadtest.generate.gathered import Gathered
from loadtest.generate.messages import Seen
from loadtest.recording import Lag, Ledger, Probe, Query, Second


def test_seconds_add_up_over_the_workers_and_ledgers_stay_apart():
    gathered = Gathered()
    gathered.add(Seen("a#0", seconds=[Second(0, offered=10, accepted=8, waiting=2), Second(1, offered=10)]))
    gathered.add(Seen("b#0", seconds=[Second(0, offered=5, accepted=5, throttled=1)], ledger=Ledger(1, [(0, 4)], [])))
    gathered.add(Seen("a#0", ledger=Ledger(0, [(0, 7)], [])))
    assert gathered.seconds[0] == Second(0, offered=15, accepted=13, throttled=1, waiting=2)
    assert gathered.seconds[1].offered == 10
    assert {seat: ledger.worker for seat, ledger in gathered.ledgers.items()} == {"a#0": 0, "b#0": 1}


def test_progress_tells_of_the_second_that_all_have_told_of():
    gathered = Gathered()
    gathered.add(Seen("a#0", seconds=[Second(at, offered=100, accepted=90, waiting=10 * at) for at in range(5)]))
    gathered.add(Seen("p#0", probes=[Probe(0, 400), Probe(0, 800), Probe(0, None)]))
    gathered.add(Seen("q#0", queries=[Query("a", 0, 20.0, 200), Query("a", 0, 90.0, 503), Query("a", 0, 7.0, 0)]))
    gathered.add(Seen("w#0", lags=[Lag(0, "s1", 9_000), Lag(1, "s1", 40), Lag(1, "s2", 70), Lag(1, "s3", None)]))
    progress = gathered.progress(now=5)
    assert (progress.at, progress.offered_rate, progress.accepted_rate, progress.waiting) == (3, 100, 90, 30)
    assert (progress.offered, progress.accepted) == (500, 450)
    assert (progress.probes, progress.freshness_p50_ms, progress.freshness_p99_ms) == (3, 400, 800)
    assert (progress.queries, progress.queries_failed) == (3, 2)
    assert progress.lag_ms == 70
