"""The release check: CodeDeploy asks before a new version of a function takes traffic, and is always told.

The decoder of the package reads samples of every form of record, and the new version itself is asked what its function
is for. A version of ingest that decides otherwise than the one before is let through only if the two never take turns
(docs/decisions/0011-releases.md): by turns they would count a shard's events by two rules.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct, field

from chalicelib.release.questions import Question, Reply, fault_of
from chalicelib.release.shift import Shift

RESERVE_MS = 10_000  # kept back of the invocation's time to tell CodeDeploy, which would wait for an hour
DECISIONS = "DECISIONS"
REMEDY = (
    "it decides otherwise than the version before, so they must not take turns: disable the mapping of the events "
    "stream and deploy with ConsumerRelease=LambdaAllAtOnce (docs/operations.md, 'Add a metric')"
)


class Releases(Protocol):
    """CodeDeploy's releases and Lambda's versions. Raises: TransientError, with the name of whatever went wrong."""

    def shift(self, deployment_id: str) -> Shift:
        """What a deployment is about to do."""

    def variable(self, function: str, version: str, name: str) -> str | None:
        """An environment variable of a version."""

    def invoke(self, function: str, version: str, event: Mapping[str, Any]) -> Reply:
        """Have a version answer an event."""

    def tell(self, deployment_id: str, execution_id: str, *, succeeded: bool) -> None:
        """Answer CodeDeploy."""


class ReleaseReport(Struct):
    """What came of a check, for the answer and the log. It holds no payload."""

    function: str = ""
    version: str = ""
    faults: list[str] = field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        """Whether the version may take traffic."""
        return not self.faults

    @property
    def response(self) -> dict[str, Any]:
        """What whoever invokes the hook by hand is told; CodeDeploy asks for nothing."""
        return {"succeeded": self.succeeded, "function": self.function, "version": self.version, "faults": self.faults}


class CheckRelease:
    """The pre-traffic hook.

    Shapes: decoder_faults is asked what the packaged decoder makes of the samples; questions, of the moment, are by the
            function's name; in_time calls within so many milliseconds, or raises TransientError.
    """

    def __init__(
        self,
        releases: Releases,
        *,
        ingest: str,
        decoder_faults: Callable[[], Sequence[str]],
        questions: Callable[[], Mapping[str, Question]],
        in_time: Callable[[Callable[[], None], int], None],
    ) -> None:
        self._releases = releases
        self._ingest = ingest
        self._decoder_faults = decoder_faults
        self._questions = questions
        self._in_time = in_time

    def __call__(self, event: Mapping[str, Any], remaining_ms: Callable[[], int]) -> ReleaseReport:
        """Check the release that the event names, and tell CodeDeploy.

        Shapes: event, CodeDeploy's `DeploymentId` and `LifecycleEventHookExecutionId`; or, of whoever asks by hand, a
                Shift, and then nobody else is told.
        Raises: whatever keeps the answer from CodeDeploy, which then gives the release up by itself.
        Source: AWS CodeDeploy User Guide, "AppSpec 'hooks' section for an AWS Lambda deployment".
        """
        report = ReleaseReport()
        try:
            self._in_time(lambda: self._check(event, report), max(0, remaining_ms() - RESERVE_MS))
        except Exception as error:  # noqa: BLE001  whatever it is, CodeDeploy has to be told
            report.faults.append(f"the check has not come to an end: {type(error).__name__}: {error}")
        if "DeploymentId" in event:
            self._releases.tell(
                event["DeploymentId"], event["LifecycleEventHookExecutionId"], succeeded=report.succeeded
            )
        return report

    def _check(self, event: Mapping[str, Any], report: ReleaseReport) -> None:
        by_codedeploy = "DeploymentId" in event
        shift = self._releases.shift(event["DeploymentId"]) if by_codedeploy else msgspec.convert(event, Shift)
        report.function, report.version = shift.function, shift.target
        report.faults += self._decoder_faults()
        if shift.function == self._ingest and not shift.is_all_at_once and self._decides_otherwise(shift):
            report.faults.append(REMEDY)
        question = self._questions().get(shift.function)
        if question is None:
            report.faults.append("nothing is known that this function could be asked")
            return
        if fault := fault_of(question, self._releases.invoke(shift.function, shift.target, question.event)):
            report.faults.append(fault)

    def _decides_otherwise(self, shift: Shift) -> bool:
        """Whether two attempts at a batch could differ; where nobody can say, they could."""
        current, target = (
            self._releases.variable(shift.function, version, DECISIONS) for version in (shift.current, shift.target)
        )
        return target is None or current != target
