"""The whole system on one machine: emulated AWS, the functions in processes, their event source mappings, and HTTP."""

import platform
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from localstage import control, declarations
from localstage.authorizer import TokenAuthorizer
from localstage.aws import environment_variables, session
from localstage.declarations import IAM, Declarations
from localstage.destination import Destination
from localstage.dynamodb import DynamoDBSource
from localstage.emulator import Emulator, free_port, taken_port
from localstage.errors import StageError
from localstage.faults import Told, Wanted
from localstage.gateway import PREFIX, Gateway, GatewayServer, Guard
from localstage.kinesis import KinesisSource
from localstage.plan import MappingPlan, Planner, StagePlan
from localstage.poller import EventSourceMapping, ShardProgress
from localstage.reader import TRIM_HORIZON
from localstage.redelivery import Redelivery
from localstage.runtime import WORK_SECONDS_BEFORE_A_KILL, Function, FunctionSpec
from localstage.schedule import ScheduleRule
from localstage.signature import SignatureCheck
from localstage.source import Source
from localstage.sqs import QueuePoller
from ops import resources
from ops.template import Template, intrinsic_values, load, resolved

ARCHITECTURE = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"  # as Lambda calls it
Invoking = EventSourceMapping | QueuePoller | ScheduleRule
PROJECT_DIR = Path(__file__).resolve().parent.parent


class LocalStage:
    """A stage that runs between `with` and its end, and leaves nothing running.

    Shapes:  shards, of the events stream; ports on 127.0.0.1, 0 for a free one; settings, environment variables for the
             functions; redeliver, the fraction of batches delivered a second time on purpose; mapping, by the
             function's name in `app.py`, fields of `MappingOptions` that replace what is declared; api_prefix, `/name`
             of what the API stands under, as a deployed one does.
    Raises:  StageError, on entry, when it cannot start: one line that says why. ValueError for a prefix, or a fraction,
             that cannot be.
    """

    def __init__(
        self,
        stage: str = "local",
        *,
        shards: int = 4,
        aws_port: int = 4566,
        api_port: int = 8000,
        api_prefix: str = "",
        settings: Mapping[str, str] | None = None,
        redeliver: float = 0,
        mapping: Mapping[str, Mapping[str, Any]] | None = None,
        project_dir: Path = PROJECT_DIR,
        state_dir: Path | None = None,
    ) -> None:
        if not PREFIX.fullmatch(api_prefix):
            raise ValueError(f"the API's prefix is / and a name of A-Z, a-z, 0-9, _ and -, not {api_prefix!r}")
        self.stage = stage
        self.shards = shards
        self.api_port = api_port or free_port()
        self.api_prefix = api_prefix
        self.api_url = f"http://127.0.0.1:{self.api_port}{api_prefix}"
        self.project_dir = project_dir.resolve()
        self.state_dir = state_dir or self.project_dir / ".localstage"
        self._redelivery = Redelivery(redeliver)
        self._settings = dict(settings or {})
        self._mapping = dict(mapping or {})
        self._emulator = Emulator(aws_port, self.state_dir / "aws.log")
        self._functions: dict[str, Function] = {}
        self._rules: list[ScheduleRule] = []
        self._ever_invoked: list[Function] = []  # those of earlier deployments too
        self._running = ExitStack()
        self._deployed = ExitStack()  # the functions, until the next deployment
        self._mapped = ExitStack()  # the mappings of Kinesis and what they invoke, until they are deleted
        self._progress: dict[tuple[str, str], dict[str, ShardProgress]] = {}  # by function and table's stream: by shard

    @property
    def endpoint_url(self) -> str:
        """Where the emulated AWS is."""
        return self._emulator.endpoint_url

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that a client of this stage needs."""
        return {**environment_variables(self.endpoint_url), "STAGE": self.stage, **self._settings}

    @property
    def redelivered_batches(self) -> int:
        """How many batches have been delivered a second time on purpose so far."""
        return self._redelivery.count

    @property
    def function_environment(self) -> dict[str, str]:
        """The environment variables of every function. Callers need no credentials unless a setting says otherwise.

        Why: not in `environment`, which `make stage` shows for a shell to take: `none` is for these functions alone.
        """
        return {"API_AUTH": "none", **self.environment}

    def kill_worker(
        self, function: str, patience_seconds: float, after_seconds: float = WORK_SECONDS_BEFORE_A_KILL
    ) -> bool:
        """Kill (SIGKILL) a process of a function in the middle of an invocation; wait until one is under way.

        Shapes:  function, by its name in `app.py`; after_seconds, how long it has to be at work.
        Returns: whether an invocation has ended by it; its mapping then delivers the batch again.
        """
        return self._functions[function].kill_worker(patience_seconds, after_seconds)

    def usage(self) -> dict[str, Any]:
        """What was asked of the stage since it began, and what AWS would charge for.

        Returns: `units`, by the names that `ops.cost.prices` has for them; `requests`, `bytes_in` and `bytes_out`, by
                 `service.Operation`; `by_table`, the `write_units` and `read_units` of each table.
        Why:     functions and the API are counted here, and all else by the emulated AWS, which tells whoever asks it:
                 GET `{endpoint_url}/_highwater/usage`. A function's time is what it took on this machine.
        """
        counted = control.usage(self.endpoint_url)
        invoked = [function.invoked for function in self._ever_invoked]
        counted["units"] |= {
            "lambda.requests": sum(each.count for each in invoked),
            f"lambda.gb_seconds_{ARCHITECTURE}": sum(each.gb_seconds for each in invoked),
            "apigateway.requests": self._server.requests,
        }
        return counted

    def throttle_dynamodb(self, share: float) -> None:
        """Have DynamoDB refuse this share of all writes from now on, as one that is throttled.

        Raises: ValueError for what is no share from 0 to 1.
        """
        control.change_faults(self.endpoint_url, Wanted(throttle_dynamodb=share))

    def delay_sns(self, ms: int) -> None:
        """Have SNS take so long over each publish from now on. Raises: ValueError for what is not from 0 to 60 000."""
        control.change_faults(self.endpoint_url, Wanted(delay_sns_ms=ms))

    def expire_iterators(self) -> int:
        """Have every iterator that a mapping holds answered as one that has expired; return how many there are."""
        before = self.faults.iterators_expired
        return control.change_faults(self.endpoint_url, Wanted(expire_iterators=True)).iterators_expired - before

    def calm(self) -> None:
        """Refuse and delay nothing any more."""
        control.change_faults(self.endpoint_url, Wanted(throttle_dynamodb=0, delay_sns_ms=0))

    @property
    def faults(self) -> Told:
        """What is being done to the emulated AWS on purpose, and how often it was so far."""
        return control.faults(self.endpoint_url)

    def log_path(self, function: str) -> Path:
        """Where the processes of a function, by its name in `app.py`, write their logs."""
        return self._functions[function].log_path

    def __enter__(self) -> Self:
        self.state_dir.mkdir(parents=True, exist_ok=True)
        try:
            self._start()
        except BaseException:
            self._running.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

    def redeploy(self) -> None:
        """Load the project as it is now, in fresh processes. All goes on but Kinesis: that waits for `replay`.

        Raises: StageError when the app cannot be imported; then all goes on as it was.
        Why:    a deployment leaves no container, and a metric that is added has to see the stream's beginning first.
                The mappings of tables' streams go on from their checkpoints: on AWS no deployment touches them.
        """
        plan = self._planned(self._declared())
        self._mapped.close()
        self._deployed.close()
        self._deploy(plan)

    def replay(self) -> None:
        """Read Kinesis from its beginning, as mappings do that are deleted and created anew at TRIM_HORIZON.

        Tables' streams are left alone: what was captured from them would be captured, and so counted, again.
        """
        self._mapped.close()
        for mapping in self.plan.kinesis:
            self._map_stream(replace(mapping, starting_position=TRIM_HORIZON))

    def run_schedules(self) -> None:
        """Have what is invoked at a rate invoked now as well, and wait for it: `tick`, so that answers are complete."""
        for rule in self._rules:
            rule.invoke()

    def _start(self) -> None:
        self._server = self._take_api_port()
        with ThreadPoolExecutor(1) as meanwhile:  # the application takes as long to be imported as AWS to be there
            declared = meanwhile.submit(self._declared)
            self._running.enter_context(self._emulator)
            self._template = self._create_resources()
            self._running.callback(self._deployed.close)
            self._running.callback(self._mapped.close)
            self._deploy(self._planned(declared.result()))
        for mapping in self.plan.kinesis:
            self._map_stream(mapping)
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="gateway", daemon=True).start()
        self._running.callback(self._server.shutdown)

    def _declared(self) -> Declarations:
        """What the project declares at this moment. Raises: StageError."""
        return declarations.read(self.project_dir, self._planner({}).app_environment())

    def _planner(self, template: Template) -> Planner:
        return Planner(self.project_dir, self.stage, template, self.function_environment, self._mapping)

    def _planned(self, declared: Declarations) -> StagePlan:
        """What is to run of what is declared. Raises: StageError, for a table's stream that is not there too."""
        plan = self._planner(self._template).plan(declared)
        for mapping in plan.dynamodb:
            try:
                self._table_stream(mapping).shards()
            except (BotoCoreError, ClientError) as error:
                reason = " ".join(str(error).split())  # botocore's own findings are of several lines
                raise StageError(
                    f"{mapping.function.name}: its stream {mapping.stream} cannot be read: {reason}"
                ) from error
        return plan

    def _deploy(self, plan: StagePlan) -> None:
        self.plan = plan
        threads: list[Invoking] = []
        for mapping in plan.dynamodb:
            progress = self._progress.setdefault((mapping.function.name, mapping.stream), {})
            threads.append(self._run_mapping(mapping, self._table_stream(mapping), progress, self._deployed))
        for queue in plan.queues:
            function = self._function(queue.function)
            for _ in range(queue.function.concurrency):
                threads.append(QueuePoller(queue, function, self.endpoint_url))
                self._run(threads[-1], function, self._deployed)
        self._rules = [ScheduleRule(self._function(each.function), each.seconds) for each in plan.schedules]
        for rule in self._rules:
            threads.append(rule)
            self._run(rule, rule.function, self._deployed)
        for thread in threads:
            self._deployed.callback(thread.stop)  # of all, before any is waited for: they end while others do
        api_function = self._closed_with_the_rest(plan.api_function)
        guards: dict[str, Guard] = {
            each.name: TokenAuthorizer(self._closed_with_the_rest(each.function), each.header, each.ttl_seconds)
            for each in plan.authorizers
        }
        self._server.gateway = Gateway(
            plan.api,
            api_function,
            self.stage,
            guards={IAM: SignatureCheck(), **guards},
            gateway_responses=plan.gateway_responses,
            compress_from=plan.minimum_compression_size,
            prefix=self.api_prefix,
        )

    def _closed_with_the_rest(self, spec: FunctionSpec) -> Function:
        """A function that nothing but requests invoke."""
        function = self._function(spec)
        self._deployed.callback(function.close)
        return function

    def _map_stream(self, plan: MappingPlan) -> None:
        source = KinesisSource(self.endpoint_url, plan.stream, plan.starting_position, plan.role_arn)
        self._run_mapping(plan, source, {}, self._mapped)

    def _table_stream(self, plan: MappingPlan) -> DynamoDBSource:
        return DynamoDBSource(self.endpoint_url, plan.stream, plan.starting_position)

    def _take_api_port(self) -> GatewayServer:
        try:
            server = GatewayServer(self.api_port)
        except OSError:
            raise taken_port(self.api_port, "--api-port") from None
        self._running.callback(server.server_close)
        return server

    def _create_resources(self) -> dict[str, Any]:
        """Create the stage's resources; return the template with what only they could tell in its place."""
        template = load(self.project_dir)
        try:
            there = resources.ensure(
                self.stage,
                endpoint_url=self.endpoint_url,
                session=session(),
                shards=self.shards,
                template=template,
                outputs=intrinsic_values(template),
            )
        except resources.ResourcesError as error:
            raise StageError(str(error)) from error
        with_values: dict[str, Any] = resolved(template, there.outputs)
        return with_values

    def _run_mapping(
        self, plan: MappingPlan, source: Source, progress: dict[str, ShardProgress], until: ExitStack
    ) -> EventSourceMapping:
        function = self._function(plan.function)
        mapping = EventSourceMapping(
            source=source,
            function=function,
            options=plan.options,
            destination=Destination(plan.destination_arn, self.endpoint_url) if plan.destination_arn else None,
            redelivery=self._redelivery,
            progress=progress,
        )
        self._run(mapping, function, until)
        return mapping

    def _function(self, spec: FunctionSpec) -> Function:
        function = Function(spec, self.state_dir / f"{spec.name}.log")
        self._functions[spec.handler.rpartition(".")[2]] = function
        self._ever_invoked.append(function)
        return function

    def _run(self, thread: Invoking, function: Function, until: ExitStack) -> None:
        """Start a thread that invokes a function. At the end it invokes no more, the function ends, then the thread."""
        thread.start()
        until.callback(thread.join)
        until.callback(function.close)
        until.callback(thread.stop)
