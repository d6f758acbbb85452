"""What a worker's events have come to: accepted, or unsure, and nothing in between."""

from loadtest.generate.bookkeeping import Bookkeeping, Parcel
from loadtest.recording import Ledger, Second
from loadtest.traffic import PutRecord


def parcel(*numbers):
    return Parcel(PutRecord("key", b"x" * 7, list(numbers)), due_ms=0)


def test_what_is_accepted_is_in_the_ledger_and_in_its_second():
    book = Bookkeeping(3)
    book.offer(5, second=0)
    sent = [parcel(0, 2), parcel(1, 3, 4)]
    book.put(sent, 0)
    book.accept(sent, 1)
    assert book.ledger() == Ledger(3, [(0, 4)], [], resent=0)
    first, second = book.take_seconds(before=2)
    assert first == Second(0, offered=5, requests=1)
    assert second == Second(1, accepted=5, records=2, bytes=20)


def test_what_was_refused_is_neither_accepted_nor_unsure_until_it_is_put_again():
    book = Bookkeeping(0)
    book.offer(2, 0)
    sent = [parcel(0), parcel(1)]
    book.put(sent, 0)
    book.accept(sent[:1], 0)
    book.refuse(sent[1:], 0)
    assert book.ledger() == Ledger(0, [(0, 0)], [])
    assert book.waiting == 1
    book.put(sent[1:], 0)
    assert book.ledger() == Ledger(0, [(0, 0)], [(1, 1)])
    book.accept(sent[1:], 0)
    assert book.ledger() == Ledger(0, [(0, 1)], [], resent=0)
    assert book.take_seconds(1) == [Second(0, offered=2, accepted=2, throttled=1, records=2, bytes=20, requests=2)]


def test_an_answer_that_was_lost_leaves_its_events_unsure_though_a_later_request_is_refused():
    book = Bookkeeping(0)
    sent = [parcel(0, 1)]
    book.put(sent, 0)
    book.lose(sent)
    book.put(sent, 0)
    book.refuse(sent, 0)
    assert book.ledger() == Ledger(0, [], [(0, 1)], resent=1)
    book.put(sent, 0)
    book.accept(sent, 0)
    assert book.ledger() == Ledger(0, [(0, 1)], [], resent=2)


def test_a_second_in_which_nothing_happened_is_told_too_and_each_once():
    book = Bookkeeping(0)
    book.offer(4, 0)
    book.offer(1, 3)
    assert book.take_seconds(3) == [Second(0, offered=4), Second(1), Second(2, waiting=5)]
    assert book.take_seconds(3) == []
    book.offer(1, 1)  # told too late for its second
    assert book.take_seconds(4) == [Second(3, offered=2, waiting=6)]


def test_requests_that_never_arrived_are_not_told_as_throttled():
    book = Bookkeeping(0)
    sent = [parcel(0)]
    book.put(sent, 0)
    book.refuse(sent, 0, is_throttled=False)
    assert book.take_seconds(1)[0].throttled == 0
    assert book.ledger() == Ledger(0, [], [])
