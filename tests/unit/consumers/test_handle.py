import gzip

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from chalicelib.aggregates.metric import Catalog
from chalicelib.consumers.handle import HANDLE_TYPE, Due, Handling, Unhandled, to_be_handled
from chalicelib.definitions import OrderPlaced
from chalicelib.effects import Effect, handles
from chalicelib.records.rejection import Reason
from tests.builders import CATALOG, NOON_MS, json_line, json_lines, make_decoder, order, record

NOON, LATER = "2026-11-24T12:00:00Z", "2026-11-25T12:00:00Z"


class Noted(Struct, frozen=True):
    """An event type that nobody handles."""


DECODER = make_decoder(Catalog(CATALOG.event_types | {"noted": Noted}, list(CATALOG.metrics.values())))
NOTED = order() | {"type": "noted", "data": {}}


@handles(OrderPlaced, when=lambda placed: placed.amount >= 10)
def large(event, results):
    pass


@handles(OrderPlaced, when=lambda placed: 1 / (placed.amount - 7) is not None)
def no_seven(event, results):
    pass


@handles(OrderPlaced)
def each(event, results):
    pass


def decode(*payloads, decoder=DECODER, **how):
    return [decoder.decode(record(payload, number), **how) for number, payload in enumerate(payloads, 1)]


def effects_of(handlers, *payloads, decoder=DECODER):
    handling = Handling(handlers, decoder)
    decoded = decode(*payloads, decoder=decoder, keep=handling.wants)
    return handling.effects_of(decoded)


def wrapped(event, event_id="redriven-1", time=NOON):
    return to_be_handled(json_line(event), event_id, time)


def places(plan):
    return [(due.place, due.index, due.effect.handler.name, due.effect.event.id) for due in plan.due]


def test_effects_are_told_in_the_order_of_the_stream_with_their_places():
    plan = effects_of(
        [large, each],
        json_lines(order(1, amount=5), NOTED, order(2, amount=15)),
        json_line(NOTED),
        json_line(order(3, amount=10)),
    )
    assert places(plan) == [
        (0, 0, "each", "event-1"),
        (0, 2, "large", "event-2"),
        (0, 2, "each", "event-2"),
        (2, 0, "large", "event-3"),
        (2, 0, "each", "event-3"),
    ]
    assert plan.unhandled == []


def test_where_nobody_handles_anything_there_are_no_effects():
    assert places(effects_of([], json_line(order()))) == []
    assert places(effects_of([large], json_line(NOTED), json_line(order(amount=9)), b"no event")) == []


def test_one_data_class_may_be_that_of_several_event_types():
    decoder = make_decoder(Catalog({"order.placed": OrderPlaced, "order.repeated": OrderPlaced}, []))
    again = order(2) | {"type": "order.repeated"}
    plan = effects_of([each], json_lines(again, order(1)), decoder=decoder)
    assert places(plan) == [(0, 0, "each", "event-2"), (0, 1, "each", "event-1")]


def test_a_predicate_that_fails_is_a_refusal_of_that_event_alone():
    plan = effects_of([no_seven, each], json_lines(order(1, amount=7), order(2, amount=8)))
    assert places(plan) == [(0, 0, "each", "event-1"), (0, 1, "no_seven", "event-2"), (0, 1, "each", "event-2")]
    ((place, index, refusal),) = map(msgspec.structs.astuple, plan.unhandled)
    assert (place, index, refusal.reason) == (0, 0, Reason.NOT_HANDLED)
    assert refusal.error.startswith("DivisionByZero")


def test_a_wrapped_event_has_the_effects_of_its_own_identity():
    plain, inside = (effects_of([large, each], make(order(amount=15))) for make in (json_line, wrapped))
    assert plain == inside
    assert inside.due[1] == Due(0, 0, Effect(each, DECODER.decode_event(json_line(order(amount=15)))))


def test_a_wrapped_event_is_handled_however_old_it_is_and_decoded_as_one_of_now():
    old = order(time="2020-01-01T00:00:00Z")
    assert [decoded.events for decoded in decode(json_line(old))] == [[]]
    assert len(effects_of([each], wrapped(old)).due) == 1
    (decoded,) = decode(wrapped(old))
    assert (decoded.rejected, decoded.parts[0].times_ms) == ((), [NOON_MS])


def test_wrapped_events_stand_among_others():
    plan = effects_of([each], json_lines(order(1), NOTED, orjson.loads(wrapped(order(2))), order(3)))
    assert places(plan) == [(0, 0, "each", "event-1"), (0, 2, "each", "event-2"), (0, 3, "each", "event-3")]


def wrap_anyhow(inside):
    return json_line(orjson.loads(wrapped(order())) | {"data": {"event": inside}})


@pytest.mark.parametrize(
    ("inside", "error"),
    [
        (order(amount=-1), "the event inside is invalid: "),
        (order() | {"type": "gone"}, "the event inside is unknown type: "),
        (7, "the event inside is invalid: "),
        (orjson.loads(wrapped(order())), "the event inside is itself one to be handled"),
    ],
)
def test_an_inner_event_that_cannot_be_read_is_told_and_stops_nothing(inside, error):
    plan = effects_of([each], wrap_anyhow(inside), json_line(order(2)))
    assert places(plan) == [(1, 0, "each", "event-2")]
    (unhandled,) = plan.unhandled
    assert isinstance(unhandled, Unhandled)
    assert (unhandled.place, unhandled.index, unhandled.refusal.reason) == (0, 0, Reason.NOT_HANDLED)
    assert unhandled.refusal.error.startswith(error)


def test_a_wrapper_without_an_event_is_no_event():
    (decoded,) = decode(json_line(orjson.loads(wrapped(order())) | {"data": {}}))
    assert [rejected.refusal.reason for rejected in decoded.rejected] == [Reason.INVALID]


def test_the_event_inside_is_kept_byte_by_byte():
    exact = b'{"amount": 1.10000000000000000000, "x":  [1e2]}'
    event = to_be_handled(exact, "redriven-1", NOON)
    assert exact in event
    read = orjson.loads(event)
    assert (read["id"], read["source"], read["type"]) == ("redriven-1", "/highwater/redrive", HANDLE_TYPE)
    assert read["time"] == NOON


def test_wrapping_never_nests():
    once = wrapped(order(), "first")
    twice = to_be_handled(once, "second", LATER)
    assert twice == wrapped(order(), "second", LATER)


def test_what_came_compressed_is_wrapped_expanded():
    assert to_be_handled(gzip.compress(json_line(order())), "redriven-1", NOON) == wrapped(order())


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b"7", "Expected `object`, got `int`"),
        (b"\x1f\x8b", "gzip: "),
        (b'{"type": "highwater.handle"}', "Expected `object`, got `null`"),
    ],
)
def test_what_is_no_event_cannot_be_wrapped(event, error):
    with pytest.raises(ValueError, match=error):
        to_be_handled(event, "redriven-1", NOON)


amounts = st.lists(st.lists(st.sampled_from([None, 7, 9, 10, 11]), max_size=4), max_size=5)


@given(amounts, st.randoms(use_true_random=False))
def test_the_plan_is_what_asking_every_event_one_by_one_would_give(batch, chance):
    handlers = [large, no_seven, each]
    expected, refused, payloads = [], [], []
    for place, record_amounts in enumerate(batch):
        events = []
        for index, amount in enumerate(record_amounts):
            event = order(index, amount=amount) if amount else NOTED
            events.append(orjson.loads(wrapped(event)) if chance.random() < 0.3 else event)
            if amount is None:
                continue
            names = [*(["large"] if amount >= 10 else []), *(["no_seven"] if amount != 7 else []), "each"]
            expected += [(place, index, name, f"event-{index}") for name in names]
            refused += [(place, index)] if amount == 7 else []
        payloads.append(json_lines(*events))
    plan = effects_of(handlers, *payloads)
    assert places(plan) == expected
    assert [(each.place, each.index) for each in plan.unhandled] == refused
