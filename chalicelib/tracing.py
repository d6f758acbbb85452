"""Traces of the application, by Powertools and X-Ray's SDK: where an invocation's time goes, call by call.

    Lambda's own segment  >  ## ingest (ColdStart, Service, Stage)  >  DynamoDB, Kinesis, S3: a subsegment a call

Names and times go out of here, and of errors types and places: no answer, no exception's text, no key of an event.
Lambda's own segment is not written here: it has the text of an exception that ends an invocation, which
`wiring/discretion.py` sees to. Where nothing is traced this file is not loaded, for the SDK costs a tenth of a cold
start.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from aws_lambda_powertools import Tracer
from aws_xray_sdk.core import xray_recorder
from aws_xray_sdk.core.emitters.udp_emitter import UDPEmitter
from aws_xray_sdk.core.models.facade_segment import FacadeSegment

A = TypeVar("A")
R = TypeVar("R")
Handler = Callable[[Any, Any], Any]


class DiscreetEmitter(UDPEmitter):  # type: ignore[misc]  # the SDK has no types
    """Sends our subsegments to X-Ray's daemon, without what exceptions say: that may quote an event.

    Why here: Powertools keeps answers and exceptions out of its metadata when told so, but the SDK itself writes down
              the text of any exception that a subsegment ends by.
    """

    def send_entity(self, entity: Any) -> None:
        """Send a subsegment and those below it."""
        _leave_texts_out(entity)
        super().send_entity(entity)


def _leave_texts_out(entity: Any) -> None:
    if isinstance(entity.cause, dict):  # else it is the id of an exception that a subsegment below has
        for exception in entity.cause.get("exceptions", ()):
            exception.message = None
    for each in entity.subsegments:
        _leave_texts_out(each)


def tracing(service: str, stage: str, function: str) -> Callable[[Handler], Handler]:
    """Begin to trace calls of AWS. Returns: what, around a handler, traces its invocations."""
    xray_recorder.configure(emitter=DiscreetEmitter())
    tracer = Tracer(service=service, patch_modules=["botocore"])

    def traced(handler: Handler) -> Handler:
        def annotated(event: Any, context: Any) -> Any:
            tracer.put_annotation("Stage", stage)
            return handler(event, context)

        annotated.__name__ = function  # Powertools names the subsegment after it
        return tracer.capture_lambda_handler(annotated, capture_response=False, capture_error=False)

    return traced


def carried(call: Callable[[A], R]) -> Callable[[A], R]:
    """The call, for another thread to make: what it calls of AWS is part of what is under way in this one.

    Why: the SDK keeps what is under way by thread. The other one is given a stand-in that knows no more than the ids,
         as the SDK has one for Lambda's segment: a call that is late, after its invocation has ended, must not fail
         because what it is part of is closed.
    """
    here = xray_recorder.get_trace_entity()
    stand_in = FacadeSegment("stand-in", here.id, here.trace_id, here.sampled)

    @wraps(call)
    def carrying(argument: A) -> R:
        xray_recorder.set_trace_entity(stand_in)
        return call(argument)

    return carrying
