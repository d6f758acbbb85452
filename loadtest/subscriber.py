"""A subscriber to results, as it should be: repeats are dropped by id, and of a window the highest revision holds."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import msgspec

from loadtest.cdnow import Total
from ops.subscription import Messages

RECEIVE_SECONDS = 1

_decode = msgspec.json.Decoder(float_hook=Decimal).decode  # exact: `25.10` is no float

Window = tuple[str, str, str]  # metric, start and end


class Results:
    """What the messages taken so far come to. Parts of a window's message may come in any order.

    Shapes: windows has of each window the parts of its highest revision, by number; alerts, by id; repeats counts the
            messages that told nothing new.
    """

    def __init__(self) -> None:
        self.windows: dict[Window, dict[int, Mapping[str, Any]]] = {}
        self.alerts: dict[str, Mapping[str, Any]] = {}
        self.messages: Counter[str] = Counter()
        self.repeats = 0

    def take(self, body: str) -> None:
        """Take a message."""
        message = _decode(body)
        self.messages[message["kind"]] += 1
        is_news = self._take_window(message) if message["kind"] == "window" else self._take_alert(message)
        self.repeats += not is_news

    def _take_alert(self, message: Mapping[str, Any]) -> bool:
        is_news = message["id"] not in self.alerts
        self.alerts[message["id"]] = message
        return is_news

    def _take_window(self, message: Mapping[str, Any]) -> bool:
        window = (message["metric"], message["window_start"], message["window_end"])
        known = self.windows.get(window, {})
        newest = max((_rank(part) for part in known.values()), default=(-1, False))
        if _rank(message) > newest:
            self.windows[window] = {message["part"]: message}
            return True
        if _rank(message) < newest or message["part"] in known:
            return False
        known[message["part"]] = message
        return True

    def rows(self) -> dict[Window, Sequence[Mapping[str, Any]]]:
        """The rows of each window of which every part is there."""
        return {
            window: [row for number in sorted(parts) for row in parts[number]["rows"]]
            for window, parts in list(self.windows.items())
            if len(parts) == next(iter(parts.values()))["parts"]
        }

    def orders_by_day(self) -> dict[str, Total]:
        """Orders and revenue of each day ("1997-01-31") that results of the metric `orders` tell of."""
        return {
            start[: len("1997-01-31")]: Total(
                sum(row["count"] for row in rows), sum((Decimal(row["revenue"]) for row in rows), Decimal(0))
            )
            for (metric, start, _), rows in self.rows().items()
            if metric == "orders"
        }


def _rank(message: Mapping[str, Any]) -> tuple[int, bool]:
    """The last message of a window has its last revision, and is final."""
    return message["revision"], message["final"]


class Subscriber(threading.Thread):
    """Takes messages between `with` and its end."""

    def __init__(self, messages: Messages) -> None:
        super().__init__(name="subscriber", daemon=True)
        self.results = Results()
        self._messages = messages
        self._stopping = threading.Event()

    def run(self) -> None:
        """Take messages, as they come."""
        while not self._stopping.is_set():
            for body in self._messages.receive(wait_seconds=RECEIVE_SECONDS):
                self.results.take(body)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self.join()
