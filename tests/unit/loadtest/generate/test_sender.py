"""A worker's load against a Kinesis that refuses, loses answers, is slow, or is split under it."""

import gevent
import pytest

from loadtest.generate import sender as sending
from loadtest.generate.bookkeeping import Bookkeeping
from loadtest.generate.kinesis import AnswerLostError, NeverSentError, RecordAnswer, RequestRefusedError
from loadtest.generate.sender import LANES, Sender, ThrottledError
from loadtest.producer.shards import ShardMap
from loadtest.recording import Ledger
from loadtest.traffic import PutRecord

TOP = 2**128
CUSTOMERS = 97


def shard_map(count, generation=0):
    return ShardMap(
        {
            "ShardId": f"shardId-{generation}-{place}",
            "HashKeyRange": {"StartingHashKey": str(place * TOP // count), "EndingHashKey": "0"},
            "SequenceNumberRange": {},
        }
        for place in range(count)
    )


def customer(number):
    return f"customer-{number % CUSTOMERS}"


class Slot:
    """Events that each are a record of their own, for a customer of their own."""

    def __init__(self, due_ms, first, last, seen_shards=None):
        self.due_ms, self.first, self.last = due_ms, first, last
        self._seen_shards = seen_shards if seen_shards is not None else []

    def records(self, shards):
        self._seen_shards.append(shards)
        return [
            PutRecord(f"customer-{number % CUSTOMERS}", b"%d" % number, [number])
            for number in range(self.first, self.last + 1)
        ]


class Kinesis:
    """Keeps what it took, by shard and in order; `script` says what becomes of each request, in their order."""

    def __init__(self, shards, *script):
        self.shards = shards
        self.taken = {}
        self.requests = 0
        self.script = list(script)

    def __call__(self, parcels):
        gevent.sleep(0)
        self.requests += 1
        act = self.script.pop(0) if self.script else "take"
        if act == "take slowly":
            gevent.sleep(0.05)
        if act == "refuse all":
            raise RequestRefusedError("ProvisionedThroughputExceededException")
        if act == "unreachable":
            raise NeverSentError("EndpointConnectionError")
        if act == "lose before":
            raise AnswerLostError("ReadTimeoutError")
        answers = []
        for place, parcel in enumerate(parcels):
            if act == "refuse some" and place % 2:
                answers.append(RecordAnswer(None, "ProvisionedThroughputExceededException"))
                continue
            shard_id = self.shards.shard_of(parcel.partition_key)
            self.taken.setdefault(shard_id, []).extend(parcel.record.numbers)
            answers.append(RecordAnswer(shard_id, None))
        if act == "lose after":
            raise AnswerLostError("ConnectionClosedError")
        return answers

    @property
    def numbers(self):
        return sorted(number for numbers in self.taken.values() for number in numbers)


def send(kinesis, slots, *, shards=None, clock_ms=lambda: 10**9, grace_seconds=5.0, chance=0.0):
    book, heard = Bookkeeping(0), []
    Sender(
        slots,
        started_ms=10**9,
        book=book,
        put=kinesis,
        shards=shards or (lambda: kinesis.shards),
        clock_ms=clock_ms,
        hear=lambda _elapsed_ms, _bytes, error: heard.append(error),
        chance=lambda: chance,
    ).run(grace_seconds)
    return book, [error for error in heard if error is not None]


def slots(count, events=10):
    return [Slot(10**9, place * events, (place + 1) * events - 1) for place in range(count)]


def test_every_event_is_accepted_once_and_a_shards_events_in_their_order():
    kinesis = Kinesis(shard_map(4))
    book, errors = send(kinesis, slots(20))
    assert book.ledger() == Ledger(0, [(0, 199)], [])
    assert kinesis.numbers == list(range(200))
    assert all(numbers == sorted(numbers) for numbers in kinesis.taken.values())
    assert errors == []
    assert kinesis.requests <= 4 * 20


def test_refused_records_are_put_again_until_they_are_taken_and_are_not_resent():
    kinesis = Kinesis(shard_map(1), "refuse all", "refuse some", "refuse some", "unreachable")
    book, errors = send(kinesis, slots(1, 16))
    assert book.ledger() == Ledger(0, [(0, 15)], [], resent=0)
    assert kinesis.numbers == list(range(16))
    assert book.take_seconds(1)[0].throttled == 16 + 8 + 4
    assert [type(error) for error in errors] == [RequestRefusedError, ThrottledError, ThrottledError, NeverSentError]


def test_what_comes_behind_refused_records_of_a_shard_waits_for_them():
    kinesis = Kinesis(shard_map(1), "refuse some", "refuse some")
    far_apart = [Slot(10**9 - 5_000 + place * 2_000, place * 8, place * 8 + 7) for place in range(3)]
    send(kinesis, far_apart)
    (numbers,) = kinesis.taken.values()
    assert sorted(numbers[:8]) == list(range(8))
    assert sorted(numbers[8:16]) == list(range(8, 16))


def test_slots_that_lie_far_apart_are_not_put_in_one_request():
    kinesis = Kinesis(shard_map(1))
    send(kinesis, [Slot(10**9 - 9_000 + place * 2_000, place, place) for place in range(4)])
    assert kinesis.requests == 4
    kinesis = Kinesis(shard_map(1), "take slowly")
    send(kinesis, [Slot(10**9 - 900 + place * 200, place, place) for place in range(4)])
    assert kinesis.requests == 2


def test_a_lost_answer_is_put_again_under_the_same_ids_and_told():
    kinesis = Kinesis(shard_map(1), "lose after", "lose before")
    book, errors = send(kinesis, slots(1, 5))
    assert book.ledger() == Ledger(0, [(0, 4)], [], resent=10)
    assert kinesis.numbers == sorted([*range(5), *range(5)])  # the stage tells them apart by their ids
    assert [type(error) for error in errors] == [AnswerLostError, AnswerLostError]


def test_what_nobody_can_tell_of_at_the_end_is_unsure_and_what_was_refused_is_not():
    lost = Kinesis(shard_map(1), *["lose after"] * 1_000_000)
    book, _ = send(lost, slots(1, 3), grace_seconds=0.2)
    assert (book.ledger().accepted, book.ledger().unsure) == ([], [(0, 2)])
    refused = Kinesis(shard_map(1), *["refuse all"] * 1_000_000)
    book, _ = send(refused, slots(1, 3), grace_seconds=0.2, chance=1.0)  # the load ends while it waits
    assert (book.ledger().accepted, book.ledger().unsure) == ([], [])
    assert book.waiting == 3


def test_a_load_that_is_stopped_leaves_what_is_in_flight_unsure():
    class Slow(Kinesis):
        def __call__(self, parcels):
            gevent.sleep(60)

    book = Bookkeeping(0)
    sender = Sender(
        slots(1, 4),
        started_ms=0,
        book=book,
        put=Slow(shard_map(1)),
        shards=lambda: shard_map(1),
        clock_ms=lambda: 10**9,
        hear=lambda *_: None,
    )
    running = gevent.spawn(sender.run, 60)
    gevent.sleep(0.05)
    running.kill()
    assert book.ledger() == Ledger(0, [], [(0, 3)])


def test_one_shard_that_is_throttled_holds_up_no_other_lane():
    class Throttled(Kinesis):
        def __call__(self, parcels):
            if {self.shards.shard_of(parcel.partition_key) for parcel in parcels} == {"shardId-0-0"}:
                raise RequestRefusedError("ProvisionedThroughputExceededException")
            return super().__call__(parcels)

    kinesis = Throttled(shard_map(4))
    book, _ = send(kinesis, slots(5, 50), grace_seconds=0.3)
    of_others = [
        number for number in range(250) if kinesis.shards.shard_of(f"customer-{number % CUSTOMERS}") != "shardId-0-0"
    ]
    assert 0 < len(of_others) < 250
    assert kinesis.numbers == of_others
    assert book.waiting == 250 - len(of_others)


def test_after_a_split_slots_are_packed_by_the_shards_as_they_are_then():
    before, after = shard_map(2), shard_map(4, generation=1)
    kinesis = Kinesis(after)
    told = [before, after]
    seen = []
    now = [10**9]
    book, _ = send(
        kinesis,
        [Slot(10**9 + place * 20, place * 10, place * 10 + 9, seen) for place in range(6)],
        shards=lambda: told.pop(0) if len(told) > 1 else told[0],
        clock_ms=lambda: now.__setitem__(0, now[0] + 1) or now[0],
    )
    assert book.ledger().accepted == [(0, 59)]
    assert seen[0] is before
    assert seen[-1] is after


def test_an_error_of_ours_is_raised_and_not_waited_out():
    class Broken(Slot):
        def records(self, shards):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        send(Kinesis(shard_map(1)), [Broken(0, 0, 1)], grace_seconds=0.1)


def test_lanes_are_few_enough_that_requests_stay_few():
    kinesis = Kinesis(shard_map(100))
    send(kinesis, slots(10, 500))
    assert kinesis.requests <= 10 * LANES
    assert sending.REQUEST_SPAN_MS < 3_000  # what loadtest.traffic has between an event and its conflict
