"""Redrive: does what the messages of its queue ask for. Only this file knows the form of an SQS event.

What becomes of one object is `redrive_object`'s affair. A message that cannot be done now, or at all, comes again, and
ends in the queue's own dead-letter queue if it goes on so. No boto3 here.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from chalicelib.consumers.ports import LetterObjects, MessageQueue, RecordStream
from chalicelib.consumers.redrive_message import BadMessageError, RedriveMessage, encode_message, parse_message
from chalicelib.consumers.redrive_object import COME_AGAIN, ObjectRedrive, Outcome, time_left
from chalicelib.consumers.response import deliver_again
from chalicelib.errors import TransientError
from chalicelib.records.letter import CorruptError, CutShortError


class RedriveReport(Struct):
    """What became of an invocation's messages: counts, and the names of errors."""

    failed_message_ids: list[str] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)  # accepted by the stream, by reason
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def response(self) -> dict[str, Any]:
        """Lambda's partial batch response."""
        return deliver_again(self.failed_message_ids)


class Redrive:
    """The consumer of the redrive queue. `pause` waits so many milliseconds."""

    def __init__(
        self, objects: LetterObjects, stream: RecordStream, queue: MessageQueue, pause: Callable[[int], None]
    ) -> None:
        self._objects = objects
        self._queue = queue
        self._redrive_object = ObjectRedrive(objects, stream, pause)

    def __call__(self, event: Mapping[str, Any], remaining_ms: Callable[[], int]) -> RedriveReport:
        """Do what each message of an SQS event asks for, one after the other.

        Source: AWS Lambda Developer Guide, "Handling errors for an SQS event source in Lambda".
        """
        report = RedriveReport()
        for message in event["Records"]:
            outcome = self._settle(message["body"], remaining_ms, report)
            report.outcomes[outcome] += 1
            if outcome in COME_AGAIN:
                report.failed_message_ids.append(message["messageId"])
        return report

    def _settle(self, body: str, remaining_ms: Callable[[], int], report: RedriveReport) -> Outcome:
        try:
            message = parse_message(body)
            if message.key is None:
                return self._fan_out(message, remaining_ms)
            return self._redrive_object(message.key, message.reason, remaining_ms, report.letters)
        except BadMessageError:
            return Outcome.BAD_MESSAGE
        except CutShortError:
            return Outcome.CUT_SHORT
        except CorruptError:
            return Outcome.CORRUPT
        except TransientError as error:
            report.errors[str(error)] += 1
            return Outcome.FAILED

    def _fan_out(self, message: RedriveMessage, remaining_ms: Callable[[], int]) -> Outcome:
        """Send a message for each object under the prefix.

        Why a message for the rest when time runs out: were this one to come again, it would begin anew and never end.
        """
        last = message.after
        for keys in self._objects.list_keys(message.prefix or "", message.after):
            if not time_left(remaining_ms):
                rest = RedriveMessage(prefix=message.prefix, reason=message.reason, after=last)
                self._queue.send_messages([encode_message(rest)], remaining_ms())
                break
            messages = [RedriveMessage(key=key, reason=message.reason) for key in keys]
            self._queue.send_messages([encode_message(each) for each in messages], time_left(remaining_ms))
            last = keys[-1] if keys else last
        return Outcome.FANNED_OUT
