"""Reading events by their own type gives what a union of tagged structs gives, in which msgspec finds the type."""

import json
from functools import reduce
from operator import or_

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.definitions import EVENT_TYPES
from chalicelib.records.cloudevents import CloudEvent, EventDecoder, event_class, explain
from chalicelib.records.rejection import Refusal
from tests.builders import json_line, order, order_changed

CLASSES = {name: event_class(name, data_class) for name, data_class in EVENT_TYPES.items()}
DECODER = EventDecoder(CLASSES)
ROW = {"order_id": "order-1", "status": "open", "amount": 3}
ORDER, CHANGE = order(1), order_changed(None, ROW)


def tagged(name):
    fields = [(f.name, f.type) for f in msgspec.structs.fields(CLASSES[name]) if f.name != "type"]
    return msgspec.defstruct(f"{name}-tagged", fields, tag_field="type", tag=name)


UNION = msgspec.json.Decoder(reduce(or_, map(tagged, CLASSES)))


def outcome(decode, text):
    """The attributes of the event, or why there is none."""
    try:
        event = decode(text)
    except Exception as error:  # noqa: BLE001  as the decoder does
        return explain(text, error, CLASSES).reason
    kind = event.type if isinstance(event, CloudEvent) else type(event).__struct_config__.tag
    return kind, event.id, event.source, event.time, event.data


# Attributes as JSON text, in any order, some of them twice, with escapes: so no dict.
attributes = st.sampled_from(
    [
        *(f'"{name}":{json.dumps(value)}' for made in (ORDER, CHANGE) for name, value in made.items()),
        '"type":"order.placed"',
        '"t\\u0079pe":"order.placed"',
        '"type":"order.changed"',
        '"type":"unknown"',
        '"type":null',
        '"type":7',
        '"specversion":"2.0"',
        '"id":""',
        '"time":"2026-11-24T11:59:30"',
        '"extension":{"type":"order.placed"}',
        '"data":{"type":"order.placed"}',
        '"data":{"order_id":"\\ud800"}',
        '"data":7',
        '"broken":{',
    ]
)
whole = st.sampled_from([ORDER, CHANGE]).map(lambda made: [f'"{name}":{json.dumps(made[name])}' for name in made])
texts = st.builds(
    lambda some, more, chance: "{" + ",".join(chance.sample(some + more, len(some + more))) + "}",
    whole | st.just([]),
    st.lists(attributes, max_size=3),
    st.randoms(use_true_random=False),
).map(str.encode)


@given(texts)
def test_an_event_read_by_its_type_is_what_the_union_makes_of_it(text):
    assert outcome(DECODER.decode, text) == outcome(UNION.decode, text)


@given(st.lists(texts | st.sampled_from([json_line(ORDER), json_line(CHANGE)]), max_size=5))
def test_several_at_once_are_what_each_alone_is(several):
    alone = [outcome(DECODER.decode, text) for text in several]
    if any(not isinstance(each, tuple) for each in alone):
        with pytest.raises((ValueError, KeyError)):
            DECODER.decode_all(several)
    else:
        assert DECODER.decode_all(several) == [DECODER.decode(text) for text in several]


def test_an_event_without_a_type_is_none_behind_events_that_have_one():
    untyped = json_line({name: value for name, value in ORDER.items() if name != "type"})
    with pytest.raises(msgspec.ValidationError, match="missing required field `type`"):
        DECODER.decode_all([json_line(ORDER), untyped])


def test_what_is_no_event_is_explained():
    assert isinstance(explain(b'{"type":"order.placed"}', ValueError("x"), CLASSES), Refusal)
