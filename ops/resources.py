"""Creates a stage's resources from the one template that declares them, as often as one likes.

CloudFormation does the work, on AWS and on an emulator alike; what an emulator forgets is set afterwards.
"""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import orjson
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Column, Table

from ops import aws
from ops.arguments import REFUSED, Parser, count, url
from ops.parameters import ParameterError, check
from ops.stack import Stack, StackError, would_change_nothing
from ops.template import Template, load, references, standalone

PROJECT_DIR = Path(__file__).resolve().parent.parent


class ResourcesError(Exception):
    """The stage's resources cannot be had; the text is one line for the operator."""


@dataclass(frozen=True, slots=True)
class StageResources:
    """What there is once `ensure` has returned: by logical id the type and the physical id; and the stack's outputs."""

    stack: str
    types: Mapping[str, str]
    physical_ids: Mapping[str, str]
    outputs: Mapping[str, str]


def ensure(
    stage: str,
    *,
    endpoint_url: str | None = None,
    session: boto3.Session | None = None,
    shards: int | None = None,
    template: Template | None = None,
    outputs: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda _status: None,
) -> StageResources:
    """Create or update the stack `highwater-{stage}-resources`, wait for it, and set what an emulator forgets.

    Shapes:  session, the environment's own if none; shards, of the events stream, the template's default if none;
             template, the project's own if none; outputs, further ones by name, as the template would have them;
             progress hears what becomes of each resource.
    Raises:  ResourcesError for a stage name that the template does not allow, and for a stack that fails, with why.
    Why:     carrying it out twice equals once, and a stack whose creation failed is created anew.
    """
    template = standalone(template if template is not None else load(PROJECT_DIR))
    template["Outputs"] |= {name: {"Value": value} for name, value in (outputs or {}).items()}
    wanted = {"Stage": stage} | ({} if shards is None else {"EventsShardCount": str(shards)})
    values = {name: value for name, value in wanted.items() if name in template["Parameters"]}
    try:
        check(values, template["Parameters"])
    except ParameterError as error:
        raise ResourcesError(str(error)) from error
    session = session or aws.session()
    cloudformation = session.client("cloudformation", endpoint_url=endpoint_url)
    stack = Stack(
        cloudformation, f"highwater-{stage}-resources", lambda event: progress(f"{event.logical_id} {event.status}")
    )
    body = {
        "StackName": stack.name,
        "TemplateBody": orjson.dumps(template, option=orjson.OPT_INDENT_2).decode(),
        "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
    }
    try:
        if not stack.make_deployable():
            # A table that is retained when its stack goes must not stand in the way of the next attempt to create it.
            cloudformation.create_stack(**body, RetainExceptOnCreate=True)
            stack.finish()
        elif _update(cloudformation, body):
            stack.finish()
    except StackError as error:
        raise ResourcesError(str(error)) from error

    resources = stack.resources()
    there = StageResources(
        stack=stack.name,
        types={resource["LogicalResourceId"]: resource["ResourceType"] for resource in resources},
        physical_ids={resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in resources},
        outputs=stack.outputs(),
    )
    _ensure_time_to_live(session.client("dynamodb", endpoint_url=endpoint_url), template, there)
    _ensure_redrive_policies(session.client("sqs", endpoint_url=endpoint_url), template, there)
    return there


def _update(cloudformation: Any, body: Mapping[str, Any]) -> bool:
    """Return whether there was anything to update."""
    try:
        cloudformation.update_stack(**body)
    except ClientError as error:
        if not would_change_nothing(str(error)):
            raise
        return False
    return True


def _ensure_time_to_live(dynamodb: Any, template: Template, there: StageResources) -> None:
    for logical_id, resource in template["Resources"].items():
        specification = resource.get("Properties", {}).get("TimeToLiveSpecification")
        table = there.physical_ids.get(logical_id)
        if not specification or not table:
            continue
        status = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"]
        if status not in ("ENABLED", "ENABLING"):
            dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=specification)


def _ensure_redrive_policies(sqs: Any, template: Template, there: StageResources) -> None:
    for logical_id, resource in template["Resources"].items():
        policy = resource.get("Properties", {}).get("RedrivePolicy")
        queue = there.physical_ids.get(logical_id)
        if not policy or not queue:
            continue
        if sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["RedrivePolicy"]).get("Attributes"):
            continue
        (target,) = references(policy)
        arn = sqs.get_queue_attributes(QueueUrl=there.physical_ids[target], AttributeNames=["QueueArn"])
        wanted = {**policy, "deadLetterTargetArn": arn["Attributes"]["QueueArn"]}
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": orjson.dumps(wanted).decode()})


def _show(console: Console, there: StageResources) -> None:
    table = Table("resource", "type", Column("name", no_wrap=True), box=None, header_style="bold")
    for logical_id, physical_id in sorted(there.physical_ids.items()):
        name = re.split("[:/]", physical_id)[-1]  # a topic's physical id is its ARN, a queue's its URL
        table.add_row(logical_id, there.types[logical_id].removeprefix("AWS::"), name)
    console.print(table)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0, or 2 when the resources cannot be had."""
    parser = Parser(prog="python -m ops.resources", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stage", required=True, help="the stage whose resources are created or updated")
    parser.add_argument("--endpoint-url", type=url, help="an AWS-compatible endpoint; by default botocore's own choice")
    parser.add_argument("--shards", type=count, help="of the events stream; by default the template's own number")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        with console.status(f"stage {options.stage}") as status:
            there = ensure(
                options.stage,
                endpoint_url=options.endpoint_url,
                shards=options.shards,
                progress=lambda text: status.update(f"stage {options.stage}: {text}"),
            )
    except (ResourcesError, FileNotFoundError, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"ops.resources: {aws.reason(error)}\n")
        return REFUSED
    _show(console, there)
    return 0


if __name__ == "__main__":
    sys.exit(main())
