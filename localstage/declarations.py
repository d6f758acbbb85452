"""What the application declares in `app.py`, read in a process of its own.

An import of `app` reads settings, makes clients and stays for ever; the stage, and whoever embeds it, is spared that.

    python -m localstage.declarations    in the project, with the functions' environment: prints them as JSON
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chalice.app import DynamoDBEventConfig, IAMAuthorizer, KinesisEventConfig, ScheduledEventConfig, SQSEventConfig

from localstage import leash
from localstage.errors import StageError

IAM = IAMAuthorizer().name
DEFAULT_TTL_SECONDS = 300  # API Gateway's


@dataclass(frozen=True, slots=True)
class StreamTrigger:
    """What triggers by a stream have in common."""

    name: str
    handler: str
    stream: str
    batch_size: int
    batching_window_seconds: int
    starting_position: str


class KinesisTrigger(StreamTrigger):
    """`@app.on_kinesis_record`; stream is a name."""

    __slots__ = ()


class DynamoDBTrigger(StreamTrigger):
    """`@app.on_dynamodb_record`; stream is an ARN, which the template may know better."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class SqsTrigger:
    """`@app.on_sqs_message`; concurrency is of invocations, None where nothing limits it."""

    name: str
    handler: str
    queue: str
    batch_size: int
    concurrency: int | None


@dataclass(frozen=True, slots=True)
class Schedule:
    """`@app.schedule` at a rate."""

    name: str
    handler: str
    seconds: int


@dataclass(frozen=True, slots=True)
class Authorizer:
    """`@app.authorizer`; ttl is how long its answers are kept, header where the token stands."""

    name: str
    handler: str
    ttl_seconds: int
    header: str


@dataclass(frozen=True, slots=True)
class Api:
    """The routes of the application: by path, the methods; what a preflight request of the path gets; who is let in.

    Shapes: guards, by path and method, the name of what checks a request: an authorizer's, IAM for AWS's signatures.
    """

    routes: Mapping[str, list[str]] = field(default_factory=dict)
    guards: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    authorizers: list[Authorizer] = field(default_factory=list)
    preflight_headers: Mapping[str, dict[str, str]] = field(default_factory=dict)
    binary_types: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Declarations:
    """All of it; `unserved` names what the local stage does not serve.

    Shapes: filters, by function, the patterns of its mapping, where the module of the app has a function that tells.
    """

    app_name: str
    api: Api
    kinesis: list[KinesisTrigger]
    dynamodb: list[DynamoDBTrigger]
    sqs: list[SqsTrigger]
    schedules: list[Schedule]
    unserved: list[str]
    filters: Mapping[str, list[str]] = field(default_factory=dict)


def read(project_dir: Path, environment: Mapping[str, str]) -> Declarations:
    """Import the project's `app` in a process of its own.

    Raises: StageError when it cannot be imported.
    """
    repository = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "localstage.declarations"],
        cwd=project_dir,
        env={
            **leash.inherited_environment(),
            **environment,
            "PYTHONPATH": os.pathsep.join((str(project_dir), repository)),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StageError(f"app.py cannot be imported: {done.stderr.strip().splitlines()[-1]}")
    # The last line: what the app itself prints when it is imported comes before.
    declared = json.loads(done.stdout.splitlines()[-1])
    return Declarations(
        app_name=declared["app_name"],
        api=Api(**{**declared["api"], "authorizers": [Authorizer(**each) for each in declared["api"]["authorizers"]]}),
        kinesis=[KinesisTrigger(**trigger) for trigger in declared["kinesis"]],
        dynamodb=[DynamoDBTrigger(**trigger) for trigger in declared["dynamodb"]],
        sqs=[SqsTrigger(**trigger) for trigger in declared["sqs"]],
        schedules=[Schedule(**schedule) for schedule in declared["schedules"]],
        unserved=declared["unserved"],
        filters=declared["filters"],
    )


def declared_by(app: Any, filters: Mapping[str, list[str]] | None = None) -> Declarations:
    """Read the declarations off a Chalice application; it has no place for filters."""
    kinesis, dynamodb, sqs, schedules, unserved = [], [], [], [], []
    for source in app.event_sources:
        if isinstance(source, KinesisEventConfig):
            kinesis.append(KinesisTrigger(stream=source.stream, **_stream_options(source)))
        elif isinstance(source, DynamoDBEventConfig):
            dynamodb.append(DynamoDBTrigger(stream=source.stream_arn, **_stream_options(source)))
        elif isinstance(source, SQSEventConfig):
            queue = str(source.queue or source.queue_arn).rpartition(":")[2]
            sqs.append(
                SqsTrigger(source.name, source.handler_string, queue, source.batch_size, source.maximum_concurrency)
            )
        elif isinstance(source, ScheduledEventConfig) and (seconds := _seconds_of_rate(source.schedule_expression)):
            schedules.append(Schedule(source.name, source.handler_string, seconds))
        else:
            unserved.append(source.name)
    authorizers = [
        Authorizer(
            each.name,
            each.handler_string,
            DEFAULT_TTL_SECONDS if each.ttl_seconds is None else each.ttl_seconds,
            each.header,
        )
        for each in app.builtin_auth_handlers
    ]
    guards = {
        path: {method: entry.authorizer.name for method, entry in methods.items() if entry.authorizer}
        for path, methods in app.routes.items()
    }
    served = {IAM, *(each.name for each in authorizers)}
    unserved += [f"authorizer of {path}" for path, by_method in guards.items() if not set(by_method.values()) <= served]
    return Declarations(
        app_name=app.app_name,
        api=Api(
            routes={path: sorted(methods) for path, methods in app.routes.items()},
            guards=guards,
            authorizers=authorizers,
            preflight_headers={
                path: headers for path, methods in app.routes.items() if (headers := _preflight_headers(methods))
            },
            binary_types=list(app.api.binary_types),
        ),
        kinesis=kinesis,
        dynamodb=dynamodb,
        sqs=sqs,
        schedules=schedules,
        unserved=unserved,
        filters=filters or {},
    )


def _stream_options(source: Any) -> dict[str, Any]:
    return {
        "name": source.name,
        "handler": source.handler_string,
        "batch_size": source.batch_size,
        "batching_window_seconds": source.maximum_batching_window_in_seconds,
        "starting_position": source.starting_position,
    }


def _seconds_of_rate(expression: Any) -> int | None:
    """The seconds of `rate(1 minute)`; None for a cron expression."""
    text = expression if isinstance(expression, str) else expression.to_string()
    if not text.startswith("rate("):
        return None
    value, unit = text.removeprefix("rate(").removesuffix(")").split()
    return int(value) * {"minute": 60, "hour": 3_600, "day": 86_400}[unit.removesuffix("s")]


def _preflight_headers(methods: Mapping[str, Any]) -> dict[str, str]:
    """What Chalice has API Gateway answer to OPTIONS: nothing without CORS, which a path's methods share."""
    with_cors = [entry.cors for entry in methods.values() if entry.cors is not None]
    if not with_cors:
        return {}
    return {
        **with_cors[0].get_access_control_headers(),
        "Access-Control-Allow-Methods": ",".join([*sorted(methods), "OPTIONS"]),
    }


if __name__ == "__main__":
    import app as declaring

    declared_filters = declaring.filters() if hasattr(declaring, "filters") else {}
    sys.stdout.write("\n" + json.dumps(asdict(declared_by(declaring.app, declared_filters))))
