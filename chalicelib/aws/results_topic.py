"""The topic of results. Only this file knows what a message on it looks like: JSON, with attributes to filter by.

Source: Amazon SNS API Reference, Publish and PublishBatch.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial as bind
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from botocore.exceptions import ClientError, ParamValidationError
from msgspec import Struct

from chalicelib.aws.breaker import Breaker
from chalicelib.aws.concurrent import call_all, result_in_time
from chalicelib.aws.failures import THROTTLED, name_of, transient_errors
from chalicelib.consumers.cut import cut
from chalicelib.consumers.ports import ATTRIBUTE_TYPE, Failed, Message, Published, PublishOutcome, Refused
from chalicelib.consumers.result_message import MESSAGE_BYTES_MAX
from chalicelib.effects import result_message
from chalicelib.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sns.type_defs import (
        MessageAttributeValueTypeDef,
        PublishBatchRequestEntryTypeDef,
        PublishBatchResponseTypeDef,
    )

R = TypeVar("R")

ENTRIES_A_REQUEST = 10  # PublishBatch's own limit; its other one is MESSAGE_BYTES_MAX for all of them together
PAUSE_MS_FIRST = 100  # before what SNS did not take is sent again; then twice as long each time
PAUSE_MS_MAX = 5_000

# Of a whole request: some message in it is at fault.
A_MESSAGE_IS_WRONG = {
    "BatchRequestTooLong",
    "InvalidParameter",
    "InvalidParameterException",  # the emulators' name for it
    "InvalidParameterValue",
    "ParameterValueInvalid",
    "ValidationError",
    "ValidationException",
}
# Of a message: the stage is set up wrongly, and any message would be refused. So are all of KMS' errors.
THE_STAGE_IS_WRONG = {
    "AccessDenied",
    "AccessDeniedException",
    "AuthorizationError",
    "EndpointDisabled",
    "InvalidSecurity",
    "NotFound",
}

_encoder = msgspec.json.Encoder(decimal_format="number")  # exact, digit by digit


class _Busy(Struct, frozen=True):
    """SNS has not taken the message now, and may take it when asked again."""

    error: str


_Outcome = PublishOutcome | _Busy


class ResultsTopic:
    """The Results of the handlers, and the MessageTopic of the consumers, on SNS.

    Shapes: breaker guards every call; pause waits so many milliseconds.
    """

    def __init__(
        self,
        client: "SNSClient",
        topic_arn: str,
        breaker: Breaker | None = None,
        pause: Callable[[int], None] = lambda pause_ms: sleep(pause_ms / 1000),
    ) -> None:
        self._client = client
        self._topic_arn = topic_arn
        self._breaker = breaker or Breaker("results")
        self._pause = pause

    def publish(self, kind: str, message_id: str, message: Mapping[str, Any]) -> None:
        """Publish a message; a subscription's filter policy can name its `kind`.

        Raises: TransientError when SNS fails, throttles or cannot be reached; ClientError when it refuses the message.
        """
        body = _encoder.encode(result_message(kind, message_id, message)).decode()
        publish = bind(
            self._client.publish,
            TopicArn=self._topic_arn,
            Message=body,
            MessageAttributes=_attributes({"kind": kind}),
        )
        self._breaker.call(bind(_call, publish))

    def publish_messages(self, messages: Sequence[Message], timeout_ms: int) -> list[PublishOutcome]:
        """Publish these messages, all requests at once, and again what SNS did not take; one outcome each, in order.

        Returns: Refused of a message that SNS will never take. Failed of one that it may take later, or that is not
                 known to be taken: throttled, unreachable, a stage that is set up wrongly, a circuit that is open.
        """
        deadline = monotonic() + timeout_ms / 1000

        def time_left_ms() -> int:
            return int((deadline - monotonic()) * 1000)

        outcomes: list[_Outcome] = [_Busy("out of time")] * len(messages)
        left: Sequence[int] = range(len(messages))
        pause_ms = PAUSE_MS_FIRST
        while left:
            sizes = {place: messages[place].payload_bytes for place in left}
            requests = list(cut(left, sizes.__getitem__, ENTRIES_A_REQUEST, MESSAGE_BYTES_MAX))
            # On threads of their own: SNS that hangs must not keep anything from being read or counted.
            calls = call_all(bind(self._publish_some, messages), requests, time_left_ms(), threads="results")
            for request, call in zip(requests, calls, strict=True):
                for place, outcome in zip(request, _outcomes_of(call, len(request)), strict=True):
                    outcomes[place] = outcome
            left = [place for place in left if isinstance(outcomes[place], _Busy)]
            if not left or not self._breaker.is_closed or time_left_ms() <= pause_ms:
                break
            self._pause(pause_ms)
            pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)
        return [Failed(outcome.error) if isinstance(outcome, _Busy) else outcome for outcome in outcomes]

    def _publish_some(self, messages: Sequence[Message], places: Sequence[int]) -> list[_Outcome]:
        """Publish one request's messages; one by one if SNS refuses the whole, to find the one at fault.

        Raises: TransientError when none of them was taken, and all may be later.
        """
        entries = [_entry(number, messages[place]) for number, place in enumerate(places)]
        try:
            answer = self._breaker.call(bind(self._publish_batch, entries))
        except (ClientError, ParamValidationError) as error:
            outcome = _judge_request(error)
            if isinstance(outcome, Refused) and len(places) > 1:
                return [outcome for place in places for outcome in self._publish_alone(messages, place)]
            return [outcome] * len(places)
        outcomes: list[_Outcome] = [_Busy("no answer")] * len(places)
        for taken in answer.get("Successful", ()):
            outcomes[int(taken["Id"])] = Published()
        for failed in answer.get("Failed", ()):
            code, text = failed["Code"], failed.get("Message", "")
            outcomes[int(failed["Id"])] = _judge(code, text, is_senders_fault=failed["SenderFault"])
        return outcomes

    def _publish_alone(self, messages: Sequence[Message], place: int) -> list[_Outcome]:
        try:
            return self._publish_some(messages, [place])
        except TransientError as error:
            return [_Busy(str(error))]

    def _publish_batch(self, entries: "Sequence[PublishBatchRequestEntryTypeDef]") -> "PublishBatchResponseTypeDef":
        """Make one request.

        Raises: TransientError also when SNS takes no message of it, and all may be taken later: for the breaker.
        """
        answer = _call(
            bind(self._client.publish_batch, TopicArn=self._topic_arn, PublishBatchRequestEntries=list(entries))
        )
        failed = answer.get("Failed", [])
        verdicts = [_judge(each["Code"], "", is_senders_fault=each["SenderFault"]) for each in failed]
        if len(failed) == len(entries) and all(isinstance(verdict, _Busy) for verdict in verdicts):
            raise TransientError(failed[0]["Code"])
        return answer


def _call(call: Callable[[], R]) -> R:
    with transient_errors():
        return call()


def _outcomes_of(call: Future[list[_Outcome]], count: int) -> list[_Outcome]:
    try:
        return result_in_time(call)
    except TransientError as error:
        return [_Busy(str(error))] * count


def _judge_request(error: ClientError | ParamValidationError) -> _Outcome:
    """What an error of a whole request means for its messages."""
    name = name_of(error)
    if isinstance(error, ClientError) and name in A_MESSAGE_IS_WRONG:
        return _judge(name, str(error.response["Error"].get("Message", "")), is_senders_fault=True)
    return Failed(name)


def _judge(code: str, text: str, *, is_senders_fault: bool) -> _Outcome:
    if code in THROTTLED:
        return _Busy(code)
    if code in THE_STAGE_IS_WRONG or code.startswith("KMS") or "TopicArn" in text:
        return Failed(code)
    return Refused(f"{code}: {text}") if is_senders_fault else _Busy(code)


def _entry(number: int, message: Message) -> "PublishBatchRequestEntryTypeDef":
    return {
        "Id": str(number),
        "Message": message.body.decode(),
        "MessageAttributes": _attributes(message.attributes),
    }


def _attributes(attributes: Mapping[str, str]) -> "dict[str, MessageAttributeValueTypeDef]":
    return {name: {"DataType": ATTRIBUTE_TYPE, "StringValue": value} for name, value in attributes.items()}
