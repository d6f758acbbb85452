"""A batch of plain records is worked on in stretches; it must come to the same, bit by bit, as record by record."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import definitions
from chalicelib.effects import RefusedError, handles
from chalicelib.errors import TransientError
from chalicelib.records import decode as decoding
from chalicelib.records.decode import Decoder
from tests.builders import MINUTE_MS, NOON_MS, aggregated, gzipped, json_line, json_lines, make_decoder, order
from tests.unit.consumers.ingest_world import POISON, World, events, plenty

LATENESS_MS = 2 * MINUTE_MS
CALM, REFUSED, FAILED = "calm", "refused", "failed"

plain = st.builds(
    lambda number, time, user, amount: json_line(
        order(number, time=f"2026-11-24T{time}Z", user_id=user, amount=amount)
    ),
    st.integers(1, 1_000) | st.integers(1, 3),  # so that some are repeats and most are none
    st.sampled_from(["11:58:40", "11:58:59.9996", "11:59:30", "11:58:10"]),
    st.sampled_from(["ada", "grace"]),
    st.sampled_from([1, 5_000, 6_000]),
)
others = st.one_of(
    plain.map(gzipped),
    st.lists(plain, min_size=1, max_size=3).map(lambda several: aggregated(*several)),
    st.sampled_from([POISON, json_lines(order(1), order(13))]),
)
payloads = st.integers(0, 9).flatmap(lambda chance: others if chance == 9 else plain)
arrivals_ms = st.sampled_from([NOON_MS, NOON_MS, NOON_MS, NOON_MS + 30_000, NOON_MS - 1])
records = st.lists(st.tuples(payloads, arrivals_ms), min_size=1, max_size=14)
moods = st.lists(st.sampled_from([CALM, CALM, REFUSED, FAILED]), min_size=10, max_size=10)  # by the id's last digit


class OneByOne(Decoder):
    """Knows no stretches."""

    def decode_all(self, records, hash_keys, keep):
        return [self.decode(record, hash_keys, keep) for record in records]


def one_by_one():
    decoder = make_decoder(lateness_ms=LATENESS_MS)
    decoder.__class__ = OneByOne
    return decoder


def attempts_at(decoder, stream, faults, moods):
    """The reports of containers that attempt a stream until all of it is done; and all that is then stored."""

    @handles(definitions.OrderPlaced, when=lambda order: order.amount >= 5_000)
    def tell(event, results):
        mood = moods[int(event.id[-1])]
        if mood == REFUSED:
            raise RefusedError("no such customer")
        if mood == FAILED:
            moods[int(event.id[-1])] = CALM
            raise TransientError("Throttled")

    world = World(handlers=[tell], decoder=decoder)
    container = world.container()
    reports, done = [], 0
    for again, hits, is_cold in [
        *faults,
        (0, (), True),
        (0, (), False),
        (0, (), False),
        (0, (), False),
        (0, (), False),
    ]:
        start = max(0, done - again)
        hit = iter(hits)
        world.aggregates.before_put = lambda put, hit=hit: "Throttled" if next(hit, False) else None
        container = world.container() if is_cold else container
        batch = [
            each
            for number, (payload, arrived_at_ms) in enumerate(stream[start:], start + 1)
            for each in events(payload, first=number, arrived_at_ms=arrived_at_ms)["Records"]
        ]
        if not batch:
            break
        report = container({"Records": batch}, plenty)
        reports.append(report)
        done = int(report.failed_sequence_number) - 1 if report.failed_sequence_number else len(stream)
    partials = [(key, part, list(part.groups)) for key, part in world.aggregates.partials.items()]
    return reports, partials, world.dead_letters.objects, world.progress, world.ids.__dict__


@given(
    records,
    st.lists(st.tuples(st.integers(0, 6), st.lists(st.booleans(), max_size=6), st.booleans()), max_size=3),
    moods,
    st.tuples(st.integers(2, 8), st.integers(1, 3)),
)
def test_stretches_come_to_what_record_by_record_does_whatever_fails(stream, faults, moods, sizes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "STRETCH_RECORDS_MAX", sizes[0])
        patch.setattr(decoding, "STRETCH_RECORDS_MIN", sizes[1])
        stretched = attempts_at(make_decoder(lateness_ms=LATENESS_MS), stream, faults, list(moods))
    assert stretched == attempts_at(one_by_one(), stream, faults, list(moods))
