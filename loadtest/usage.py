"""What a load took, by the stage's own counting: the difference of what was counted before and after it.

A local stage counts each request as AWS would charge for it. Of one on AWS, CloudWatch tells what it has by the time
that it is asked, which some minutes later would be a little more; so the source says when that was.
"""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.aggregates.windows import format_instant
from chalicelib.telemetry import NAMESPACE, SERVICE
from loadtest.recording import StageKind, Usage
from loadtest.target import Target, now_ms
from localstage import control

if TYPE_CHECKING:
    from localstage import LocalStage

TABLES = ("aggregates", "ids", "idempotency", "orders")
FUNCTIONS = ("ingest", "rollup", "fan_out", "tick", "capture", "redrive", "authorize", "api_handler")
CONSUMED = {"write_units": "ConsumedWriteCapacityUnits", "read_units": "ConsumedReadCapacityUnits"}
MINUTE_SECONDS = 60
Counted = Mapping[str, Any]


def counted(target: Target, local: "LocalStage | None") -> Counted | None:
    """What the stage has counted so far; None where only CloudWatch can tell, or nobody."""
    if local is not None:
        return local.usage()
    if target.stage.kind is StageKind.RUNNING and target.endpoint_url is not None:
        with suppress(OSError, ValueError):  # an emulator of somebody else's counts nothing for us
            return control.usage(target.endpoint_url)
    return None


def between(before: Counted, after: Counted, *, is_whole: bool) -> Usage:
    """What was counted in between. Shapes: is_whole, whether functions and the API were counted too."""
    by_table = {
        table: _difference(before["by_table"].get(table, {}), units) for table, units in after["by_table"].items()
    }
    what = "the local stage" if is_whole else "the local stage's emulated AWS; functions and API are not in it"
    return Usage(
        units=_difference(before["units"], after["units"]),
        requests={name: int(count) for name, count in _difference(before["requests"], after["requests"]).items()},
        by_table={table: units for table, units in by_table.items() if units},
        source=what,
    )


def _difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    counted = {name: count - before.get(name, 0) for name, count in after.items()}
    return {name: count for name, count in counted.items() if count}


def told_by_cloudwatch(target: Target, started_ms: int) -> tuple[Usage | None, int | None]:
    """What CloudWatch tells of the time since then. Returns: it, and the duplicates that `ingest` reported.

    Shapes: None for what it does not tell, or may not tell us.
    """
    cloudwatch = target.client("cloudwatch")
    until_ms = now_ms()
    span = (started_ms, until_ms)
    stage = target.stage.name
    units: defaultdict[str, float] = defaultdict(float)
    by_table: dict[str, dict[str, float]] = {}
    requests: dict[str, int] = {}
    try:
        for table in (f"highwater-{stage}-{name}" for name in TABLES):
            told = {
                unit: _sum(cloudwatch, span, "AWS/DynamoDB", metric, {"TableName": table}) or 0
                for unit, metric in CONSUMED.items()
            }
            by_table[table] = told
            for unit, count in told.items():
                units[f"dynamodb.{unit}"] += count
        for name in FUNCTIONS:
            function = f"highwater-{stage}" if name == "api_handler" else f"highwater-{stage}-{name}"
            invoked = _sum(cloudwatch, span, "AWS/Lambda", "Invocations", {"FunctionName": function}) or 0
            requests[f"lambda.Invoke {name}"] = int(invoked)
            units["lambda.requests"] += invoked
        duplicates = _sum(cloudwatch, span, NAMESPACE, "Duplicates", {"service": SERVICE, "stage": stage})
    except (BotoCoreError, ClientError):
        return None, None
    source = f"CloudWatch, as it knew it at {format_instant(until_ms)}; other traffic of the stage is in it"
    usage = Usage(dict(units), requests, by_table, source) if any(units.values()) else None
    return usage, None if duplicates is None else int(duplicates)


def _sum(
    cloudwatch: Any, span: tuple[int, int], namespace: str, metric: str, dimensions: Mapping[str, str]
) -> float | None:
    start, end = (datetime.fromtimestamp(instant_ms / 1000, UTC) for instant_ms in span)
    told = cloudwatch.get_metric_statistics(
        Namespace=namespace,
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=start.replace(second=0, microsecond=0),
        EndTime=end,
        Period=MINUTE_SECONDS * (1 + int((end - start).total_seconds()) // (MINUTE_SECONDS * 1_000)),
        Statistics=["Sum"],
    )["Datapoints"]
    return sum(point["Sum"] for point in told) if told else None
