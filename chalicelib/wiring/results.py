"""The way to the subscribers of results."""

from functools import cache

from chalicelib import telemetry
from chalicelib.aws import clients
from chalicelib.aws.breaker import Breaker
from chalicelib.aws.results_topic import ResultsTopic
from chalicelib.consumers.publish import Publish
from chalicelib.wiring.stage import now_ms, pause, settings
from chalicelib.wiring.stores import dead_letters_bucket


@cache
def results_topic() -> ResultsTopic:
    """The topic of results."""
    breaker = Breaker("results", telemetry.publish_circuit)
    return ResultsTopic(clients.sns(), settings().results_topic_arn, breaker, pause)


def publisher(name: str) -> Publish:
    """What publishes windows on the topic, by the name that its dead letters give it."""
    return Publish(results_topic(), dead_letters_bucket(), settings().aggregates_table, name, now_ms)
