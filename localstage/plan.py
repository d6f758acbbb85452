"""What a stage runs, as plain data: each function and each mapping, from the app, its Chalice config and the template.

Nothing is declared here: an option that Chalice has an argument for comes from `app.py`, one that it has a config entry
for from `.chalice/config.json`, the rest from the amendments in the template, which win, as they do in a package.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from chalice.config import Config
from chalice.utils import to_cfn_resource_name

from localstage.aws import ACCOUNT_ID, REGION
from localstage.declarations import Api, Declarations, SqsTrigger, StreamTrigger
from localstage.errors import StageError
from localstage.filters import Filter, filter_of
from localstage.mapping import FOR_EVER, MappingOptions
from localstage.runtime import FunctionSpec
from ops.template import Template, amendment, filtered

CONFIG_PATH = Path(".chalice") / "config.json"
API_HANDLER = "api_handler"  # Chalice's own name for the function that serves the routes
API_CONCURRENCY = 4
GATEWAY_RESPONSES = "x-amazon-apigateway-gateway-responses"
QUEUE_CONCURRENCY = 2  # where app.py sets no limit: this machine's processes are few


@dataclass(frozen=True, slots=True)
class MappingPlan:
    """One event source mapping: `function` is invoked with what `stream` (Kinesis: a name, DynamoDB: an ARN) holds."""

    function: FunctionSpec
    stream: str
    starting_position: str
    role_arn: str
    options: MappingOptions
    destination_arn: str | None


@dataclass(frozen=True, slots=True)
class QueuePlan:
    """`function` is invoked with what `queue` holds, as often at once as its concurrency allows."""

    function: FunctionSpec
    queue: str
    batch_size: int
    report_batch_item_failures: bool


@dataclass(frozen=True, slots=True)
class SchedulePlan:
    """`function` is invoked every `seconds`."""

    function: FunctionSpec
    seconds: int


@dataclass(frozen=True, slots=True)
class AuthorizerPlan:
    """`function` is asked about the token in `header`, and its answer kept for `ttl_seconds`."""

    name: str
    function: FunctionSpec
    header: str
    ttl_seconds: int


@dataclass(frozen=True, slots=True)
class StagePlan:
    """All that runs between the start and the end of a stage, the emulated AWS apart."""

    api: Api
    api_function: FunctionSpec
    authorizers: list[AuthorizerPlan]
    gateway_responses: Mapping[str, Any]
    minimum_compression_size: int | None
    kinesis: list[MappingPlan]
    dynamodb: list[MappingPlan]
    queues: list[QueuePlan]
    schedules: list[SchedulePlan]
    unserved: list[str]


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans a stage.

    Shapes: template, its intrinsic values resolved; environment, what each function gets whatever its config says;
            mapping, by function, fields of MappingOptions that replace what is declared.
    """

    project_dir: Path
    stage: str
    template: Template
    environment: Mapping[str, str]
    mapping: Mapping[str, Mapping[str, Any]]

    def app_environment(self) -> dict[str, str]:
        """The variables that every function gets."""
        return {**self._config(API_HANDLER).environment_variables, **self.environment}

    def plan(self, declarations: Declarations) -> StagePlan:
        """Plan what the app declares.

        Raises: StageError for a mapping with a parallelization factor, which would break the order of a shard, and for
                options that replace those of no mapping.
        """
        if declarations.filters:  # as amendments of the template, which is where a package has them
            planner = replace(self, template=filtered(self.template, declarations.filters))
            return planner.plan(replace(declarations, filters={}))
        app = declarations.app_name
        triggers = [*declarations.kinesis, *declarations.dynamodb]
        if unknown := self.mapping.keys() - {trigger.name for trigger in triggers}:
            raise StageError(f"no stream triggers {', '.join(sorted(unknown))}, whose mapping is to have other options")
        return StagePlan(
            api=declarations.api,
            api_function=self._function(app, API_HANDLER, "app.app", API_CONCURRENCY),
            authorizers=[
                AuthorizerPlan(
                    each.name,
                    self._function(app, each.name, each.handler, API_CONCURRENCY),
                    each.header,
                    each.ttl_seconds,
                )
                for each in declarations.api.authorizers
            ],
            gateway_responses=amendment(self.template, "RestAPI").get("DefinitionBody", {}).get(GATEWAY_RESPONSES, {}),
            minimum_compression_size=self._config(API_HANDLER).minimum_compression_size,
            kinesis=[self._mapping(app, trigger, "kinesis") for trigger in declarations.kinesis],
            dynamodb=[self._mapping(app, trigger, "dynamodb") for trigger in declarations.dynamodb],
            queues=[self._queue(app, trigger) for trigger in declarations.sqs],
            schedules=[
                SchedulePlan(self._function(app, schedule.name, schedule.handler, concurrency=1), schedule.seconds)
                for schedule in declarations.schedules
            ],
            unserved=declarations.unserved,
        )

    def _function(self, app: str, name: str, handler: str, concurrency: int) -> FunctionSpec:
        config = self._config(name)
        amended = amendment(self.template, "APIHandler" if name == API_HANDLER else to_cfn_resource_name(name))
        variables = amended.get("Environment", {}).get("Variables", {})
        chalice_name = f"{app}-{self.stage}" if name == API_HANDLER else f"{app}-{self.stage}-{name}"
        full_name = amended.get("FunctionName", chalice_name)
        return FunctionSpec(
            name=full_name,
            handler=handler,
            arn=f"arn:aws:lambda:{REGION}:{ACCOUNT_ID}:function:{full_name}",
            project_dir=self.project_dir,
            environment={
                **config.environment_variables,
                # One that is still an intrinsic function refers to what only a deployment has.
                **{variable: str(value) for variable, value in variables.items() if not isinstance(value, dict)},
                **self.environment,
            },
            timeout_seconds=amended.get("Timeout", config.lambda_timeout or 60),
            memory_mb=amended.get("MemorySize", config.lambda_memory_size or 128),
            concurrency=concurrency,
        )

    def _mapping(self, app: str, trigger: StreamTrigger, service: Literal["kinesis", "dynamodb"]) -> MappingPlan:
        amended = self._amended_event(trigger.name, service)
        if amended.get("ParallelizationFactor", 1) != 1:
            raise StageError(f"{trigger.name}: a ParallelizationFactor other than 1 breaks the order of a shard")
        options = MappingOptions(
            batch_size=trigger.batch_size,
            batching_window_ms=trigger.batching_window_seconds * 1000,
            bisect_batch_on_function_error=amended.get("BisectBatchOnFunctionError", False),
            report_batch_item_failures="ReportBatchItemFailures" in amended.get("FunctionResponseTypes", []),
            maximum_retry_attempts=amended.get("MaximumRetryAttempts", FOR_EVER),
            maximum_record_age_ms=_milliseconds(amended.get("MaximumRecordAgeInSeconds", FOR_EVER)),
            lets_through=self._filter(trigger.name, service, amended.get("FilterCriteria", {})),
        )
        # One invocation a shard is all that a mapping ever has under way; the mapping sees to that, not this number.
        function = self._function(app, trigger.name, trigger.handler, concurrency=1_000)
        return MappingPlan(
            function=function,
            # The ARN of a table's stream holds the time of its making: app.py cannot know it.
            stream=trigger.stream if service == "kinesis" else amended.get("Stream", trigger.stream),
            starting_position=trigger.starting_position,
            role_arn=f"arn:aws:iam::{ACCOUNT_ID}:role/{function.name}",
            options=replace(options, **self.mapping.get(trigger.name, {})),
            destination_arn=amended.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"),
        )

    def _filter(self, function: str, service: str, criteria: Mapping[str, Any]) -> Filter | None:
        """Raises StageError for a filter that cannot be served: to let all through would be to count what AWS drops."""
        patterns = [each["Pattern"] for each in criteria.get("Filters", [])]
        if patterns and service != "dynamodb":
            raise StageError(f"{function}: FilterCriteria is served of tables' streams alone, not of {service}")
        try:
            return filter_of(patterns) if patterns else None
        except ValueError as error:
            raise StageError(f"{function}: FilterCriteria: {error}") from error

    def _queue(self, app: str, trigger: SqsTrigger) -> QueuePlan:
        amended = self._amended_event(trigger.name, "sqs")
        if amended.get("FilterCriteria"):
            raise StageError(f"{trigger.name}: FilterCriteria is served of tables' streams alone, not of sqs")
        concurrency = min(trigger.concurrency or QUEUE_CONCURRENCY, QUEUE_CONCURRENCY)
        return QueuePlan(
            function=self._function(app, trigger.name, trigger.handler, concurrency),
            queue=trigger.queue,
            batch_size=trigger.batch_size,
            report_batch_item_failures="ReportBatchItemFailures" in amended.get("FunctionResponseTypes", []),
        )

    def _amended_event(self, function: str, service: str) -> dict[str, Any]:
        """The properties by which the template amends the event source that Chalice generates."""
        events = amendment(self.template, to_cfn_resource_name(function)).get("Events", {})
        name = to_cfn_resource_name(f"{function}-{service}-event-source")
        properties: dict[str, Any] = events.get(name, {}).get("Properties", {})
        return properties

    def _config(self, function: str) -> Config:
        config: dict[str, Any] = json.loads((self.project_dir / CONFIG_PATH).read_text())
        return Config(chalice_stage=self.stage, function_name=function, config_from_disk=config)


def _milliseconds(seconds: int) -> int:
    return FOR_EVER if seconds == FOR_EVER else seconds * 1000
