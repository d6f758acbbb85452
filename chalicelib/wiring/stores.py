"""The stores that several functions share."""

from functools import cache

from chalicelib.aws import clients
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.aws.dead_letters_bucket import DeadLettersBucket
from chalicelib.aws.events_stream import EventsStream
from chalicelib.wiring.stage import CATALOG, settings


@cache
def aggregates_table() -> AggregatesTable:
    """The aggregates table."""
    return AggregatesTable(clients.dynamodb(), settings().aggregates_table, CATALOG, settings().lateness_ms)


@cache
def events_stream() -> EventsStream:
    """The events stream."""
    return EventsStream(clients.kinesis(), settings().events_stream)


@cache
def dead_letters_bucket() -> DeadLettersBucket:
    """The bucket of dead letters, as consumers put them there."""
    return DeadLettersBucket(clients.s3, settings().dead_letters_bucket)
