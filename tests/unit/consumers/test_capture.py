"""The capture of a table's changes over a stream and dead letters in memory."""

import gzip
import json
import random
from base64 import b64encode
from decimal import Decimal

import pytest

from chalicelib.consumers.capture import RESERVE_MS, SHARD, WHOLE_BATCH, Capture
from chalicelib.consumers.put_requests import RECORD_BYTES_MAX, RECORDS_A_REQUEST
from chalicelib.errors import TransientError
from chalicelib.records.rejection import Reason
from tests.builders import CHANGES_CATALOG, NOON_MS, ORDERS_TABLE, make_decoder, record, table_change
from tests.fakes import MemoryDeadLetters, MemoryStream

OPEN = {"order_id": "order-1", "status": "open", "amount": Decimal("12.50")}
PAID = OPEN | {"status": "paid"}
BROKEN = {"eventSource": "aws:dynamodb", "dynamodb": {"SequenceNumber": "900"}}


class World:
    """A capture, and what it works on."""

    def __init__(self):
        self.stream, self.dead_letters = MemoryStream(), MemoryDeadLetters()
        self.pauses_ms = []
        self.remaining_ms = 60_000
        self.capture = Capture(ORDERS_TABLE, "order.changed", self.stream, self.dead_letters, self.pause)

    def pause(self, pause_ms):
        self.pauses_ms.append(pause_ms)
        self.remaining_ms -= pause_ms

    def run(self, *records):
        """Have these records captured. Returns: the item identifiers of the answer."""
        self.report = self.capture({"Records": list(records)}, lambda: self.remaining_ms)
        return [failure["itemIdentifier"] for failure in self.report.response["batchItemFailures"]]

    def events(self):
        return [json.loads(each.data, parse_float=str) for each in self.stream.records]

    def ids(self):
        return [event["id"] for event in self.events()]


def changes(*numbers):
    """Inserts of an order each, with these sequence numbers."""
    return [
        table_change(
            None, OPEN | {"order_id": f"order-{number}"}, event_id=f"change-{number}", sequence_number=str(number)
        )
        for number in numbers
    ]


# ---- what is put


def test_each_kind_of_change_is_one_event_with_exact_numbers():
    world = World()
    pairs = [(None, OPEN), (OPEN, PAID), (PAID, None)]
    records = [table_change(*rows, event_id=f"change-{n}", sequence_number=str(n)) for n, rows in enumerate(pairs)]
    assert world.run(*records) == []
    assert [event["data"] for event in world.events()] == [
        {name: row and row | {"amount": "12.50"} for name, row in zip(("old", "new"), rows, strict=True)}
        for rows in pairs
    ]
    assert world.events()[0] | {"data": None} == {
        "specversion": "1.0",
        "id": "change-0",
        "source": f"/dynamodb/{ORDERS_TABLE}/stream",
        "type": "order.changed",
        "time": "2026-11-24T12:00:00Z",
        "data": None,
    }
    assert (world.report.records, world.report.captured) == (3, 3)
    assert len({each.partition_key for each in world.stream.records}) == 1, "one item, one shard"


def test_every_event_is_taken_by_ingest():
    world = World()
    world.run(table_change(None, OPEN), table_change(OPEN, PAID), table_change(PAID, None))
    decoder = make_decoder(CHANGES_CATALOG)
    assert all(decoder.decode(record(each.data)).events for each in world.stream.records)


def test_an_item_that_expired_is_a_row_that_went():
    world = World()
    world.run(table_change(OPEN, None) | {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}})
    assert [event["data"]["new"] for event in world.events()] == [None]


def test_the_same_batch_gives_the_same_bytes_again():
    world = World()
    world.run(*changes(1, 2))
    world.run(*changes(1, 2))
    assert world.stream.records[:2] == world.stream.records[2:]


def test_a_change_too_large_for_a_record_is_compressed():
    world = World()
    assert world.run(table_change(None, OPEN | {"note": "x" * RECORD_BYTES_MAX})) == []
    (put,) = world.stream.records
    assert json.loads(gzip.decompress(put.data))["data"]["new"]["order_id"] == "order-1"


# ---- what the stream does not take


def test_what_the_stream_refuses_is_put_again_after_growing_pauses():
    world = World()
    refusals = iter([[0, 2], [1], []])
    world.stream.refuse = lambda records: next(refusals)
    assert world.run(*changes(1, 2, 3)) == []
    assert world.ids() == ["change-2", "change-1", "change-3"]
    assert world.pauses_ms == [100, 200]


def test_the_first_change_that_the_stream_has_not_taken_is_the_checkpoint():
    world = World()
    world.stream.refuse = lambda records: [place for place, each in enumerate(records) if b'"change-2"' in each.data]
    assert world.run(*changes(1, 2, 3)) == ["2"]
    assert world.ids() == ["change-1", "change-3"]
    assert world.report.errors == {"out of time": 1}
    assert world.remaining_ms >= RESERVE_MS, "time is kept to answer"
    assert world.pauses_ms[:3] + world.pauses_ms[-1:] == [100, 200, 400, 5_000]


def test_no_request_follows_one_that_the_stream_did_not_take_whole():
    world = World()
    last_of_the_first = f'"change-{RECORDS_A_REQUEST}"'.encode()
    world.stream.refuse = lambda records: [n for n, each in enumerate(records) if last_of_the_first in each.data]
    assert world.run(*changes(*range(1, 2 * RECORDS_A_REQUEST))) == [str(RECORDS_A_REQUEST)]
    assert len(world.stream.records) == RECORDS_A_REQUEST - 1


def test_a_stream_that_does_not_answer_makes_its_request_the_checkpoint():
    world = World()

    def fail(records):
        if b'"change-501"' in records[0].data:
            raise TransientError("EndpointConnectionError")
        return ()

    world.stream.refuse = fail
    assert world.run(*changes(*range(1, 600))) == ["501"]
    assert (len(world.stream.records), world.report.captured) == (500, 500)
    assert world.report.errors == {"EndpointConnectionError": 1}


def test_out_of_time_nothing_is_put():
    world = World()
    world.remaining_ms = RESERVE_MS
    assert world.run(*changes(1, 2)) == ["1"]
    assert not world.stream.records


# ---- poison

TOO_LARGE = OPEN | {"noise": b64encode(random.Random(1).randbytes(RECORD_BYTES_MAX)).decode() * 2}


@pytest.mark.parametrize(
    "poison",
    [
        BROKEN,
        {},
        table_change(None, None),
        table_change(None, OPEN) | {"eventName": "TRUNCATE"},
        table_change(None, OPEN) | {"eventID": None},
        table_change(None, OPEN) | {"dynamodb": None},
        table_change(None, OPEN | {"status": "\ud800"}),
        table_change(None, OPEN | {"order_id": "\ud800"}),
        table_change(None, TOO_LARGE),
        json.loads(json.dumps(table_change(None, OPEN)).replace('"N"', '"Q"')),
    ],
    ids=range(10),
)
def test_poison_is_a_dead_letter_with_its_exact_json_and_never_a_checkpoint(poison):
    world = World()
    before, after = changes(1, 999)
    assert world.run(before, poison, after) == []
    assert world.ids() == ["change-1", "change-999"]
    (((table, shard, _), (letter,)),) = world.dead_letters.objects.items()
    assert (table, shard) == (ORDERS_TABLE, SHARD)
    assert letter.refusal.reason is Reason.INVALID
    assert json.loads(letter.data) == poison
    assert world.report.dead_letters == {Reason.INVALID: 1}


def test_a_retry_overwrites_a_dead_letter_and_another_shards_is_kept_beside_it():
    world = World()
    world.run(BROKEN)
    world.run(BROKEN)
    assert [number.split("-")[0] for _, _, number in world.dead_letters.objects] == ["900"]
    world.run(BROKEN | {"eventName": "of another shard"})
    assert [number.split("-")[0] for _, _, number in world.dead_letters.objects] == ["900", "900"]


def test_a_dead_letter_lies_under_the_day_of_its_change():
    kept = []
    world = World()
    world.dead_letters.put_dead_letters = lambda table, shard, letters, timeout_ms: kept.extend(letters.values()) or {}
    world.run(table_change(None, None, created_at=NOON_MS // 1000))
    ((kept_under, (letter,)),) = kept
    assert (kept_under.arrived_at_ms, letter.sub_sequence_number) == (NOON_MS, None)


def test_a_dead_letter_that_cannot_be_stored_is_the_checkpoint_and_nothing_behind_it_is_put():
    world = World()
    world.run(BROKEN)
    world.dead_letters.refused = {number for _, _, number in world.dead_letters.objects}
    assert world.run(*changes(1), BROKEN, *changes(999)) == ["900"]
    assert world.ids() == ["change-1"]
    assert (world.report.errors, world.report.dead_letters) == ({"SlowDown": 1}, {})


def test_a_record_without_a_sequence_number_stops_nothing():
    world = World()
    unnumbered = table_change(OPEN, PAID)
    del unnumbered["dynamodb"]["SequenceNumber"]
    assert world.run(unnumbered, *changes(5)) == []
    assert len(world.stream.records) == 2


@pytest.mark.parametrize(("before", "checkpoint"), [([], WHOLE_BATCH), (changes(4), "4")])
def test_a_record_without_a_sequence_number_comes_again_with_the_one_before_it(before, checkpoint):
    world = World()
    unnumbered = table_change(OPEN, PAID)
    del unnumbered["dynamodb"]["SequenceNumber"]
    world.stream.refuse = lambda records: [place for place, each in enumerate(records) if b'"change-1"' in each.data]
    assert world.run(*before, unnumbered) == [checkpoint]
