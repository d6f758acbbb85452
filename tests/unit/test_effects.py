import msgspec
import pytest

from chalicelib import definitions
from chalicelib.definitions import OrderPlaced, announce_large_order
from chalicelib.effects import (
    Handler,
    RefusedError,
    always,
    check_handlers,
    explain_refusal,
    handles,
    result_message,
    stable_id,
)
from chalicelib.errors import DefinitionError
from tests.builders import json_line, make_decoder, order

EVENT_TYPES = {"order.placed": OrderPlaced}
DECODE = make_decoder().decode_event


@handles(OrderPlaced)
def greet(event, results):
    results.publish("greeting", "1", {})


class Undeclared(msgspec.Struct):
    pass


def test_a_handler_is_named_like_its_function_and_asked_of_every_event_unless_it_says_when():
    assert greet == Handler("greet", OrderPlaced, always, greet.act)
    assert greet.when("anything")


def test_the_declared_handlers_come_back_as_they_are():
    assert check_handlers([greet, announce_large_order], EVENT_TYPES) == (greet, announce_large_order)
    assert check_handlers(definitions.HANDLERS, definitions.EVENT_TYPES) == definitions.HANDLERS


def plain(event, results):
    pass


def test_a_handler_of_an_undeclared_event_type_is_refused_by_name():
    with pytest.raises(DefinitionError, match="handler 'plain': no event type has the data Undeclared"):
        check_handlers([handles(Undeclared)(plain)], EVENT_TYPES)


def test_two_handlers_of_one_name_are_refused_by_name():
    with pytest.raises(DefinitionError, match="two handlers are named 'greet'"):
        check_handlers([greet, handles(OrderPlaced, when=bool)(greet.act)], EVENT_TYPES)


@pytest.mark.parametrize(("listed", "named"), [(plain, "'plain'"), (7, "'7'")])
def test_what_is_listed_and_not_declared_is_refused_by_name(listed, named):
    with pytest.raises(DefinitionError, match=f"handler {named} is not declared by @handles"):
        check_handlers([listed], EVENT_TYPES)


async def asynchronous(event, results):
    pass


def generator(event, results):
    yield


async def asynchronous_generator(event, results):
    yield


def of_one(event):
    pass


@pytest.mark.parametrize(
    ("declared", "error"),
    [
        (7, "@handles(OrderPlaced): 7 is no function"),
        (OrderPlaced, "is no function"),
        (greet, "is no function"),  # a second @handles upon the first
        (lambda event, results: None, "handler '<lambda>': its function has no plain name"),
        (asynchronous, "handler 'asynchronous': it is asynchronous or a generator"),
        (generator, "handler 'generator': it is asynchronous or a generator"),
        (asynchronous_generator, "handler 'asynchronous_generator': it is asynchronous or a generator"),
        (of_one, "handler 'of_one': it takes an event and results, and nothing else"),
    ],
)
def test_what_is_no_plain_function_of_an_event_and_results_is_refused_by_name(declared, error):
    with pytest.raises(DefinitionError) as refused:
        handles(OrderPlaced)(declared)
    assert error in str(refused.value)


def test_a_when_that_is_no_function_is_refused_by_name():
    with pytest.raises(DefinitionError, match="handler 'plain': its `when` is no function"):
        handles(OrderPlaced, when=True)(plain)


def test_a_stable_id_tells_apart_what_is_said_and_of_which_event():
    first, other = (DECODE(json_line(order(number))) for number in (1, 2))
    elsewhere = DECODE(json_line(order(1) | {"source": "/elsewhere"}))
    # "a/b" + "c" and "a" + "b/c" are two identities
    one, another = (
        DECODE(json_line(order() | each)) for each in ({"source": "a/b", "id": "c"}, {"source": "a", "id": "b/c"})
    )
    ids = [stable_id("x", first), stable_id("y", first)]
    ids += [stable_id("x", each) for each in (other, elsewhere, one, another)]
    assert len(set(ids)) == len(ids)
    assert stable_id("x", first) == stable_id("x", DECODE(json_line(order(1, amount=7)))) == ids[0]


def test_a_message_has_its_id_and_kind_in_front_and_none_of_its_own():
    assert list(result_message("greeting", "7", {"to": "ada"}).items()) == [
        ("id", "7"),
        ("kind", "greeting"),
        ("to", "ada"),
    ]
    with pytest.raises(ValueError, match="a message has no 'kind' of its own"):
        result_message("greeting", "7", {"kind": "other"})


def test_a_refusal_says_what_was_raised_and_is_never_long():
    assert explain_refusal(RefusedError("no such customer")) == "no such customer"
    assert explain_refusal(KeyError("customer")) == "KeyError: 'customer'"
    assert len(explain_refusal(RefusedError("x" * 100_000))) == 300


@pytest.mark.parametrize(("amount", "is_large"), [(4999.99, False), (5000, True), (10_000, True)])
def test_an_order_is_large_from_5_000_on(amount, is_large):
    assert announce_large_order.when(DECODE(json_line(order(amount=amount))).data) is is_large
