"""The queue of messages that redrive could not carry out, looked at and left as it is."""

from typing import Any

from chalicelib.consumers.redrive_message import BadMessageError, parse_message

HIDDEN_SECONDS = 1  # of a message that was looked at


class FailedQueue:
    """The messages that redrive gave up; looking at them leaves them there. Those of before do not count."""

    def __init__(self, sqs: Any, url: str) -> None:
        self._sqs = sqs
        self._url = url
        self._bodies: dict[str, str] = {}
        self._look()
        self._before = set(self._bodies)

    def keys(self) -> set[str]:
        """The objects whose message ended here since this was made."""
        self._look()
        bodies = [body for message_id, body in self._bodies.items() if message_id not in self._before]
        return set(filter(None, map(_key_of, bodies)))

    def _look(self) -> None:
        is_new = True
        while is_new:
            page = self._sqs.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=10, VisibilityTimeout=HIDDEN_SECONDS
            )
            messages = {message["MessageId"]: message["Body"] for message in page.get("Messages", [])}
            is_new = not messages.keys() <= self._bodies.keys()
            self._bodies |= messages


def _key_of(body: str) -> str | None:
    try:
        return parse_message(body).key
    except BadMessageError:
        return None
