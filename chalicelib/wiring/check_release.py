"""`check_release`: whether a new version of a function may take traffic."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from chalicelib import telemetry
from chalicelib.aws import clients
from chalicelib.aws.concurrent import call_in_time
from chalicelib.aws.releases import CodeDeployReleases
from chalicelib.release.check import CheckRelease
from chalicelib.release.questions import questions
from chalicelib.release.samples import faults_of
from chalicelib.wiring.decoder import make_decoder
from chalicelib.wiring.stage import CATALOG, now_ms, pause, settings


def answer(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Say whether a new version of a function may take traffic, before it does: CodeDeploy asks."""
    report = make()(event, context.get_remaining_time_in_millis)
    telemetry.publish_release(report)
    return report.response


@cache
def make() -> CheckRelease:
    """What checks."""
    stage, metric = settings().stage, next(iter(CATALOG.metrics), "")
    decoder = make_decoder(CATALOG, settings().lateness_ms, settings().future_tolerance_ms)
    return CheckRelease(
        CodeDeployReleases(clients.codedeploy(), clients.functions(), clients.invocations(), pause),
        ingest=f"highwater-{stage}-ingest",
        decoder_faults=lambda: faults_of(decoder),
        questions=lambda: questions(stage, metric, now_ms()),
        in_time=call_in_time,
    )
