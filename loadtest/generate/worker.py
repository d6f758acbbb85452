"""A worker's side of the run: its users take seats, wait until all are there, and tell the master what they see."""

import itertools
import logging
import os
from collections.abc import Callable
from typing import Any

import gevent
import msgspec
from gevent.event import AsyncResult
from locust.env import Environment

from loadtest.generate.messages import BEGIN, PRESENT, SEEN, Begin, Present, Seen, encode
from loadtest.recording import Ledger
from loadtest.target import TOKEN_VARIABLE

logger = logging.getLogger(__name__)

TELL_SECONDS = 1.0


class Seat:
    """One user's place in a run. Shapes: seen gathers what it has not told yet."""

    def __init__(self, name: str, send: Callable[[str, bytes], None]) -> None:
        self.name = name
        self.seen = Seen(name)
        self._send = send

    def tell(self, ledger: Ledger | None = None, *, is_done: bool = False) -> None:
        """Tell the master what was seen since."""
        seen, self.seen = self.seen, Seen(self.name)
        seen.ledger, seen.is_done = ledger, is_done
        self._send(SEEN, encode(seen))


class Worker:
    """What the users of one process share."""

    def __init__(self, environment: Environment) -> None:
        runner: Any = environment.runner
        self._runner = runner
        self._numbers = itertools.count()
        self._begin: AsyncResult = AsyncResult()
        self._runner.register_message(BEGIN, self._on_begin)

    @property
    def headers(self) -> dict[str, str]:
        """Of requests to the API: the token, which comes by the environment alone."""
        token = os.environ.get(TOKEN_VARIABLE)
        return {"Authorization": f"Bearer {token}"} if token else {}

    def take_seat(self, kind: str) -> tuple[Seat, Begin, int]:
        """Tell that a user is there, and wait for the run. Returns: its seat, the run, its number among its kind."""
        seat = Seat(f"{self._runner.client_id}#{next(self._numbers)}", self._runner.send_message)
        self._runner.send_message(PRESENT, encode(Present(seat.name, kind)))
        while True:
            begin: Begin = self._begin.get()
            if seat.name in begin.seats:
                return seat, begin, begin.seats[seat.name]
            gevent.sleep(TELL_SECONDS)  # one that came too late, for another that was lost: there is nothing for it

    def forget(self) -> None:
        """Forget the run that was: another is about to begin."""
        self._begin = AsyncResult()

    def _on_begin(self, environment: Environment, msg: Any) -> None:  # noqa: ARG002 (Locust calls it by these names)
        begin = msgspec.json.decode(msg.data, type=Begin)
        if begin.needs_token and not self.headers:
            logger.error("loadtest: the API wants a token, and %s is not set for this worker", TOKEN_VARIABLE)
        self._begin.set(begin)
