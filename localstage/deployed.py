"""A stage deployed on this machine as on AWS: `python -m localstage.deployed [--check]`.

The package that AWS would be given is deployed by `ops.deploy` on MiniStack's CloudFormation, and runs there from its
zips alone: API Gateway calls the authorizer and the API by their aliases, event source mappings call the consumers.
What MiniStack cannot make is told. `python -m localstage` is the stage to work with; this one tries the deployment.
"""

import platform
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import urllib3
from rich.console import Console

from localstage.aws import client, environment_variables, session
from localstage.deployed_ministack import LEFT_OUT
from localstage.emulator import PORT_OPTION, Emulator, refuse_taken_port
from localstage.errors import StageError
from localstage.terminal import interrupt_on_signals, port, wait_for_a_signal
from ops import tokens
from ops.arguments import Parser, setting
from ops.deploy import Change, Deployed, Progress, api_url, deploy
from ops.package import package
from ops.package.errors import PackageError
from ops.parameters import ParameterError, check_stage
from ops.stack import StackError, StackEvent
from ops.token_ledger import TokenLedger

PROJECT_DIR = Path(__file__).resolve().parent.parent
SERVICES = "apigateway,ec2,kms"  # beside those of the stage to work with
ALIAS = "live"
HTTP_TIMEOUT_SECONDS = 60  # a cold start of two functions, on a machine that does other things too
PATIENCE_SECONDS = 60
POLL_SECONDS = 0.2
ARCHITECTURES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}  # by Python's names


class DeployedStage:
    """A deployed stage between `with` and its end; nothing of it is left then.

    Shapes: out_dir, where its package is; aws_port on 127.0.0.1, 0 for a free one; show and hear, told of each
            deployment what it changes and what becomes of it.
    Raises: StageError, on entry, when the emulated AWS cannot start; as `ops.deploy.deploy` when the package cannot be
            deployed.
    """

    def __init__(
        self,
        stage: str,
        out_dir: Path,
        *,
        state_dir: Path,
        aws_port: int = 0,
        project_dir: Path = PROJECT_DIR,
        overrides: Mapping[str, str] | None = None,
        show: Callable[[Sequence[Change]], None] = lambda _changes: None,
        hear: Callable[[StackEvent], None] = lambda _event: None,
    ) -> None:
        self.stage = stage
        self._out_dir = out_dir
        self._project_dir = project_dir
        self._overrides = overrides
        self._show = show
        self._hear = hear
        state_dir.mkdir(parents=True, exist_ok=True)
        self._emulator = Emulator(
            aws_port, state_dir / "aws.log", module="localstage.deployed_ministack", services=SERVICES
        )
        self.endpoint_url = self._emulator.endpoint_url

    def __enter__(self) -> Self:
        self._emulator.__enter__()
        try:
            self.deployed = self.deploy(self._out_dir)
        except BaseException:
            self._emulator.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._emulator.__exit__(kind, error, trace)

    def deploy(
        self,
        out_dir: Path,
        stage: str | None = None,
        project_dir: Path | None = None,
        without_mappings: Collection[str] = (),
    ) -> Deployed:
        """Deploy a package, of this stage or beside it. Raises: as `ops.deploy.deploy`."""
        named = stage or self.stage
        return deploy(
            named,
            bucket=f"highwater-{named}-deploy",
            out_dir=out_dir,
            project_dir=project_dir or self._project_dir,
            session=session(),
            endpoint_url=self.endpoint_url,
            overrides=self._overrides,
            without_mappings=without_mappings,
            show=self._show,
            hear=self._hear,
        )

    @property
    def api_url(self) -> str:
        """Where the API answers."""
        return api_url(self.deployed.outputs, self.endpoint_url) or ""

    @property
    def left_out(self) -> dict[str, str]:
        """The types of the resources that MiniStack cannot make, by logical id."""
        resources = self.deployed.stack.resources()
        return {
            each["LogicalResourceId"]: each["ResourceType"]
            for each in resources
            if each["PhysicalResourceId"].startswith(LEFT_OUT)
        }

    @property
    def functions(self) -> list[str]:
        """The names of the functions that are released by their alias."""
        resources = self.deployed.stack.resources()
        arns = [each["PhysicalResourceId"] for each in resources if each["ResourceType"] == "AWS::Lambda::Alias"]
        return sorted(arn.split(":")[-2] for arn in arns)

    def client(self, service: str) -> Any:
        """A client of a service of this stage."""
        return client(service, self.endpoint_url)

    def live_version(self, function: str) -> str:
        """The version that the function's alias calls."""
        alias = self.client("lambda").get_alias(FunctionName=function, Name=ALIAS)
        return str(alias["FunctionVersion"])

    def issue_token(self, name: str) -> str:
        """A token for all metrics, for an hour."""
        ledger = TokenLedger(self.client("secretsmanager"), f"highwater-{self.stage}-api-tokens")
        return tokens.issue(ledger, name, ["*"], int(time.time() + 3_600) * 1000)

    def get(self, path: str, token: str | None = None) -> urllib3.BaseHTTPResponse:
        """Ask the API."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return urllib3.request(
            "GET", f"{self.api_url}{path}", headers=headers, retries=False, timeout=HTTP_TIMEOUT_SECONDS
        )

    def put_order(self, number: int) -> None:
        """Put an `order.placed` on the stream, as a producer would."""
        event = {
            "specversion": "1.0",
            "id": f"deployed/{number}",
            "source": "/highwater/deployed",
            "type": "order.placed",
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "data": {"order_id": f"order-{number}", "user_id": "ada", "amount": 12.5, "currency": "EUR"},
        }
        self.client("kinesis").put_record(
            StreamName=f"highwater-{self.stage}-events", PartitionKey=str(number), Data=orjson.dumps(event)
        )

    def orders_counted(self, token: str) -> int:
        """How many orders of today and yesterday the API tells."""
        start = datetime.fromtimestamp(time.time() - 86_400, UTC).date().isoformat()
        answer = self.get(f"/v1/metrics/orders/windows?start={start}&step=all&measures=count", token)
        return sum(row["count"] for row in answer.json()["data"])

    def check_release(self, function: str, version: str) -> dict[str, Any]:
        """Have the deployed hook check a version, as CodeDeploy would before it takes traffic. Returns: its report."""
        current = self.live_version(function)
        asked = {"function": function, "current": current, "target": version, "release": "LambdaAllAtOnce"}
        told = self.client("lambda").invoke(
            FunctionName=f"CodeDeployHook_highwater-{self.stage}", Payload=orjson.dumps(asked)
        )
        report: dict[str, Any] = orjson.loads(told["Payload"].read())
        return report


class ProofError(Exception):
    """The deployed stage does not do what it should; the text is one line."""


def prove(stage: DeployedStage, token: str) -> Iterator[str]:
    """Try the deployed stage as callers, producers and CodeDeploy would. Yields: what was seen, step by step.

    Shapes: token, one that was issued before anybody asked the API: the authorizer keeps for a minute what it has read.
    Raises: ProofError with the first step that fails.
    """
    _see("a request without a token is refused", stage.get("/v1/metrics").status == 401)  # noqa: PLR2004  HTTP's
    _see("a request with a token is answered", stage.get("/v1/metrics", token).status == 200)  # noqa: PLR2004
    yield "the API answers by the authorizer: 401 without a token, 200 with one"
    stage.put_order(1)
    wait_until(lambda: stage.orders_counted(token) == 1, "an order is counted")
    yield "an order put on the stream is counted, and told by the API"
    for function in stage.functions:
        report = stage.check_release(function, stage.live_version(function))
        _see(f"{function} passes its release check: {report}", report.get("succeeded") is True)
    yield f"{len(stage.functions)} functions pass their release check"


def wait_until(condition: Callable[[], bool], step: str) -> None:
    """Wait for what takes a moment.

    Raises: ProofError when it takes too long.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        _see(f"{step} within {PATIENCE_SECONDS} s", time.monotonic() < deadline)
        time.sleep(POLL_SECONDS)


def _see(step: str, holds: bool) -> None:
    if not holds:
        raise ProofError(f"this does not hold: {step}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns: 0 proved, or stopped; 1 what was deployed does not work; 2 it cannot be deployed."""
    options = _parser().parse_args(argv)
    console = Console()
    interrupt_on_signals()
    try:
        check_stage(PROJECT_DIR, options.stage)
        refuse_taken_port(options.aws_port, PORT_OPTION)  # before the time is spent that a package takes
        out_dir = options.package_dir or _packaged(options.stage, console)
        with ExitStack() as running:
            with Progress(console, options.stage, is_terse=True) as progress:
                deployed_stage = DeployedStage(
                    options.stage,
                    out_dir,
                    state_dir=PROJECT_DIR / ".localstage",
                    aws_port=options.aws_port,
                    overrides=dict(options.set),
                    show=progress.show,
                    hear=progress.hear,
                )
                stage = running.enter_context(deployed_stage)
            left_out = stage.left_out
            made = len(stage.deployed.stack.resources()) - len(left_out)
            console.print(f"[green]✓[/green] {made} resources are made from the package", highlight=False)
            for kind, count in sorted(Counter(left_out.values()).items()):
                told = f"[yellow]left out[/yellow] {count} of {kind}: MiniStack makes none"
                console.print(told, highlight=False, soft_wrap=True)
            token = stage.issue_token("proof")
            for seen in prove(stage, token):
                console.print(f"[green]✓[/green] {seen}", highlight=False)
            if not options.check:
                _show_summary(console, stage, token)
                wait_for_a_signal()
    except KeyboardInterrupt:
        return 0
    except ProofError as error:
        sys.stderr.write(f"localstage.deployed: {error}\n")
        return 1
    except (StageError, PackageError, ParameterError, StackError) as error:
        sys.stderr.write(f"localstage.deployed: {error}\n")
        return 2
    return 0


def _packaged(stage: str, console: Console) -> Path:
    """Package the stage for this machine: it runs what AWS would."""
    if sys.platform != "linux":
        raise StageError(f"a package is of Linux' libraries, which {platform.system()} cannot load")
    architecture = ARCHITECTURES.get(platform.machine().lower())
    if architecture is None:
        raise StageError(f"Lambda has no machines of this kind: {platform.machine()}")
    out_dir = PROJECT_DIR / "out"
    with console.status(f"packaging stage {stage}"):
        package(PROJECT_DIR, stage, out_dir, architecture)
    return out_dir


def _show_summary(console: Console, stage: DeployedStage, token: str) -> None:
    console.print(f"\n[bold]Highwater[/bold], stage [bold]{stage.stage}[/bold], is deployed.\n")
    console.print(f"API    {stage.api_url}", soft_wrap=True, highlight=False)
    console.print(f"AWS    {stage.endpoint_url}", soft_wrap=True, highlight=False)
    console.print(f"token  {token}", soft_wrap=True, highlight=False)
    variables = {**environment_variables(stage.endpoint_url), "STAGE": stage.stage}
    exported = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    asking = f"curl -H 'Authorization: Bearer {token}' {stage.api_url}/v1/metrics"
    for line in (f"\nexport {exported}", f"\n{asking}"):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print("\n[dim]Ctrl-C stops it and leaves nothing running.[/dim]")


def _parser() -> Parser:
    description, *_ = (__doc__ or "").splitlines()
    parser = Parser(prog="python -m localstage.deployed", description=description)
    add = parser.add_argument
    add("--stage", default="local", help="the stage (%(default)s)")
    add(
        "--aws-port",
        type=port,
        default=4566,
        help="of the emulated AWS, on 127.0.0.1; 0 takes a free one (%(default)s)",
    )
    add("--package-dir", type=Path, help="a package of this machine's kind (default: it is made, in out/)")
    add("--set", action="append", default=[], type=setting, metavar="NAME=VALUE", help="a parameter; repeatable")
    add("--check", action="store_true", help="end when all is tried; the exit code says how it went")
    return parser


if __name__ == "__main__":
    sys.exit(main())
