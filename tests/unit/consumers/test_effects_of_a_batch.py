"""Handlers beside the metrics: what they do never changes what is counted."""

from chalicelib import definitions
from chalicelib.consumers.handle import to_be_handled
from chalicelib.effects import RefusedError, handles
from chalicelib.errors import TransientError
from chalicelib.records.rejection import Reason
from tests.builders import aggregated, json_line, order
from tests.unit.consumers.ingest_world import World, events, orders, plenty, total

NOON = "2026-11-24T12:00:00Z"
small, large = orders(1, 2, amount=12), json_line(order(3, amount=5_000))


class Moods:
    """A handler of large orders that does what the test says."""

    def __init__(self):
        self.mood = None
        self.handled = []

        @handles(definitions.OrderPlaced, when=lambda order: order.amount >= 5_000)
        def tell(event, results):
            if self.mood:
                raise self.mood
            self.handled.append(event.id)

        self.handler = tell


def make():
    moods = Moods()
    return moods, World(handlers=[moods.handler])


def test_only_what_a_handler_wants_is_handled_and_once():
    moods, world = make()
    container = world.container()
    assert container(events(aggregated(*small, large)), plenty).effects == 1
    world.container()(events(aggregated(*small, large)), plenty)  # again, cold
    container(events(large, first=2), plenty)  # a duplicate
    assert (moods.handled, total(world)) == (["event-3"], 3)


def test_a_transient_failure_is_a_checkpoint_at_its_record_and_counts_all_the_same():
    moods, world = make()
    moods.mood = TransientError("ThrottlingException")
    container = world.container()
    report = container(events(small[0], large, small[1]), plenty)
    assert report.response == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert report.errors == {"ThrottlingException": 1}
    assert (total(world), world.progress) == (3, {"shardId-000000000000": "1"})
    moods.mood = None
    assert container(events(large, small[1], first=2), plenty).response == {"batchItemFailures": []}
    assert (moods.handled, total(world)) == (["event-3"], 3)


def test_poison_of_a_handler_is_a_dead_letter_that_can_be_handled_later_and_is_not_counted_again():
    moods, world = make()
    moods.mood = RefusedError("no such customer")
    report = world.container()(events(aggregated(small[0], large)), plenty)
    assert report.dead_letters == {Reason.NOT_HANDLED: 1}
    ((piece,),) = world.dead_letters.objects.values()
    assert (piece.data, piece.sub_sequence_number, piece.refusal.error) == (large, 1, "no such customer")
    assert total(world) == 2

    redriven = to_be_handled(piece.data, "attempt-1", NOON)
    report = world.container()(events(redriven, first=2), plenty)
    assert report.dead_letters == {Reason.NOT_HANDLED: 1}
    moods.mood = None
    again = to_be_handled(
        world.dead_letters.objects["highwater-test-events", "shardId-000000000000", "2"][0].data, "attempt-2", NOON
    )
    assert world.container()(events(again, again, first=3), plenty).effects == 1
    assert (moods.handled, total(world)) == (["event-3"], 2)
