"""How functions are invoked: the options of event source mappings on which exact counts stand, and the schedule."""

from collections.abc import Iterator
from typing import Any

import orjson

from chalicelib.wiring.filters import patterns
from ops.preflight.checklist import RESOURCES, Check, Find, Finding, at, differences, show
from ops.preflight.stage import ALIAS, MAPPING, PackagedStage, Properties
from ops.template import references

STREAMS = {"Ingest": "EventsStream", "Capture": "OrdersTable", "Rollup": "AggregatesTable", "FanOut": "AggregatesTable"}
QUEUES = {"Redrive": "RedriveQueue"}
FILTERED = {"Rollup": "rollup", "FanOut": "fan_out"}  # not capture: an order that is removed is one less
OF_EVENTS = f"{RESOURCES}: Events of the function"


def invokes(stage: PackagedStage, target: object, name: str) -> bool:
    """Whether an intrinsic function names a function, or an alias of it."""
    aliases_of = {
        logical_id for logical_id, alias in stage.of_type(ALIAS).items() if alias.get("FunctionName") == {"Ref": name}
    }
    return not {name, *aliases_of}.isdisjoint(references(target))


def of_function(stage: PackagedStage, name: str) -> dict[str, Properties]:
    """The mappings that invoke a function."""
    return {
        logical_id: mapping
        for logical_id, mapping in stage.of_type(MAPPING).items()
        if invokes(stage, mapping.get("FunctionName"), name)
    }


def of_streams(stage: PackagedStage) -> dict[str, Properties]:
    """The mappings of streams."""
    return {logical_id: mapping for name in STREAMS for logical_id, mapping in of_function(stage, name).items()}


def on_streams(path: str, wanted: object) -> Find:
    """Every mapping of a stream has this value."""
    return lambda stage: differences(of_streams(stage), path, wanted)


def sources(stage: PackagedStage) -> Iterator[Finding]:
    """Each consumer has one mapping, of its own source, and it is enabled."""
    for name, source in (STREAMS | QUEUES).items():
        mappings = of_function(stage, name)
        read = sorted({each for mapping in mappings.values() for each in references(mapping.get("EventSourceArn"))})
        if len(mappings) != 1 or read != [source]:
            yield Finding(f"{name}.Events", ", ".join(read) or "no mapping", source)
        for logical_id, mapping in mappings.items():
            if mapping.get("Enabled", True) is not True:
                yield Finding(f"{logical_id}.Enabled", show(mapping["Enabled"]), "true")


def partial_responses(stage: PackagedStage) -> Iterator[Finding]:
    """Functions say which records have failed."""
    mappings = of_streams(stage) | {key: value for name in QUEUES for key, value in of_function(stage, name).items()}
    yield from differences(mappings, "FunctionResponseTypes", ["ReportBatchItemFailures"])


def destination(stage: PackagedStage) -> Iterator[Finding]:
    """What Lambda cannot deliver is kept in the bucket that redrive reads."""
    for logical_id, mapping in of_streams(stage).items():
        found = at(mapping, "DestinationConfig.OnFailure.Destination")
        if list(references(found)) != ["DeadLettersBucket"]:
            yield Finding(f"{logical_id}.DestinationConfig.OnFailure", show(found), "DeadLettersBucket")


def filters(stage: PackagedStage) -> Iterator[Finding]:
    """The aggregates table's mappings let through what the definitions have anybody told of, and nothing else."""
    for name, function in FILTERED.items():
        wanted = [orjson.loads(pattern) for pattern in patterns()[function]]
        for logical_id, mapping in of_function(stage, name).items():
            criteria = mapping.get("FilterCriteria")
            if [_pattern(each) for each in at(criteria, "Filters") or []] != wanted:
                yield Finding(f"{logical_id}.FilterCriteria", show(criteria), show(wanted))


def aliases(stage: PackagedStage) -> Iterator[Finding]:
    """Mappings invoke the alias, so that CodeDeploy shifts what they invoke."""
    for logical_id, mapping in stage.of_type(MAPPING).items():
        invoked = list(references(mapping.get("FunctionName")))
        if not set(invoked) <= stage.of_type(ALIAS).keys():
            yield Finding(f"{logical_id}.FunctionName", ", ".join(invoked), "the alias")


def failed_messages(stage: PackagedStage) -> Iterator[Finding]:
    """Messages that fail again and again leave the queue, and are kept."""
    found = at(stage.properties("RedriveQueue"), "RedrivePolicy.deadLetterTargetArn")
    if list(references(found)) != ["RedriveFailedQueue"]:
        yield Finding("RedriveQueue.RedrivePolicy", show(found), "RedriveFailedQueue")


def schedule(stage: PackagedStage) -> Iterator[Finding]:
    """Tick comes each minute."""
    rates = [
        rule.get("ScheduleExpression")
        for rule in stage.of_type("AWS::Events::Rule").values()
        if invokes(stage, rule.get("Targets"), "Tick") and rule.get("State", "ENABLED") == "ENABLED"
    ]
    if rates != ["rate(1 minute)"]:
        yield Finding("Tick.Events", show(rates), "rate(1 minute)")


def _pattern(rule: Any) -> object:
    try:
        return orjson.loads(rule["Pattern"])
    except orjson.JSONDecodeError:
        return None


CHECKS = (
    Check("sources", "Each consumer reads its source", "nothing is counted without", sources, mend=OF_EVENTS),
    Check(
        "one-at-a-time",
        "One invocation a shard (ParallelizationFactor 1)",
        "two at once would fold one shard's records out of order: counts are wrong",
        on_streams("ParallelizationFactor", 1),
        mend=OF_EVENTS,
    ),
    Check(
        "partial-responses",
        "Partial responses (ReportBatchItemFailures)",
        "without, one failure repeats the whole batch",
        partial_responses,
        mend=OF_EVENTS,
    ),
    Check(
        "bisect",
        "Batches are halved on an error",
        "a batch that cannot be done in one go would be tried whole for ever",
        on_streams("BisectBatchOnFunctionError", True),
        mend=OF_EVENTS,
    ),
    Check(
        "retries-for-ever",
        "Retries never end (MaximumRetryAttempts -1)",
        "a batch dropped after some of its puts can never again be counted exactly",
        on_streams("MaximumRetryAttempts", -1),
        mend=OF_EVENTS,
    ),
    Check(
        "records-never-expire",
        "Records never expire (MaximumRecordAgeInSeconds -1)",
        "as for retries: what waits for an outage to end must not be dropped",
        on_streams("MaximumRecordAgeInSeconds", -1),
        mend=OF_EVENTS,
    ),
    Check(
        "failure-destination",
        "Undeliverable batches are kept",
        "a batch over Lambda's limit would be lost",
        destination,
        mend=OF_EVENTS,
    ),
    Check(
        "from-the-beginning",
        "Mappings begin at the stream's beginning",
        "LATEST would lose what came before the mapping was made",
        on_streams("StartingPosition", "TRIM_HORIZON"),
        mend="app.py: starting_position of the function",
    ),
    Check(
        "filters",
        "Invocations only for changes that anybody is told of",
        "of a metric that is kept away nobody is told; any other change costs and tells nothing",
        filters,
        mend="make package: the filters are those of chalicelib/definitions.py",
    ),
    Check(
        "mapping-aliases",
        "Mappings invoke the alias",
        "a release would reach all shards at once",
        aliases,
        mend=OF_EVENTS,
    ),
    Check(
        "failed-messages", "Failed redrives are kept", "a message that fails would come back for ever", failed_messages
    ),
    Check(
        "schedule",
        "Tick comes each minute",
        "completeness stands still without",
        schedule,
        mend="app.py: the schedule of tick",
    ),
)
