"""Publish: messages to the topic of results; those that can never be sent become dead letters.

A message is done with when the topic has taken it, or when it is kept as a dead letter. Whoever publishes has the
others come again. No boto3 here.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

from msgspec import Struct, field

from chalicelib.consumers.ports import DeadLetterStore, Failed, Message, MessageTopic, Published, Refused
from chalicelib.records.batch import Record
from chalicelib.records.cloudevents import shorten
from chalicelib.records.rejection import Reason, Refusal, Rejected

LETTERS_RESERVE_MS = 2_000  # kept back of the time to publish, to store what was refused


class PublishReport(Struct):
    """What became of messages, for the metrics and the log."""

    published: int = 0
    final: int = 0
    refused: int = 0
    failed: int = 0
    errors: Counter[str] = field(default_factory=Counter)


class Sending(Struct, frozen=True):
    """What there is to publish of one thing: a window in parts, an alert.

    Shapes: sequence_number, of the change that told of it, names its dead letters.
    """

    sequence_number: str
    messages: Sequence[Message]


class Publish:
    """Publishes for one of the consumers: the dead letters are filed under the aggregates table and its name."""

    def __init__(
        self, topic: MessageTopic, dead_letters: DeadLetterStore, table: str, name: str, clock_ms: Callable[[], int]
    ) -> None:
        self._topic = topic
        self._dead_letters = dead_letters
        self._table = table
        self._name = name
        self._clock_ms = clock_ms

    def __call__(self, sendings: Sequence[Sending], time_left_ms: Callable[[], int], report: PublishReport) -> set[int]:
        """Publish these, at once. Returns: the places of those of which not every message is done with."""
        messages = [message for sending in sendings for message in sending.messages]
        places = list(chain.from_iterable([place] * len(each.messages) for place, each in enumerate(sendings)))
        timeout_ms = max(0, time_left_ms() - LETTERS_RESERVE_MS)
        outcomes = self._topic.publish_messages(messages, timeout_ms) if messages else ()
        failed: set[int] = set()
        refused: dict[int, list[Rejected]] = defaultdict(list)
        for place, message, outcome in zip(places, messages, outcomes, strict=True):
            match outcome:
                case Published():
                    report.published += 1
                    report.final += message.attributes.get("final") == "true"
                case Refused(error):
                    refusal = Refusal(Reason.UNSENDABLE, shorten(error))
                    refused[place].append(Rejected(refusal, "", None, message.body))
                case Failed(error):
                    report.failed += 1
                    report.errors[error] += 1
                    failed.add(place)
        if refused:
            failed |= self._keep(sendings, refused, time_left_ms(), report)
        return failed

    def _keep(
        self, sendings: Sequence[Sending], refused: Mapping[int, list[Rejected]], timeout_ms: int, report: PublishReport
    ) -> set[int]:
        """Store as dead letters what was refused, by place. Returns: the places of which that failed."""
        now_ms = self._clock_ms()
        rejected = {
            # What stands for the change came from no stream of records: it has no position, and its bytes are nobody's.
            place: (Record(sendings[place].sequence_number, "", "", now_ms, b""), letters)
            for place, letters in refused.items()
        }
        failed = self._dead_letters.put_dead_letters(self._table, self._name, rejected, timeout_ms)
        report.errors.update(failed.values())
        for place, letters in refused.items():
            if place in failed:
                report.failed += len(letters)
            else:
                report.refused += len(letters)
        return set(failed)
