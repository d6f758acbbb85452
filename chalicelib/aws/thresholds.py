"""Thresholds that are set at run time: parameters of SSM, by Powertools Parameters. Only this file knows their names.

    /highwater/{stage}/alerts/{alert}/threshold

Only whoever looks for alerts needs them, so this file is imported when the first does: it takes some milliseconds.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.parameters import GetParameterError, SSMProvider

from chalicelib.aws.concurrent import call_in_time
from chalicelib.aws.failures import name_of
from chalicelib.consumers.ports import ThresholdsRead
from chalicelib.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

MAX_AGE_SECONDS = 60  # how long a change may go unnoticed, and how long SSM is left alone when it could not be read
TIMEOUT_MS_MAX = 2_000  # without a way to SSM every call hangs; a look at windows does not wait for it any longer
THRESHOLD = "/threshold"


class SsmThresholds:
    """The thresholds that are set for a stage's alerts, on SSM."""

    def __init__(self, client: "SSMClient", stage: str, clock_ms: Callable[[], int]) -> None:
        self._provider = SSMProvider(boto3_client=client)
        self._path = f"/highwater/{stage}/alerts/"
        self._clock_ms = clock_ms
        self._known = ThresholdsRead({})
        self._ask_from_ms = 0

    def read_thresholds(self, timeout_ms: int) -> ThresholdsRead:
        """Read what is set, at most once a minute; what cannot be read is as it was last known, and the error says so.

        Shapes: what is no threshold stands under its whole name, which is no alert's.
        """
        if self._clock_ms() < self._ask_from_ms:
            return self._known
        try:
            found = call_in_time(self._get_all, min(timeout_ms, TIMEOUT_MS_MAX))
        except (GetParameterError, TransientError) as error:
            self._ask_from_ms = self._clock_ms() + MAX_AGE_SECONDS * 1000
            # Powertools puts whatever happened into a text, which may quote more than the error's name.
            cause = error.__context__ if isinstance(error, GetParameterError) else error
            self._known = ThresholdsRead(self._known.texts, name_of(cause if isinstance(cause, Exception) else error))
        else:
            self._known = ThresholdsRead({self._alert_of(name): text for name, text in found.items()})
        return self._known

    def _get_all(self) -> dict[str, str]:
        found = self._provider.get_multiple(self._path, max_age=MAX_AGE_SECONDS, recursive=True)
        return {name: str(text) for name, text in found.items()}

    def _alert_of(self, name: str) -> str:
        return name.removesuffix(THRESHOLD) if name.endswith(THRESHOLD) else self._path + name
