"""Effects of single events that are no aggregate: how a handler of them is declared, and what it may do.

Counting never depends on a handler: an event is counted whatever its handlers do. No boto3, clock or environment here;
a mistake in a declaration is found at import and names itself.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import Struct

from chalicelib.errors import DefinitionError
from chalicelib.records.cloudevents import CloudEvent, shorten

T = TypeVar("T", bound=Struct)


class Results(Protocol):
    """Where handlers publish what others subscribe to."""

    def publish(self, kind: str, message_id: str, message: Mapping[str, Any]) -> None:
        """Publish a message; see `stable_id` for its id, and `result_message` for its shape.

        Raises: TransientError when it may well succeed later.
        """


class RefusedError(Exception):
    """A handler refuses an event for good. The text is kept with the dead letter, never logged."""


Act = Callable[[CloudEvent, Results], None]


class Handler(Struct, frozen=True):
    """What to do about single events of one type.

    Shapes: when, asked of the event's data, says whether there is anything to do; it is cheap and pure.
    Why when: only an event that passes costs an idempotency record, so that the cost of a stream stays per batch.
    """

    name: str
    data_class: type[Struct]
    when: Callable[[Any], bool]
    act: Act


class Effect(Struct, frozen=True):
    """One event, to be handled by one handler."""

    handler: Handler
    event: CloudEvent

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes it the same effect whenever it comes: the handler's name, the event's source and id."""
        return (self.handler.name, self.event.source, self.event.id)


def always(_data: Any) -> bool:
    """Every event of the type is to be handled."""
    return True


def handles(data_class: type[T], when: Callable[[T], bool] = always) -> Callable[[Act], Handler]:
    """Declare that a function handles the events with this data; list what it becomes in `HANDLERS`.

    The function runs at most once to success for each event id. It raises RefusedError, or anything else, when it will
    never succeed with this event (a dead letter, which can be redriven), and TransientError when it may later on (the
    record is then the batch's checkpoint). Several run at once, and one that succeeded just before its process died
    runs again: what it does elsewhere should carry a `stable_id`.

    Raises: DefinitionError when it decorates no plain function of an event and results.
    """

    def declare(act: Act) -> Handler:
        if not inspect.isfunction(act):
            raise DefinitionError(f"@handles({_name_of(data_class)}): {act!r} is no function")
        name = act.__name__

        def require(holds: bool, rule: str) -> None:
            if not holds:
                raise DefinitionError(f"handler {name!r}: {rule}")

        require(name.isidentifier(), "its function has no plain name")
        # Called, it would only make an object that does nothing: the effect would be lost without a word.
        is_deferred = inspect.iscoroutinefunction(act) or inspect.isgeneratorfunction(act)
        require(not is_deferred and not inspect.isasyncgenfunction(act), "it is asynchronous or a generator")
        require(_takes(act, 2), "it takes an event and results, and nothing else")
        require(callable(when), "its `when` is no function")
        return Handler(name, data_class, when, act)

    return declare


def check_handlers(handlers: Sequence[Handler], event_types: Mapping[str, type[Struct]]) -> tuple[Handler, ...]:
    """Check the declared handlers against the declared event types, and give them back.

    Raises: DefinitionError, naming the handler at fault.
    """
    names = set()
    for handler in handlers:
        if not isinstance(handler, Handler):
            raise DefinitionError(f"handler {_name_of(handler)!r} is not declared by @handles(…)")
        if handler.data_class not in event_types.values():
            raise DefinitionError(
                f"handler {handler.name!r}: no event type has the data {_name_of(handler.data_class)}"
            )
        if handler.name in names:
            raise DefinitionError(f"two handlers are named {handler.name!r}")
        names.add(handler.name)
    return tuple(handlers)


def stable_id(about: str, event: CloudEvent) -> str:
    """An id that is the same whenever the same is said about the same event, so that a receiver can drop repeats.

    Shapes: about names what is done or said, usually the handler or the message's kind.
    """
    return sha256(msgspec.json.encode((about, event.source, event.id))).hexdigest()[:32]


def result_message(kind: str, message_id: str, message: Mapping[str, Any]) -> dict[str, Any]:
    """The message as subscribers get it.

    Raises: ValueError when it has an `id` or a `kind` of its own.
    """
    envelope = {"id": message_id, "kind": kind}
    if taken := envelope.keys() & message.keys():
        raise ValueError(f"a message has no {min(taken)!r} of its own")
    return {**envelope, **message}


def explain_refusal(error: Exception) -> str:
    """Say why a handler will not have an event, by what it raised."""
    text = str(error) if isinstance(error, RefusedError) else f"{type(error).__name__}: {error}"
    return shorten(text)


def _takes(function: Callable[..., Any], arguments: int) -> bool:
    try:
        inspect.signature(function).bind(*[None] * arguments)
    except TypeError:
        return False
    return True


def _name_of(declared: Any) -> str:
    return getattr(declared, "__name__", None) or repr(declared)
