"""Changes of a table, counted: over all windows together they are what a scan of the table gives."""

from collections import defaultdict
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.aggregates.windows import format_instant
from chalicelib.consumers.capture import Capture
from tests.builders import (
    CHANGES_CATALOG,
    MINUTE_MS,
    NOON_MS,
    ORDERS_TABLE,
    json_line,
    lambda_event,
    make_decoder,
    order_changed,
    record,
    table_change,
)
from tests.fakes import MemoryDeadLetters, MemoryStream
from tests.unit.consumers.ingest_world import World, plenty

DECODER = make_decoder(CHANGES_CATALOG)

rows = st.none() | st.fixed_dictionaries(
    {"status": st.sampled_from(["open", "paid", "sent"]), "amount": st.decimals(-50, 10**6, places=3)}
)
# What is written under which key, how long after the write before it.
writes = st.lists(st.tuples(st.sampled_from("abcd"), rows, st.integers(0, 90_000)), max_size=25)
cuts = st.lists(st.integers(0, 60), max_size=6)


class Table:
    """A table that tells its changes: (old, new, milliseconds)."""

    def __init__(self, writes):
        self.rows, self.changes = {}, []
        at_ms = NOON_MS - 30 * MINUTE_MS
        for key, row, after_ms in writes:
            at_ms += after_ms
            old, new = self.rows.pop(key, None), row and {"order_id": key, **row}
            if old or new:
                self.changes.append((old, new, at_ms))
            if new:
                self.rows[key] = new

    def scan(self):
        found = defaultdict(lambda: [0, Decimal(0)])
        for row in self.rows.values():
            found[row["status"]][0] += 1
            found[row["status"]][1] += row["amount"]
        return dict(found)


def counted(world):
    """All windows together, groups at zero aside."""
    found = defaultdict(lambda: [0, Decimal(0)])
    for partial in world.aggregates.partials.values():
        for (status,), (orders, amount) in partial.groups.items():
            found[status][0] += orders
            found[status][1] += amount
    return {status: states for status, states in found.items() if states != [0, 0]}


def pieces(items, cuts):
    bounds = sorted({0, len(items), *(min(cut, len(items)) for cut in cuts)})
    return [items[start:end] for start, end in pairwise(bounds)]


def ingest(payloads, cuts):
    world = World(catalog=CHANGES_CATALOG, decoder=DECODER)
    first = 1
    for piece in pieces(payloads, cuts):
        assert world.container()(lambda_event(piece, first=first), plenty).response == {"batchItemFailures": []}
        first += len(piece)
    assert not world.dead_letters.objects
    return world


def as_json(row):
    return row and row | {"amount": str(row["amount"])}


@given(writes, cuts)
def test_changes_over_all_windows_are_what_a_scan_of_the_table_gives(writes, cuts):
    table = Table(writes)
    payloads = [
        json_line(order_changed(as_json(old), as_json(new), number, time=format_instant(at_ms)))
        for number, (old, new, at_ms) in enumerate(table.changes)
    ]
    assert counted(ingest(payloads, cuts)) == table.scan()


@given(writes, cuts, cuts, st.randoms(use_true_random=False))
def test_captured_changes_are_what_a_scan_gives_whatever_the_stream_refuses_and_whatever_comes_twice(
    writes, cuts, ingest_cuts, chance
):
    table = Table(writes)
    records = [
        table_change(old, new, event_id=f"change-{number}", sequence_number=str(number), created_at=at_ms // 1000)
        for number, (old, new, at_ms) in enumerate(table.changes, 1)
    ]
    stream = MemoryStream()
    stream.refuse = lambda records: chance.sample(range(len(records)), chance.randint(0, len(records)))
    capture = Capture(ORDERS_TABLE, "order.changed", stream, MemoryDeadLetters(), pause=lambda _: None)
    for batch in pieces(records, cuts):
        while batch:
            times_ms = [60_000] * chance.randint(1, 6)  # then time is out
            report = capture({"Records": batch}, lambda times_ms=times_ms: times_ms.pop() if times_ms else 0)
            numbers = [each["dynamodb"]["SequenceNumber"] for each in batch]
            batch = batch[numbers.index(report.checkpoint) :] if report.checkpoint else []  # noqa: PLW2901
    assert counted(ingest([each.data for each in stream.records], ingest_cuts)) == table.scan()
    keys = {}
    for each in stream.records:
        (change,) = DECODER.decode(record(each.data)).events
        row = change.data.new or change.data.old
        assert keys.setdefault(row.order_id, each.partition_key) == each.partition_key
    assert len(set(keys.values())) == len(keys)
