"""Invokes a function at a rate, as EventBridge does: first when the time has passed once; one invocation at a time."""

import logging
import threading
from datetime import UTC, datetime

import orjson

from localstage.aws import ACCOUNT_ID, REGION
from localstage.runtime import Function, FunctionClosedError

logger = logging.getLogger(__name__)


class ScheduleRule(threading.Thread):
    """One function, every so many seconds, until `stop`."""

    def __init__(self, function: Function, seconds: int) -> None:
        super().__init__(name=f"{function.spec.name}-schedule", daemon=True)
        self.function = function
        self._seconds = seconds
        self._stopping = threading.Event()

    def run(self) -> None:
        """Invoke until stopped; an invocation that fails is logged and the next one comes in its time."""
        while not self._stopping.wait(self._seconds):
            try:
                self.invoke()
            except FunctionClosedError:
                return

    def invoke(self) -> None:
        """Invoke the function once, now, and wait for it. Raises: FunctionClosedError."""
        answer = self.function.invoke(orjson.dumps(scheduled_event(self.function.spec.name, datetime.now(UTC))))
        if answer.function_error:
            logger.warning("%s: %s", self.name, orjson.loads(answer.payload)["errorMessage"])

    def stop(self) -> None:
        """Invoke no more."""
        self._stopping.set()


def scheduled_event(rule: str, now: datetime) -> dict[str, object]:
    """The event of a schedule. Source: EventBridge User Guide, "Scheduled Event"."""
    return {
        "version": "0",
        "id": f"{rule}-{now:%Y%m%dT%H%M%S}",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT_ID,
        "time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "region": REGION,
        "resources": [f"arn:aws:events:{REGION}:{ACCOUNT_ID}:rule/{rule}"],
        "detail": {},
    }
