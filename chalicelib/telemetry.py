"""Logs and metrics of the application, by Powertools: structured logs, and metrics in the embedded metric format.

Reports come in, numbers and names go out: no payload, no key of an event ever reaches a log. Every metric has the
dimensions `service` and `stage`; the second is a default that `app.py` sets, for nothing here reads the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from traceback import extract_tb
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from chalicelib.records.rejection import Reason

if TYPE_CHECKING:  # a function loads its own use case, and no other's
    from chalicelib.access.errors import Refusal
    from chalicelib.consumers.alerts import AlertReport
    from chalicelib.consumers.capture import CaptureReport
    from chalicelib.consumers.fan_out import FanOutReport
    from chalicelib.consumers.ingest import IngestReport
    from chalicelib.consumers.publish import PublishReport
    from chalicelib.consumers.redrive import RedriveReport
    from chalicelib.consumers.rollup import RollupReport
    from chalicelib.consumers.settle import SettleReport
    from chalicelib.consumers.tick import TickReport
    from chalicelib.release.check import ReleaseReport

NAMESPACE = "Highwater"
SERVICE = "highwater"

logger = Logger(service=SERVICE)
metrics = Metrics(namespace=NAMESPACE, service=SERVICE)


def publish_ingest(report: IngestReport, commit_ms: float) -> None:
    """Publish one batch: what was counted, what was not, and how long it took."""
    metrics.add_metric("Batches", MetricUnit.Count, 1)
    metrics.add_metric("Records", MetricUnit.Count, report.records)
    metrics.add_metric("Events", MetricUnit.Count, report.events)
    metrics.add_metric("Duplicates", MetricUnit.Count, report.duplicates)
    metrics.add_metric("MisplacedUserRecords", MetricUnit.Count, report.misplaced)
    metrics.add_metric("Partials", MetricUnit.Count, report.partials)
    metrics.add_metric("Rebases", MetricUnit.Count, report.rebases)
    metrics.add_metric("WriteUnits", MetricUnit.Count, report.write_units)
    metrics.add_metric("OverflowedGroups", MetricUnit.Count, report.overflowed_groups)
    metrics.add_metric("Effects", MetricUnit.Count, report.effects)
    metrics.add_metric("IdsHeld", MetricUnit.Count, report.ids_held)
    metrics.add_metric("IdsForgotten", MetricUnit.Count, report.ids_forgotten)
    metrics.add_metric("CommitTime", MetricUnit.Milliseconds, commit_ms)
    metrics.add_metric("FailedBatches", MetricUnit.Count, int(report.failed_sequence_number is not None))
    _publish_dead_letters(report.dead_letters)
    details = {
        "stream": report.stream,
        "shard_id": report.shard_id,
        "records": report.records,
        "events": report.events,
        "duplicates": report.duplicates,
        "misplaced": report.misplaced,
        "dead_letters": dict(report.dead_letters),
        "partials": report.partials,
        "rebases": report.rebases,
        "overflowed_groups": report.overflowed_groups,
        "effects": report.effects,
        "ids_held": report.ids_held,
        "ids_forgotten": report.ids_forgotten,
        "commit_ms": round(commit_ms, 1),
    }
    _log_batch("batch committed", details, report.failed_sequence_number, report.errors)


def publish_release(report: ReleaseReport) -> None:
    """Log what came of a release check: CodeDeploy tells nobody why a hook has refused."""
    log = logger.info if report.succeeded else logger.error
    details = {"function": report.function, "version": report.version, "faults": report.faults}
    log("release checked" if report.succeeded else "release refused", extra=details)


def publish_tick(report: TickReport) -> None:
    """Publish one tick: an alarm on its absence tells that completeness stands still."""
    metrics.add_metric("Ticks", MetricUnit.Count, report.shards - report.failed)
    metrics.add_metric("TicksFailed", MetricUnit.Count, report.failed)


def publish_settled(reports: Mapping[str, SettleReport]) -> None:
    """Publish how each duty about windows that are over went on."""
    _publish_counts("SlicesSettled", "duty", {purpose: report.slices for purpose, report in reports.items()})
    _publish_counts("MetricsBehind", "duty", {purpose: report.behind for purpose, report in reports.items()})
    if errors := {purpose: dict(report.errors) for purpose, report in reports.items() if report.errors}:
        logger.error("duties left undone", extra={"errors": errors})


def publish_alerts(report: AlertReport) -> None:
    """Publish what came of looking at windows for alerts. What is set as a threshold is not logged."""
    _publish_counts("AlertsRaised", "alert", report.raised)
    _publish_counts("AlertsFailed", "alert", report.failed)
    _publish_counts("ThresholdsRefused", "alert", dict.fromkeys(report.refused, 1))
    metrics.add_metric("ThresholdsUnread", MetricUnit.Count, int(report.unread is not None))
    metrics.add_metric("ThresholdsUnknown", MetricUnit.Count, report.unknown)
    if report.errors or report.unread:
        logger.error("alerts in part", extra={"errors": dict(report.errors), "thresholds": report.unread})


def publish_capture(report: CaptureReport) -> None:
    """Publish one batch of a table's changes: what the events stream has taken, and what is no change."""
    metrics.add_metric("CapturedChanges", MetricUnit.Count, report.captured)
    metrics.add_metric("CapturesFailed", MetricUnit.Count, int(report.checkpoint is not None))
    _publish_dead_letters(report.dead_letters)
    details = {
        "table": report.table,
        "records": report.records,
        "captured": report.captured,
        "dead_letters": dict(report.dead_letters),
    }
    _log_batch("changes captured", details, report.checkpoint, report.errors)


def publish_rollup(report: RollupReport) -> None:
    """Publish one batch of changes carried into rollups."""
    metrics.add_metric("RollupsStored", MetricUnit.Count, report.rollups)
    metrics.add_metric("RollupsOvertaken", MetricUnit.Count, report.overtaken)
    metrics.add_metric("RollupsTooLarge", MetricUnit.Count, report.too_large)
    metrics.add_metric("RollupWriteUnits", MetricUnit.Count, report.write_units)
    metrics.add_metric("RollupBatchesFailed", MetricUnit.Count, int(report.failed_sequence_number is not None))
    details = {
        "changes": report.changes,
        "windows": report.windows,
        "rollups": report.rollups,
        "overtaken": report.overtaken,
        "too_large": report.too_large,
    }
    _log_batch("changes rolled up", details, report.failed_sequence_number, report.errors)


def publish_fan_out(report: FanOutReport) -> None:
    """Publish one batch of changes told to the subscribers of results."""
    publish_results(report.results)
    metrics.add_metric("WindowsFannedOut", MetricUnit.Count, report.windows)
    metrics.add_metric("FanOutBatchesFailed", MetricUnit.Count, int(report.failed_sequence_number is not None))
    details = {
        "changes": report.changes,
        "ignored": report.ignored,
        "windows": report.windows,
        "alerts": report.alerts,
        "published": report.results.published,
        "final": report.results.final,
        "refused": report.results.refused,
    }
    errors = {**report.errors, **report.results.errors}
    _log_batch("changes fanned out", details, report.failed_sequence_number, errors)


def publish_results(report: PublishReport) -> None:
    """Publish what became of messages, a window in parts being several: on the topic, or kept as dead letters."""
    metrics.add_metric("ResultsPublished", MetricUnit.Count, report.published)
    metrics.add_metric("ResultsFinal", MetricUnit.Count, report.final)
    metrics.add_metric("ResultsFailed", MetricUnit.Count, report.failed)
    _publish_dead_letters({Reason.UNSENDABLE: report.refused} if report.refused else {})


def publish_circuit(name: str, state: str) -> None:
    """Publish that a circuit breaker has changed its state: open, half-open or closed."""
    logger.warning("circuit breaker", extra={"circuit": name, "state": state})
    _publish_counts("CircuitChanges", "state", {state: 1})


def publish_redrive(report: RedriveReport) -> None:
    """Publish what became of the messages of one invocation, and of the letters."""
    metrics.add_metric("RedrivesFailed", MetricUnit.Count, len(report.failed_message_ids))
    _publish_counts("Redrives", "outcome", report.outcomes)
    _publish_counts("LettersRedriven", "reason", report.letters)
    details = {"outcomes": dict(report.outcomes), "letters": dict(report.letters), "errors": dict(report.errors)}
    if report.failed_message_ids:
        logger.error("redriven in part", extra=details | {"failed_message_ids": report.failed_message_ids})
    else:
        logger.info("redriven", extra=details)


def publish_answer(status: int, elapsed_ms: float) -> None:
    """Publish one answer of the HTTP API. What was asked is not logged: a condition may hold a customer's name."""
    metrics.add_metric("Requests", MetricUnit.Count, 1)
    metrics.add_metric("RequestTime", MetricUnit.Milliseconds, elapsed_ms)
    metrics.add_metric("Problems", MetricUnit.Count, int(status >= HTTPStatus.BAD_REQUEST))


def publish_failure(error: Exception) -> None:
    """Publish that a request has failed by our fault: where, and not what the error says, which may quote data."""
    logger.error("request failed", extra=_without_text(error))
    metrics.add_metric("RequestsFailed", MetricUnit.Count, 1)


def publish_raised(error: Exception) -> None:
    """Publish that an invocation ends by an error; told as of a request. Lambda itself counts them."""
    logger.error("invocation failed", extra=_without_text(error))


def kind_of(error: Exception) -> str:
    """An error's type, and of AWS's errors the code too, where that says more."""
    kind, code = type(error).__name__, _code_of(error)
    return kind if code in (None, kind) else f"{kind}: {code}"


def publish_grant(name: str) -> None:
    """Publish that a token holds; of the token nothing but its name, which is no secret."""
    logger.info("token accepted", extra={"token_name": name})


def publish_refusal(reason: Refusal) -> None:
    """Publish that a request carried no credentials that hold. What it carried is not logged: it may be a token."""
    _publish_counts("RequestsRefused", "reason", {reason: 1})


def publish_access_unavailable(cause: str) -> None:
    """Publish that nobody can say who may read, by the name of what went wrong."""
    logger.error("access unavailable", extra={"error": cause})
    _publish_alone("AccessUnavailable", 1)


def _without_text(error: Exception) -> dict[str, Any]:
    where = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)]
    code = _code_of(error)
    return {"error": type(error).__name__, **({} if code is None else {"code": code}), "where": where}


def _code_of(error: Exception) -> str | None:
    """The service's code of what AWS has refused, as botocore's ClientError has it."""
    response = getattr(error, "response", None)
    refusal = response.get("Error") if isinstance(response, dict) else None
    code = refusal.get("Code") if isinstance(refusal, dict) else None
    return None if code is None else str(code)


def _log_batch(
    what: str, details: Mapping[str, Any], failed_sequence_number: str | None, errors: Mapping[str, int]
) -> None:
    """Log one batch of a stream: as an error, and with the errors' names, when it was done in part."""
    if failed_sequence_number is None:
        logger.info(what, extra=dict(details))
    else:
        failure = {"failed_sequence_number": failed_sequence_number, "errors": dict(errors)}
        logger.error("%s in part", what, extra={**details, **failure})


def _publish_dead_letters(counts: Mapping[Reason, int]) -> None:
    """Publish how many in all, which an alarm watches, and how many for each reason, which tells what to do."""
    metrics.add_metric("DeadLetters", MetricUnit.Count, sum(counts.values()))
    _publish_counts("DeadLetters", "reason", counts)


def _publish_counts(name: str, dimension: str, counts: Mapping[Any, int]) -> None:
    """Publish one metric for each of a few names."""
    for value, count in counts.items():
        _publish_alone(name, count, {dimension: str(value)})


def _publish_alone(name: str, count: int, dimensions: Mapping[str, str] | None = None) -> None:
    """Publish one metric at once, of dimensions that the others of this invocation have not."""
    every = {"service": SERVICE, **metrics.default_dimensions, **(dimensions or {})}
    with single_metric(name, MetricUnit.Count, count, namespace=NAMESPACE, default_dimensions=every):
        pass
