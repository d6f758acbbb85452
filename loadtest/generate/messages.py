"""What the master and the workers of a load test tell each other, as JSON in Locust's own messages; never a secret.

worker → master   PRESENT   a user is there and waits
master → workers  BEGIN     all are there: this is the run, and who is which of its workers and probers
worker → master   SEEN      each second: what a user has seen since; at its end its ledger
"""

import msgspec
from msgspec import Struct

from loadtest.recording import Lag, Ledger, Probe, Query, Run, Second
from loadtest.target import Target

PRESENT, BEGIN, SEEN = "loadtest-present", "loadtest-begin", "loadtest-seen"


class Present(Struct, frozen=True):
    """A user is there. Shapes: seat, what it is called from now on; kind, the name of its class."""

    seat: str
    kind: str


class Begin(Struct, frozen=True):
    """The run begins.

    Shapes: seats, by each user's seat its number among its kind; needs_token, whether the API lets nobody in without.
    """

    run: Run
    target: Target
    seats: dict[str, int]
    needs_token: bool


class Seen(Struct):
    """What a user has seen since it last told. Shapes: ledger, once, when it has done all that it was to do."""

    seat: str
    seconds: list[Second] = []
    probes: list[Probe] = []
    queries: list[Query] = []
    lags: list[Lag] = []
    ledger: Ledger | None = None
    is_done: bool = False


def encode(message: Struct) -> bytes:
    """As it travels."""
    return msgspec.json.encode(message)
