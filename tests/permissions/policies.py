"""The policies of the functions: read, resolved for a stage, asked.

A statement whose Sid begins with `Lambda` is for what the Lambda service does in the function's name: it reads what
the function is invoked with, keeps what it gives up, writes logs and traces. The others are for the function's code.
There is none for KMS: every key is one that AWS manages for a service, and its policy lets all principals of the
account use it through that service.

Sources: Amazon Kinesis Data Streams Developer Guide, "Permissions to use user-generated KMS keys": "The use of the
default service key for encryption does not require application of custom IAM permissions"; AWS Secrets Manager API
Reference, "All users and roles in the AWS account automatically have access to use aws/secretsmanager"; AWS KMS
Developer Guide, "Permissions for AWS services in key policies".
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from localstage.aws import session
from ops.resources import ensure
from ops.template import intrinsic_values, load, resolved
from tests.permissions.needs import Need, needs_of
from tests.permissions.recording import Call

PROJECT = Path(__file__).parents[2]
OF_LAMBDA = "Lambda"
SECRET_SUFFIX = re.compile(r"(:secret:.*)-[A-Za-z0-9]{6}")  # Secrets Manager's own, behind the name that code asks for

Policy = Mapping[str, Any]


class Grant(NamedTuple):
    """What one statement says of one action and one resource."""

    sid: str
    action: str
    resource: Any
    leading_keys: tuple[str, ...] = ("*",)

    @property
    def is_of_lambda(self) -> bool:
        """Whether the Lambda service needs it, rather than the function's code."""
        return self.sid.startswith(OF_LAMBDA)

    def allows(self, need: Need) -> bool:
        """Whether it lets a call have what it needs."""
        return (
            self.action == need.action
            and _matches(self.resource, need.resource)
            and all(any(_matches(pattern, key) for pattern in self.leading_keys) for key in need.leading_keys)
        )

    def __str__(self) -> str:
        return f"{self.action} on {self.resource} ({self.sid})"


def read_policies() -> dict[str, Policy]:
    """The policy of each function, by the name that Chalice's config has for it, as it is packaged."""
    folder = PROJECT / ".chalice"
    functions = json.loads((folder / "config.json").read_text())["lambda_functions"]
    return {name: json.loads((folder / each["iam_policy_file"]).read_text()) for name, each in functions.items()}


def resolve_policies(stage: str, endpoint_url: str) -> dict[str, Policy]:
    """The policies as they are deployed with a stage: what they refer to is known. CloudFormation says what it is."""
    policies, template = read_policies(), load(PROJECT)
    template["Resources"]["Policies"] = {"Properties": policies}
    there = ensure(
        stage, endpoint_url=endpoint_url, session=session(), template=template, outputs=intrinsic_values(template)
    )
    # CloudFormation's reference to a secret is its ARN, the emulator's is its name.
    secret = there.physical_ids["ApiTokens"]
    arn = session().client("secretsmanager", endpoint_url=endpoint_url).describe_secret(SecretId=secret)["ARN"]
    outputs = {name: arn if value == secret else value for name, value in there.outputs.items()}
    known: dict[str, Policy] = resolved(policies, outputs)
    return known


def grants_of(policy: Policy) -> Iterator[Grant]:
    """Everything that a policy grants.

    Raises: ValueError for a statement whose meaning nobody has said here.
    """
    for statement in policy["Statement"]:
        if statement["Effect"] != "Allow" or not {"Sid", "Effect", "Action", "Resource"} <= statement.keys():
            raise ValueError(f"what this statement grants is not known here: {statement}")
        keys = _leading_keys(statement)
        for action in several(statement["Action"]):
            for resource in several(statement["Resource"]):
                yield Grant(statement["Sid"], action, resource, keys)


def missing(policies: Mapping[str, Policy], calls: Iterable[Call]) -> list[str]:
    """What functions have done and their policies do not allow: each with the function, the action and the resource.

    Why not by what Lambda is allowed: that goes when the function is invoked in another way.
    """
    return sorted(
        f"{function} may not {need.action} on {need.resource}"
        for function, need in _needed(calls)
        if not any(grant.allows(need) for grant in _grants_of_code(policies[function]))
    )


def unused(policies: Mapping[str, Policy], calls: Iterable[Call]) -> list[str]:
    """What policies allow the code of functions and no call has needed: each with the function, action and resource."""
    needed = _needed(calls)
    return sorted(
        f"{function} has no use for {grant}"
        for function, policy in policies.items()
        for grant in _grants_of_code(policy)
        if not any(name == function and grant.allows(need) for name, need in needed)
    )


def _needed(calls: Iterable[Call]) -> set[tuple[str, Need]]:
    return {(call.function, need) for call in calls for need in needs_of(call)}


def _grants_of_code(policy: Policy) -> list[Grant]:
    return [grant for grant in grants_of(policy) if not grant.is_of_lambda]


def _leading_keys(statement: Policy) -> tuple[str, ...]:
    match statement.get("Condition"):
        case None:
            return ("*",)
        case {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": [*patterns], **no_key}, **nothing} if not (
            no_key or nothing
        ):
            return tuple(patterns)
    raise ValueError(f"what this condition lets through is not known here: {statement['Condition']}")


def _matches(pattern: str, text: str) -> bool:
    """By IAM's rules: `*` is any characters, `?` is one."""
    without_suffix = SECRET_SUFFIX.sub(r"\1", pattern)
    expression = re.escape(without_suffix).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None


def several(one_or_several: Any) -> Sequence[Any]:
    """A list of what a statement names: one may stand by itself."""
    return one_or_several if isinstance(one_or_several, list) else [one_or_several]
