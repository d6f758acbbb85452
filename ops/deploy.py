"""Deploys a stage's package: `python -m ops.deploy --stage S --bucket B`, as often as one likes.

CloudFormation does the work, by a change set that is shown before it is carried out. A deployment that failed midway is
begun again where it can be; one that would change nothing says so.
"""

import hashlib
import os
import sys
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3
import orjson
from botocore.exceptions import BotoCoreError, ClientError, WaiterError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops import aws
from ops.arguments import REFUSED, Parser, setting, url
from ops.artifacts import Bucket, is_bucket_name, load_package, unmapped
from ops.package.errors import PackageError
from ops.parameters import ParameterError, check_stage, read
from ops.stack import Stack, StackError, StackEvent, would_change_nothing
from ops.template import Template, load

PROJECT_DIR = Path(__file__).resolve().parent.parent
DEPLOYED = 0
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]  # the last is for SAM's transform
API = "EndpointURL"  # the output by which Chalice tells where the API is
RELEASE = "Release"  # the parameter by which SAM gives functions a new version
BUCKET_VARIABLE = "DEPLOY_BUCKET"
STACK = "AWS::CloudFormation::Stack"
CHANGES = {"Add": "green", "Modify": "yellow", "Remove": "red"}


@dataclass(frozen=True, slots=True)
class Change:
    """What a change set would do to one resource. Shapes: replacement, `True`, `Conditional`, or neither."""

    action: str
    logical_id: str
    resource_type: str
    replacement: str


@dataclass(frozen=True, slots=True)
class Deployed:
    """What there is once `deploy` has returned. Shapes: changes, none if there was nothing to change."""

    stack: Stack
    changes: Sequence[Change]
    outputs: Mapping[str, str]


def deploy(
    stage: str,
    *,
    bucket: str,
    out_dir: Path,
    project_dir: Path = PROJECT_DIR,
    session: boto3.Session | None = None,
    endpoint_url: str | None = None,
    architecture: str | None = None,
    overrides: Mapping[str, str] | None = None,
    without_mappings: Collection[str] = (),
    show: Callable[[Sequence[Change]], None] = lambda _changes: None,
    hear: Callable[[StackEvent], None] = lambda _event: None,
) -> Deployed:
    """Bring the stack `highwater-{stage}` to what the package in `out_dir` says.

    Shapes: overrides, parameters that replace those of `.chalice/parameters.json`; without_mappings, functions whose
            event source mappings are left out of it, by their names in `app.py`; show, told the changes before they
            are carried out; hear, told what becomes of each resource.
    Raises: ParameterError, PackageError and StackError: one line that names what is wrong.
    Why:    carrying it out twice equals once.
    """
    check_stage(project_dir, stage)
    package = unmapped(load_package(out_dir, stage, architecture), without_mappings)
    parameters = read(project_dir, stage, package.template.get("Parameters", {}), overrides)
    session = session or aws.session()
    store = Bucket(session.client("s3", endpoint_url=endpoint_url), bucket)
    store.ensure()
    template = store.put_code(package)
    if RELEASE in template["Parameters"]:
        parameters.setdefault(RELEASE, _digest(template, parameters))
    template_url = store.put_template(template)

    cloudformation: Any = session.client("cloudformation", endpoint_url=endpoint_url)
    stack = Stack(cloudformation, f"highwater-{stage}", hear)
    change_set = {"StackName": stack.name, "ChangeSetName": f"release-{uuid.uuid4().hex}"}
    cloudformation.create_change_set(
        **change_set,
        ChangeSetType="UPDATE" if stack.make_deployable() else "CREATE",
        TemplateURL=template_url,
        Capabilities=CAPABILITIES,
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
    )
    changes = _changes(cloudformation, change_set)
    if changes:
        show(changes)
        # A table that is retained when its stack goes must not stand in the way of the next attempt to create it.
        cloudformation.execute_change_set(**change_set, RetainExceptOnCreate=True)
        stack.finish()
    else:
        cloudformation.delete_change_set(**change_set)
    return Deployed(stack, changes, stack.outputs())


def check(
    stage: str,
    *,
    bucket: str,
    project_dir: Path = PROJECT_DIR,
    session: boto3.Session | None = None,
    endpoint_url: str | None = None,
    overrides: Mapping[str, str] | None = None,
) -> None:
    """Refuse what no package could make good, before the time is spent that one takes.

    Shapes: as for `deploy`. Raises: as `deploy`, for the stage, its parameters, and the bucket.
    """
    read(project_dir, stage, load(project_dir).get("Parameters", {}), overrides)
    Bucket((session or aws.session()).client("s3", endpoint_url=endpoint_url), bucket).ensure()


def _digest(template: Template, parameters: Mapping[str, str]) -> str:
    """Of all that a release is made of: the template says the code by its digest."""
    return hashlib.sha256(orjson.dumps([template, parameters], option=orjson.OPT_SORT_KEYS)).hexdigest()


def _changes(cloudformation: Any, change_set: Mapping[str, str]) -> Sequence[Change]:
    """Wait for what the change set would do; nothing is no failure.

    Raises: StackError, with CloudFormation's reason, when it cannot be made: the template is refused.
    """
    waiter = cloudformation.get_waiter("change_set_create_complete")
    waiter.config.delay = 1
    try:
        waiter.wait(**change_set)
    except WaiterError:
        described = cloudformation.describe_change_set(**change_set)
        reason = described.get("StatusReason", "it gives no reason")
        if would_change_nothing(reason):
            return ()
        raise StackError(f"stack {change_set['StackName']} cannot be changed so: {reason}") from None
    pages = cloudformation.get_paginator("describe_change_set").paginate(**change_set)
    found = [change["ResourceChange"] for page in pages for change in page["Changes"]]
    return [
        Change(each["Action"], each["LogicalResourceId"], each["ResourceType"], each.get("Replacement", ""))
        for each in found
    ]


def api_url(outputs: Mapping[str, str], endpoint_url: str | None) -> str | None:
    """Where the API answers; at an endpoint on this machine, by MiniStack's path for it."""
    at_aws = outputs.get(API)
    if at_aws is None or not aws.is_local(endpoint_url):
        return at_aws
    *_, stage, _slash = at_aws.split("/")
    return f"{endpoint_url}/_aws/execute-api/{outputs['RestAPIId']}/{stage}"


def main(argv: Sequence[str] | None = None, project_dir: Path = PROJECT_DIR) -> int:
    """Run the command. Returns: 0 deployed, nothing to change, or nothing against it; 2 refused or failed."""
    parser = _parser()
    options = parser.parse_args(argv)
    endpoint_url = options.endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
    bucket = options.bucket or os.environ.get(BUCKET_VARIABLE) or _local_bucket(options.stage, endpoint_url)
    if bucket is None:
        parser.error(f"no bucket to upload to: --bucket (make: BUCKET=), or {BUCKET_VARIABLE}")
    if not is_bucket_name(bucket):
        parser.error(f"{bucket[:70]!r} is no name of a bucket")
    console = Console()
    overrides = dict(options.set)
    try:
        if options.check:
            check(options.stage, bucket=bucket, project_dir=project_dir, endpoint_url=endpoint_url, overrides=overrides)
            return DEPLOYED
        with Progress(console, options.stage) as progress:
            deployed = deploy(
                options.stage,
                bucket=bucket,
                out_dir=options.package_dir,
                project_dir=project_dir,
                endpoint_url=endpoint_url,
                architecture=options.arch,
                overrides=overrides,
                without_mappings=options.without_mapping,
                show=progress.show,
                hear=progress.hear,
            )
    except (ParameterError, PackageError, StackError, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"ops.deploy: {aws.reason(error)}\n")
        return REFUSED
    if not deployed.changes:
        console.print(f"Nothing to change: {deployed.stack.name} is what the package says.")
    outputs = {**deployed.outputs, **({API: url} if (url := api_url(deployed.outputs, endpoint_url)) else {})}
    for name, value in sorted(outputs.items()):
        console.print(f"{name}  {value}", soft_wrap=True, highlight=False)
    return DEPLOYED


def table_of(changes: Sequence[Change]) -> Table:
    """What a change set would do."""
    table = Table("", "resource", "type", "replaced", box=None, header_style="bold")
    for change in sorted(changes, key=lambda each: (each.action, each.resource_type, each.logical_id)):
        replaced = {"True": "yes", "Conditional": "perhaps"}.get(change.replacement, "")
        action = Text(change.action.lower(), CHANGES.get(change.action, ""))
        table.add_row(action, change.logical_id, change.resource_type.removeprefix("AWS::"), replaced)
    return table


def line_of(event: StackEvent) -> Text:
    """What has become of a resource."""
    colour = "red" if event.status.endswith("_FAILED") else "green" if event.status.endswith("_COMPLETE") else "dim"
    return Text.assemble((f"{event.status:<28} ", colour), event.logical_id, (f"  {event.reason}".rstrip(), "dim"))


class Progress:
    """Tells a deployment as it goes: each resource once it is done, and on a terminal how many are.

    Shapes: is_terse, only what has failed gets a line of its own, and the changes none.
    """

    def __init__(self, console: Console, stage: str, *, is_terse: bool = False) -> None:
        self._console = console
        self._stage = stage
        self._is_terse = is_terse
        self._changes = 0
        self._done: set[str] = set()
        self._status = console.status(f"stage {stage}")

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._status.stop()

    def show(self, changes: Sequence[Change]) -> None:
        """Tell what will be done."""
        self._changes = len(changes)
        self._done.clear()
        if not self._is_terse:
            self._console.print(table_of(changes))

    def hear(self, event: StackEvent) -> None:
        """Tell what has become of a resource."""
        if event.status.endswith("_COMPLETE") and event.resource_type != STACK:
            self._done.add(event.logical_id)
        if has_failed(event) if self._is_terse else is_told(event):
            self._console.print(line_of(event), soft_wrap=True)
        done = min(len(self._done), self._changes)
        self._status.update(f"stage {self._stage}: {done} of {self._changes} resources, {event.logical_id}")


def is_told(event: StackEvent) -> bool:
    """Whether it is the end of something, or the beginning of its being taken back; a resource has two events more."""
    return not event.status.endswith("_IN_PROGRESS") or has_failed(event)


def has_failed(event: StackEvent) -> bool:
    """Whether something has failed, or the whole is being taken back because of it."""
    return event.status.endswith("_FAILED") or (event.resource_type == STACK and "ROLLBACK" in event.status)


def _local_bucket(stage: str, endpoint_url: str | None) -> str | None:
    """On this machine a bucket is made; elsewhere it is the operator's to choose."""
    return f"highwater-{stage}-deploy" if aws.is_local(endpoint_url) else None


def _parser() -> Parser:
    description, *_ = (__doc__ or "").splitlines()
    parser = Parser(prog="python -m ops.deploy", description=description)
    add = parser.add_argument
    add("--stage", required=True, help="which stage")
    add("--bucket", help=f"where the package is uploaded to (default: {BUCKET_VARIABLE}; made at a local endpoint)")
    add("--endpoint-url", type=url, help="an AWS-compatible endpoint (default: as botocore, AWS_ENDPOINT_URL included)")
    add("--arch", choices=("x86_64", "arm64"), help="what the package has to be for (default: as it is)")
    add("--check", action="store_true", help="refuse what can be without a package, as `make deploy` does first")
    add("--package-dir", type=Path, default=PROJECT_DIR / "out", help="where `make package` has put it (%(default)s)")
    set_help = "a parameter in place of the one in .chalice/parameters.json; repeatable"
    add("--set", action="append", default=[], type=setting, metavar="NAME=VALUE", help=set_help)
    mapping_help = (
        "leave out the event source mapping of a function: deployed again, it reads from the beginning; repeatable"
    )
    add("--without-mapping", action="append", default=[], metavar="FUNCTION", help=mapping_help)
    return parser


if __name__ == "__main__":
    sys.exit(main())
