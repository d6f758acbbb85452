"""What is done with a stack in each state that it can be in, and which of its failures is told."""

from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

from ops.stack import Stack, StackError, would_change_nothing

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ABSENT = None


class FakeCloudFormation:
    """One stack that goes through these statuses, one a look at it; operations put in what follows."""

    def __init__(self, *statuses, after_delete=(), after_continue=()):
        self.statuses = list(statuses)
        self.after = {"delete": list(after_delete), "continue": list(after_continue)}
        self.events = []
        self.done = []

    def tell(self, logical_id, status, reason="", second=0):
        event = {
            "EventId": f"{len(self.events)}",
            "LogicalResourceId": logical_id,
            "ResourceType": "AWS::Some::Thing",
            "ResourceStatus": status,
            "ResourceStatusReason": reason,
            "Timestamp": NOON + timedelta(seconds=second),
        }
        self.events.insert(0, event)

    def describe_stacks(self, StackName):  # noqa: N803  boto3's name
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status is ABSENT:
            error = {"Code": "ValidationError", "Message": f"Stack with id {StackName} does not exist"}
            raise ClientError({"Error": error}, "DescribeStacks")
        return {"Stacks": [{"StackStatus": status}]}

    def get_paginator(self, operation):
        assert operation == "describe_stack_events"
        return self

    def paginate(self, StackName):  # noqa: N803
        return [{"StackEvents": list(self.events)}]

    def delete_stack(self, StackName):  # noqa: N803
        self.done.append("delete")
        self.statuses = self.after["delete"]

    def continue_update_rollback(self, StackName):  # noqa: N803
        self.done.append("continue")
        self.statuses = self.after["continue"]


@pytest.mark.parametrize(
    ("statuses", "exists"),
    [
        ([ABSENT], False),
        (["DELETE_COMPLETE"], False),
        (["CREATE_COMPLETE"], True),
        (["UPDATE_COMPLETE"], True),
        (["UPDATE_ROLLBACK_COMPLETE"], True),
        (["UPDATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "UPDATE_COMPLETE"], True),
        (["DELETE_IN_PROGRESS", "DELETE_IN_PROGRESS", ABSENT], False),
    ],
)
def test_a_stack_that_can_be_deployed_to_is_left_alone_and_one_in_progress_is_waited_for(statuses, exists):
    cloudformation = FakeCloudFormation(*statuses)
    assert Stack(cloudformation, "s").make_deployable() is exists
    assert cloudformation.done == []


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "REVIEW_IN_PROGRESS"])
def test_a_stack_that_was_never_created_is_deleted(status):
    cloudformation = FakeCloudFormation(status, after_delete=["DELETE_IN_PROGRESS", ABSENT])
    assert Stack(cloudformation, "s").make_deployable() is False
    assert cloudformation.done == ["delete"]


def test_one_that_lived_and_was_not_deleted_to_its_end_is_left_to_its_operator():
    cloudformation = FakeCloudFormation("DELETE_FAILED")
    with pytest.raises(StackError, match="aws cloudformation delete-stack --stack-name s"):
        Stack(cloudformation, "s").make_deployable()
    assert cloudformation.done == []


def test_a_change_set_that_is_carried_out_is_waited_for_though_the_stack_is_still_in_review():
    Stack(FakeCloudFormation("REVIEW_IN_PROGRESS", "CREATE_IN_PROGRESS", "CREATE_COMPLETE"), "s").finish()


def test_one_that_cannot_be_deleted_is_told_with_the_reason():
    cloudformation = FakeCloudFormation("ROLLBACK_COMPLETE", after_delete=["DELETE_FAILED"])
    stack = Stack(cloudformation, "s")
    delete = cloudformation.delete_stack

    def failing(**given):
        delete(**given)
        cloudformation.tell("Bucket", "DELETE_FAILED", "it is not empty")

    cloudformation.delete_stack = failing
    with pytest.raises(StackError, match=r"^stack s cannot be deleted \(DELETE_FAILED\): Bucket: it is not empty$"):
        stack.make_deployable()


def test_an_update_that_was_not_rolled_back_is_rolled_back():
    cloudformation = FakeCloudFormation(
        "UPDATE_ROLLBACK_FAILED", after_continue=["UPDATE_ROLLBACK_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE"]
    )
    assert Stack(cloudformation, "s").make_deployable() is True
    assert cloudformation.done == ["continue"]


def test_one_that_cannot_be_rolled_back_is_told_with_what_to_do():
    cloudformation = FakeCloudFormation("UPDATE_ROLLBACK_FAILED", after_continue=["UPDATE_ROLLBACK_FAILED"])
    with pytest.raises(StackError, match="continue-update-rollback --stack-name s --resources-to-skip"):
        Stack(cloudformation, "s").make_deployable()


def test_the_first_failure_of_this_operation_is_told_and_none_that_follows_from_it():
    cloudformation = FakeCloudFormation("UPDATE_ROLLBACK_COMPLETE")
    cloudformation.tell("Old", "CREATE_FAILED", "a year ago", second=-9)
    heard = []
    stack = Stack(cloudformation, "s", heard.append)
    assert stack.make_deployable()
    cloudformation.tell("Other", "UPDATE_FAILED", "Resource update cancelled", second=1)
    cloudformation.tell("Table", "UPDATE_FAILED", "it would be replaced", second=2)
    cloudformation.tell("s", "UPDATE_ROLLBACK_IN_PROGRESS", "The following resource(s) failed", second=3)
    with pytest.raises(StackError, match=r"^stack s ended as UPDATE_ROLLBACK_COMPLETE: Table: it would be replaced$"):
        stack.finish()
    assert [event.logical_id for event in heard] == ["Other", "Table", "s"]


def test_a_failure_without_a_reason_says_so():
    cloudformation = FakeCloudFormation("ROLLBACK_COMPLETE")
    with pytest.raises(StackError, match="it gives no reason"):
        Stack(cloudformation, "s").finish()


def test_both_ways_of_saying_that_nothing_changes_are_known():
    assert would_change_nothing("An error occurred: No updates are to be performed.")
    assert would_change_nothing("The submitted information didn't contain changes. Submit different information …")
    assert not would_change_nothing("Template error")
