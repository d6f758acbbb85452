"""`ingest`: records of the events stream are counted."""

from collections.abc import Mapping
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

from chalicelib import definitions, telemetry
from chalicelib.aws import clients
from chalicelib.aws.idempotent_effects import IdempotentEffects
from chalicelib.aws.ids_table import IdsTable
from chalicelib.consumers.counted_ids import CountedIds
from chalicelib.consumers.ingest import Ingest
from chalicelib.wiring.decoder import make_decoder
from chalicelib.wiring.stage import CATALOG, HANDLERS, remember_ms, settings
from chalicelib.wiring.stores import aggregates_table, dead_letters_bucket, events_stream

if TYPE_CHECKING:
    from chalicelib.aws.results_topic import ResultsTopic


def answer(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Count one batch of the events stream; the answer is Lambda's partial batch response."""
    started = perf_counter()
    effects().register_lambda_context(context)
    report = make()(event, context.get_remaining_time_in_millis)
    telemetry.publish_ingest(report, commit_ms=(perf_counter() - started) * 1000)
    return report.response


@cache
def make() -> Ingest:
    """What counts."""
    CATALOG.outlives(settings().events_retention_ms)
    return Ingest(
        CATALOG,
        make_decoder(
            CATALOG,
            settings().lateness_ms,
            settings().future_tolerance_ms,
            {settings().orders_table: definitions.ORDERS_TABLE_CHANGES},
        ),
        partials=aggregates_table(),
        dead_letters=dead_letters_bucket(),
        progress=aggregates_table(),
        ids=counted_ids(),
        handlers=HANDLERS,
        effects=effects(),
    )


@cache
def counted_ids() -> CountedIds:
    """The ids that this container knows to be counted."""
    table = IdsTable(clients.dynamodb(), settings().ids_table, remember_ms())
    return CountedIds(table, events_stream(), settings().dedup_horizon_ms)


@cache
def effects() -> IdempotentEffects:
    """What runs the handlers. Whoever has it run them registers the invocation's Lambda context first."""
    return IdempotentEffects(clients.dynamodb(), settings().idempotency_table, _results_topic, remember_ms())


def _results_topic() -> "ResultsTopic":
    from chalicelib.wiring.results import results_topic  # noqa: PLC0415  only effects need it, and most have none

    return results_topic()
