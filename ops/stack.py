"""What the commands know of a CloudFormation stack: whether it can be deployed to, when it has settled, why it failed.

A stack that failed midway is brought where it can be deployed to again: what was never created is deleted, and an
update that could not be rolled back is rolled back once more.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

POLL_SECONDS_FIRST = 0.05  # an emulator is done at once
POLL_SECONDS_MAX = 5.0
# A stack in one of these can only be deleted. Its creation was rolled back, so that nothing that worked is lost; one in
# review has never had a resource.
IN_REVIEW = "REVIEW_IN_PROGRESS"
NEVER_CREATED = {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", IN_REVIEW}
DONE = {"CREATE_COMPLETE", "UPDATE_COMPLETE"}
# What CloudFormation says of an update, and of a change set, that would do nothing; it has no code of their own.
NOTHING_CHANGES = ("No updates are to be performed", "didn't contain changes")

CANCELLED = "cancelled"  # the reason of whatever was under way when something else failed


class StackError(Exception):
    """The stack cannot be deployed to, or has failed; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class StackEvent:
    """What has become of one resource, or of the stack itself."""

    logical_id: str
    resource_type: str
    status: str
    reason: str


def would_change_nothing(message: str) -> bool:
    """Whether CloudFormation says by this that there is nothing to do."""
    return any(text in message for text in NOTHING_CHANGES)


class Stack:
    """One stack, polled; boto3's own waiters poll every 30 seconds, which is long for an emulator.

    Shapes: hear, called with each event of what is carried out, in order.
    """

    def __init__(
        self, cloudformation: Any, name: str, hear: Callable[[StackEvent], None] = lambda _event: None
    ) -> None:
        self.name = name
        self._cloudformation = cloudformation
        self._hear = hear
        self._known: set[str] = set()  # ids of the events before this operation, and of those heard
        self._events: list[StackEvent] = []

    def make_deployable(self) -> bool:
        """Wait for whatever is in progress, and mend what can be. Returns: whether there is a stack to update.

        Raises: StackError, with what to do, when it is in a state that only its operator can end.
        """
        status = self._begin_and_settle()
        if status in NEVER_CREATED:
            self._cloudformation.delete_stack(StackName=self.name)
            status = self.settle()
            if status is not None:
                raise StackError(f"stack {self.name} cannot be deleted ({status}): {self.first_failure()}")
        elif status == "DELETE_FAILED":
            raise StackError(
                f"stack {self.name} was to be deleted, and not all of it could be: finish that (aws cloudformation "
                f"delete-stack --stack-name {self.name}); what it kept has to be imported, as docs/operations.md tells"
            )
        elif status == "UPDATE_ROLLBACK_FAILED":
            self._cloudformation.continue_update_rollback(StackName=self.name)
            status = self.settle()
            if status != "UPDATE_ROLLBACK_COMPLETE":
                raise StackError(
                    f"stack {self.name} cannot be rolled back ({status}): {self.first_failure()}; mend that, or leave "
                    f"it: aws cloudformation continue-update-rollback --stack-name {self.name} --resources-to-skip …"
                )
        self._begin()
        return status is not None

    def settle(self, *, is_begun: bool = False) -> str | None:
        """Return the stack's status once nothing is in progress; None when there is no stack.

        Shapes: is_begun, whether a change set is being carried out: then a stack in review is about to be made.
        """
        pause_seconds = POLL_SECONDS_FIRST
        while True:
            status = self._status()
            self._listen(status)
            rests = status == IN_REVIEW and not is_begun
            if status is None or rests or not status.endswith("_IN_PROGRESS"):
                return status
            time.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 2, POLL_SECONDS_MAX)

    def finish(self) -> None:
        """Wait for what was begun.

        Raises: StackError when it has failed, with the first reason of all.
        """
        status = self.settle(is_begun=True)
        if status not in DONE:
            raise StackError(f"stack {self.name} ended as {status}: {self.first_failure()}")

    def first_failure(self) -> str:
        """Why the operation that was waited for has failed: what came first, for the rest follows from it."""
        for event in self._events:
            if event.status.endswith("_FAILED") and event.reason and CANCELLED not in event.reason:
                return f"{event.logical_id}: {event.reason}"
        return "it gives no reason"

    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs by name."""
        described = self._cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", [])}

    def resources(self) -> list[Mapping[str, str]]:
        """What the stack is made of: `LogicalResourceId`, `ResourceType` and `PhysicalResourceId` of each."""
        pages = self._cloudformation.get_paginator("list_stack_resources").paginate(StackName=self.name)
        return [summary for page in pages for summary in page["StackResourceSummaries"]]

    def _begin(self) -> None:
        """From here on events are of the next operation."""
        self._events.clear()

    def _begin_and_settle(self) -> str | None:
        status = self._status()
        if status is not None:
            self._known |= {event["EventId"] for event in self._stored_events()}
        return self.settle()

    def _listen(self, status: str | None) -> None:
        if status is None:
            return
        new = [event for event in self._stored_events() if event["EventId"] not in self._known]
        for stored in sorted(new, key=lambda event: event["Timestamp"]):
            self._known.add(stored["EventId"])
            event = StackEvent(
                stored["LogicalResourceId"],
                stored["ResourceType"],
                stored["ResourceStatus"],
                stored.get("ResourceStatusReason", ""),
            )
            self._events.append(event)
            self._hear(event)

    def _stored_events(self) -> list[Any]:
        """All that are stored, the newest first; what is known already needs no further page."""
        events: list[Any] = []
        for page in self._cloudformation.get_paginator("describe_stack_events").paginate(StackName=self.name):
            events += page["StackEvents"]
            if any(event["EventId"] in self._known for event in page["StackEvents"]):
                break
        return events

    def _status(self) -> str | None:
        try:
            status: str = self._cloudformation.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"]
        except ClientError as error:
            if "does not exist" in str(error):
                return None
            raise
        return None if status == "DELETE_COMPLETE" else status
