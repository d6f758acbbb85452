"""Joins the parts: settings, stores and use cases, each made once a container and only when first asked for."""

from collections.abc import Mapping
from functools import cache
from time import perf_counter, sleep, time
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from chalicelib import definitions, telemetry
from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.windows import DURATION_MS_MAX
from chalicelib.alerts import check_alerts
from chalicelib.aws import clients
from chalicelib.aws.aggregates_stream import parse_stored_changes
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.aws.alerts_table import AlertsTable
from chalicelib.aws.breaker import Breaker
from chalicelib.aws.concurrent import call_in_time
from chalicelib.aws.dead_letter_objects import DeadLetterObjects
from chalicelib.aws.dead_letters_bucket import DeadLettersBucket
from chalicelib.aws.dead_letters_reader import DeadLettersReader
from chalicelib.aws.events_stream import EventsStream
from chalicelib.aws.idempotent_effects import IdempotentEffects
from chalicelib.aws.ids_table import IdsTable
from chalicelib.aws.redrive_queue import RedriveQueue
from chalicelib.aws.results_topic import ResultsTopic
from chalicelib.consumers.alerts import Alerts
from chalicelib.consumers.capture import Capture
from chalicelib.consumers.counted_ids import CountedIds
from chalicelib.consumers.fan_out import FanOut
from chalicelib.consumers.final_results import FinalResults
from chalicelib.consumers.handle import HANDLE_TYPE, HandleData
from chalicelib.consumers.ingest import Ingest
from chalicelib.consumers.publish import Publish
from chalicelib.consumers.redrive import Redrive
from chalicelib.consumers.rollup import RollUp
from chalicelib.consumers.settle import Duty, Settle, SettleAll
from chalicelib.consumers.tick import TICK_TYPE, Tick, TickData
from chalicelib.effects import check_handlers
from chalicelib.query.endpoints import Query
from chalicelib.records.decode import Decoder, EventType
from chalicelib.settings import Settings, read_settings

if TYPE_CHECKING:
    from chalicelib.aws.tokens_secret import TokensSecret
    from chalicelib.release.check import CheckRelease

# Made at import: a mistake in the definitions stops a deployment, or the local stage, before the first event.
CATALOG = Catalog(definitions.EVENT_TYPES, definitions.METRICS)
ALERTS = check_alerts(definitions.ALERTS, CATALOG)
CATALOG.check_change(definitions.ORDERS_TABLE_CHANGES)
HANDLERS = check_handlers(definitions.HANDLERS, CATALOG.event_types)

# Known to the decoder, counted by no metric.
INTERNAL_TYPES: dict[str, type[Struct]] = {TICK_TYPE: TickData, HANDLE_TYPE: HandleData}
NEVER_TOO_LATE_MS = DURATION_MS_MAX  # what a handler refused is redriven when somebody has mended the handler


@cache
def settings() -> Settings:
    """This stage's settings."""
    return read_settings()


@cache
def aggregates_table() -> AggregatesTable:
    """The aggregates table."""
    return AggregatesTable(clients.dynamodb(), settings().aggregates_table, CATALOG, settings().lateness_ms)


@cache
def events_stream() -> EventsStream:
    """The events stream."""
    return EventsStream(clients.kinesis(), settings().events_stream)


@cache
def results_topic() -> ResultsTopic:
    """The topic of results."""
    breaker = Breaker("results", telemetry.publish_circuit)
    return ResultsTopic(clients.sns(), settings().results_topic_arn, breaker, _pause)


@cache
def effects() -> IdempotentEffects:
    """What runs the handlers. Whoever has it run them registers the invocation's Lambda context first."""
    return IdempotentEffects(clients.dynamodb(), settings().idempotency_table, results_topic, _remember_ms())


def _remember_ms() -> int:
    """As long as the stream can bring an event again, from its retention or by a producer's repeat."""
    return settings().events_retention_ms + settings().dedup_horizon_ms


def decoder(
    catalog: Catalog, lateness_ms: int, future_tolerance_ms: int, tables: Mapping[str, str] | None = None
) -> Decoder:
    """Make the decoder of the catalog's event types, and of Highwater's own; tables, by name, with theirs."""
    declared = {
        name: EventType(
            data_class,
            catalog.lateness_ms(name, lateness_ms),
            catalog.measured(name),
            catalog.dimensions(name),
            catalog.distinct(name),
        )
        for name, data_class in catalog.event_types.items()
    }
    internal = {name: EventType(data_class, NEVER_TOO_LATE_MS) for name, data_class in INTERNAL_TYPES.items()}
    return Decoder(declared | internal, future_tolerance_ms, tables)


@cache
def counted_ids() -> CountedIds:
    """The ids that this container knows to be counted."""
    table = IdsTable(clients.dynamodb(), settings().ids_table, _remember_ms())
    return CountedIds(table, events_stream(), settings().dedup_horizon_ms)


def _dead_letters_bucket() -> DeadLettersBucket:
    return DeadLettersBucket(clients.s3(), settings().dead_letters_bucket)


@cache
def _ingest() -> Ingest:
    CATALOG.outlives(settings().events_retention_ms)
    return Ingest(
        CATALOG,
        decoder(
            CATALOG,
            settings().lateness_ms,
            settings().future_tolerance_ms,
            {settings().orders_table: definitions.ORDERS_TABLE_CHANGES},
        ),
        partials=aggregates_table(),
        dead_letters=_dead_letters_bucket(),
        progress=aggregates_table(),
        ids=counted_ids(),
        handlers=HANDLERS,
        effects=effects(),
    )


def ingest(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Count one batch of the events stream; the answer is Lambda's partial batch response."""
    started = perf_counter()
    effects().register_lambda_context(context)
    report = _ingest()(event, context.get_remaining_time_in_millis)
    telemetry.publish_ingest(report, commit_ms=(perf_counter() - started) * 1000)
    return report.response


@cache
def roll_up() -> RollUp:
    """What keeps the rollups."""
    return RollUp(CATALOG, settings().lateness_ms, shares=aggregates_table(), rollups=aggregates_table())


def rollup(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Carry a batch of the aggregates table's changes into rollups; the answer is Lambda's partial batch response."""
    report = roll_up()(parse_stored_changes(CATALOG, event), context.get_remaining_time_in_millis)
    telemetry.publish_rollup(report)
    return report.response


def _publisher(name: str) -> Publish:
    return Publish(results_topic(), _dead_letters_bucket(), settings().aggregates_table, name, now_ms)


@cache
def _fan_out() -> FanOut:
    return FanOut(
        CATALOG,
        stage_lateness_ms=settings().lateness_ms,
        stream=settings().events_stream,
        shares=aggregates_table(),
        shards=events_stream(),
        progress=aggregates_table(),
        publish=_publisher("fan_out"),
        clock_ms=now_ms,
        watch=alert_watch(),
        watched={alert.metric for alert in ALERTS},
        alerts=alerts_table(),
    )


def fan_out(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Publish the windows that a batch of stored changes touched; the answer is Lambda's partial batch response."""
    report = _fan_out()(parse_stored_changes(CATALOG, event), context.get_remaining_time_in_millis)
    telemetry.publish_fan_out(report)
    return report.response


@cache
def alerts_table() -> AlertsTable:
    """The alerts that were raised, in the aggregates table."""
    return AlertsTable(clients.dynamodb(), settings().aggregates_table, CATALOG, settings().lateness_ms)


@cache
def alert_watch() -> Alerts:
    """What looks at windows for alerts."""
    from chalicelib.aws.thresholds import SsmThresholds  # noqa: PLC0415  the module says why

    table = aggregates_table()
    return Alerts(
        ALERTS,
        shares=table,
        first_window=table.first_window,
        store=alerts_table(),
        thresholds=SsmThresholds(clients.ssm(), settings().stage, now_ms),
        tell=telemetry.publish_alerts,
    )


@cache
def _settle_all() -> SettleAll:
    table, metrics = aggregates_table(), CATALOG.metrics.values()
    final_results = FinalResults(roll_up(), table, table, _publisher("final_results"), telemetry.publish_results)
    duties: list[Duty] = [alert_watch(), roll_up(), final_results]  # the most urgent first
    settles = {duty.purpose: Settle(metrics, duty, table) for duty in duties}
    return SettleAll(settings().events_stream, events_stream(), table, settles)


def tick(context: Any) -> dict[str, Any]:
    """Put a tick on every open shard, and settle what can be; the answer is for who invokes the function by hand."""
    report = Tick(events_stream())(now_ms(), context.get_remaining_time_in_millis)
    telemetry.publish_tick(report)
    telemetry.publish_settled(_settle_all()(context.get_remaining_time_in_millis))
    return {"shards": report.shards, "failed": report.failed}


@cache
def _redrive() -> Redrive:
    return Redrive(
        DeadLetterObjects(clients.s3(), settings().dead_letters_bucket),
        events_stream(),
        RedriveQueue(clients.sqs(), settings().redrive_queue_url),
        _pause,
    )


def redrive(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Do what the messages of the redrive queue ask for; the answer is Lambda's partial batch response."""
    report = _redrive()(event, context.get_remaining_time_in_millis)
    telemetry.publish_redrive(report)
    return report.response


def check_release(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Say whether a new version of a function may take traffic, before it does: CodeDeploy asks."""
    report = _check_release()(event, context.get_remaining_time_in_millis)
    telemetry.publish_release(report)
    return report.response


@cache
def _check_release() -> "CheckRelease":
    from chalicelib.aws.releases import CodeDeployReleases  # noqa: PLC0415  no other function needs any of it
    from chalicelib.release.check import CheckRelease  # noqa: PLC0415
    from chalicelib.release.questions import questions  # noqa: PLC0415
    from chalicelib.release.samples import faults_of  # noqa: PLC0415

    stage, metric = settings().stage, next(iter(CATALOG.metrics), "")
    packaged = decoder(CATALOG, settings().lateness_ms, settings().future_tolerance_ms)
    return CheckRelease(
        CodeDeployReleases(clients.codedeploy(), clients.functions()),
        ingest=f"highwater-{stage}-ingest",
        decoder_faults=lambda: faults_of(packaged),
        questions=lambda: questions(stage, metric, now_ms()),
        in_time=call_in_time,
    )


def stream_arn_placeholder(table: str) -> str:
    """What `app.py` says in place of the ARN of a table's stream.

    Why: nobody knows the ARN before the table is made. In the template `.chalice/resources.yaml` says it; a local stage
    reads the table's name in it.
    """
    return f"arn:aws:dynamodb:::table/{table}/stream/*"


@cache
def _capture() -> Capture:
    return Capture(
        settings().orders_table, definitions.ORDERS_TABLE_CHANGES, events_stream(), _dead_letters_bucket(), _pause
    )


def capture(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Put one batch of the orders table's changes on the events stream; the answer is Lambda's partial batch response.

    What each change becomes there, and what comes twice when, docs/guarantees.md says.
    """
    report = _capture()(event, context.get_remaining_time_in_millis)
    telemetry.publish_capture(report)
    return report.response


@cache
def tokens_secret() -> "TokensSecret":
    """The digests of the API's tokens."""
    from chalicelib.aws.tokens_secret import TokensSecret  # noqa: PLC0415  the module says why

    return TokensSecret(clients.secretsmanager(), settings().api_tokens_secret, settings().api_tokens_max_age_ms)


@cache
def query() -> Query:
    """The questions of analysts."""
    return Query(
        CATALOG,
        stage=settings().stage,
        stream=settings().events_stream,
        lateness_ms=settings().lateness_ms,
        shares=aggregates_table(),
        progress=aggregates_table(),
        settled=aggregates_table(),
        shards=events_stream(),
        letters=DeadLettersReader(clients.s3(), settings().dead_letters_bucket),
        clock_ms=now_ms,
    )


def _pause(pause_ms: int) -> None:
    sleep(pause_ms / 1000)


def now_ms() -> int:
    """The clock, epoch milliseconds."""
    return int(time() * 1000)
