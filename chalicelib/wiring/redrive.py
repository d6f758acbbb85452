"""`redrive`: dead letters go back on the events stream."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from chalicelib import telemetry
from chalicelib.aws import clients
from chalicelib.aws.dead_letter_objects import DeadLetterObjects
from chalicelib.aws.redrive_queue import RedriveQueue
from chalicelib.consumers.redrive import Redrive
from chalicelib.wiring.stage import pause, settings
from chalicelib.wiring.stores import events_stream


def answer(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Do what the messages of the redrive queue ask for; the answer is Lambda's partial batch response."""
    report = make()(event, context.get_remaining_time_in_millis)
    telemetry.publish_redrive(report)
    return report.response


@cache
def make() -> Redrive:
    """What redrives."""
    return Redrive(
        DeadLetterObjects(clients.s3(), settings().dead_letters_bucket),
        events_stream(),
        RedriveQueue(clients.sqs(), settings().redrive_queue_url),
        pause,
    )
