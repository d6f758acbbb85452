import threading
import time

import pytest

from loadtest.faults import KILL_AFTER_SECONDS, FaultsUnderLoad
from loadtest.profile import Fault, FaultKind
from localstage.faults import Told


class FakeStage:
    """A stage to which each fault does what it should, unless `befalls_nothing`."""

    def __init__(self, *, befalls_nothing=False, broken=False):
        self.told = Told()
        self.calls = []
        self._befalls = not befalls_nothing
        self._broken = broken

    @property
    def faults(self):
        return Told(**{name: getattr(self.told, name) for name in Told.__struct_fields__})

    def throttle_dynamodb(self, share):
        self.calls.append(("throttle_dynamodb", share))
        if share and self._befalls:
            self.told.writes_refused += 7

    def delay_sns(self, ms):
        self.calls.append(("delay_sns", ms))
        if ms and self._befalls:
            self.told.publishes_delayed += 3

    def expire_iterators(self):
        self.calls.append(("expire_iterators",))
        if self._befalls:
            self.told.expirations += 2
            self.told.reads_since_expiry = 5
        return 2

    def kill_worker(self, function, patience_seconds, after_seconds):
        self.calls.append(("kill_worker", function, after_seconds))
        return self._befalls

    def replay(self):
        self.calls.append(("replay",))
        if self._broken:
            raise ConnectionResetError


def caused(stage, *faults, seconds=0.3):
    with FaultsUnderLoad(stage, faults, started_ms=int(time.time() * 1000)) as under_load:
        time.sleep(seconds)
    return under_load.done


def test_a_throttle_lasts_its_time_and_tells_how_many_writes_it_refused():
    stage = FakeStage()
    (done,) = caused(stage, Fault(FaultKind.THROTTLE_DYNAMODB, at_seconds=0, seconds=0.05, share=0.2))
    assert stage.calls == [("throttle_dynamodb", 0.2), ("throttle_dynamodb", 0)]
    assert (done.kind, done.what, done.happened) == (
        "throttle-dynamodb",
        "DynamoDB refused 7 writes (20% of them)",
        True,
    )


def test_what_lasts_ends_with_the_load():
    stage = FakeStage()
    (done,) = caused(stage, Fault(FaultKind.DELAY_SNS, at_seconds=0, seconds=3_600, delay_ms=250), seconds=0.05)
    assert stage.calls == [("delay_sns", 250), ("delay_sns", 0)]
    assert (done.what, done.happened) == ("SNS took 250 ms longer over 3 publishes", True)


def test_what_is_repeated_is_so_evenly_over_its_time():
    done = caused(FakeStage(), Fault(FaultKind.KILL_WORKER, at_seconds=0, seconds=0.2, times=2))
    assert [each.happened for each in done] == [True, True]
    assert 80 <= done[1].at_ms - done[0].at_ms <= 200


def test_a_worker_that_is_killed_is_one_of_ingest_early_in_its_batch():
    stage = FakeStage()
    caused(stage, Fault(FaultKind.KILL_WORKER, at_seconds=0))
    assert stage.calls == [("kill_worker", "ingest", KILL_AFTER_SECONDS)]


def test_iterators_expire_and_reading_goes_on():
    (done,) = caused(FakeStage(), Fault(FaultKind.EXPIRE_ITERATORS, at_seconds=0))
    assert done.what == "2 iterators expired, 2 of them were read with, and reading went on with others"
    assert done.happened


@pytest.mark.parametrize("kind", [FaultKind.KILL_WORKER, FaultKind.THROTTLE_DYNAMODB, FaultKind.DELAY_SNS])
def test_a_fault_that_befell_nothing_has_not_happened(kind):
    (done,) = caused(FakeStage(befalls_nothing=True), Fault(kind, at_seconds=0, seconds=0.01))
    assert not done.happened


def test_iterators_that_nobody_read_with_have_not_expired(monkeypatch):
    monkeypatch.setattr("loadtest.faults.READ_ON_SECONDS", 0.05)
    (done,) = caused(FakeStage(befalls_nothing=True), Fault(FaultKind.EXPIRE_ITERATORS, at_seconds=0))
    assert (done.what, done.happened) == (
        "2 iterators expired, 0 of them were read with, and nothing was read since",
        False,
    )


def test_what_is_due_after_the_load_does_not_happen():
    stage = FakeStage()
    (done,) = caused(stage, Fault(FaultKind.REPLAY, at_seconds=3_600))
    assert (done.what, done.happened, stage.calls) == ("the load ended before it was due", False, [])


def test_a_fault_that_cannot_be_caused_is_told_and_no_other_suffers():
    done = caused(
        FakeStage(broken=True), Fault(FaultKind.REPLAY, at_seconds=0), Fault(FaultKind.KILL_WORKER, at_seconds=0.1)
    )
    assert [(each.what, each.happened) for each in done] == [
        ("failed: ConnectionResetError", False),
        ("a process of ingest was killed in the middle of a batch", True),
    ]


def test_it_is_over_in_a_moment_when_nothing_is_due():
    before = threading.active_count()
    assert caused(FakeStage(), seconds=0) == []
    assert threading.active_count() == before
