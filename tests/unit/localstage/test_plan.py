"""What a stage runs, from the app, its config and the template."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localstage.declarations import Api, Authorizer, Declarations, DynamoDBTrigger, KinesisTrigger, Schedule, SqsTrigger
from localstage.errors import StageError
from localstage.plan import Planner, StagePlan
from localstage.source import EncodedRecord

CONFIG = {
    "version": "2.0",
    "lambda_timeout": 30,
    "minimum_compression_size": 1024,
    "environment_variables": {"LEVEL": "INFO", "STAGE": "from the config"},
    "stages": {
        "dev": {"lambda_functions": {"ingest": {"lambda_memory_size": 512}}, "environment_variables": {"DEV": "1"}}
    },
}
DECLARATIONS = Declarations(
    app_name="sample",
    api=Api(routes={"/": ["GET"]}, authorizers=[Authorizer("check", "app.check", 60, "Authorization")]),
    kinesis=[KinesisTrigger("ingest", "app.ingest", "events", 500, 2, "TRIM_HORIZON")],
    dynamodb=[DynamoDBTrigger("rollup", "app.rollup", "arn:placeholder", 100, 0, "TRIM_HORIZON")],
    sqs=[SqsTrigger("work", "app.work", "jobs", 7, 10)],
    schedules=[Schedule("tick", "app.tick", 60)],
    unserved=["at_night"],
)


def plan(
    tmp_path: Path,
    amended: dict[str, Any],
    mapping: dict[str, Any] | None = None,
    function: str = "Ingest",
    declared: Declarations = DECLARATIONS,
) -> StagePlan:
    (tmp_path / ".chalice").mkdir()
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps(CONFIG))
    template = {"Resources": {function: {"Properties": amended}}}
    return Planner(tmp_path, "dev", template, {"STAGE": "dev"}, mapping or {}).plan(declared)


def amended_mapping(event_source: str = "IngestKinesisEventSource", **properties: Any) -> dict[str, Any]:
    return {"Events": {event_source: {"Properties": properties}}}


def test_functions_are_named_and_configured_as_chalice_deploys_them(tmp_path: Path) -> None:
    planned = plan(tmp_path, {})
    ingest = planned.kinesis[0].function
    assert (ingest.name, ingest.handler, ingest.memory_mb, ingest.timeout_seconds) == (
        "sample-dev-ingest",
        "app.ingest",
        512,
        30,
    )
    assert (planned.api_function.name, planned.api_function.handler) == ("sample-dev", "app.app")
    assert (planned.schedules[0].function.name, planned.schedules[0].seconds) == ("sample-dev-tick", 60)
    assert planned.minimum_compression_size == 1024


def test_the_stages_own_variables_win_over_those_of_the_config(tmp_path: Path) -> None:
    assert plan(tmp_path, {}).api_function.environment == {"LEVEL": "INFO", "DEV": "1", "STAGE": "dev"}


def test_amendments_win_over_the_config(tmp_path: Path) -> None:
    variables = {"TOPIC": "arn:topic", "API": {"Ref": "RestAPI"}}
    ingest = (
        plan(tmp_path, {"Timeout": 5, "MemorySize": 256, "Environment": {"Variables": variables}}).kinesis[0].function
    )
    assert (ingest.timeout_seconds, ingest.memory_mb, ingest.environment["TOPIC"]) == (5, 256, "arn:topic")
    assert "API" not in ingest.environment, "only a deployment could tell it"


def test_a_mapping_has_the_options_of_the_app_and_of_the_template(tmp_path: Path) -> None:
    planned = plan(
        tmp_path,
        amended_mapping(
            FunctionResponseTypes=["ReportBatchItemFailures"],
            BisectBatchOnFunctionError=True,
            MaximumRetryAttempts=3,
            MaximumRecordAgeInSeconds=60,
            DestinationConfig={"OnFailure": {"Type": "S3", "Destination": "arn:aws:s3:::b"}},
        ),
    )
    (mapping,) = planned.kinesis
    assert (mapping.stream, mapping.starting_position, mapping.destination_arn) == (
        "events",
        "TRIM_HORIZON",
        "arn:aws:s3:::b",
    )
    options = mapping.options
    assert (options.batch_size, options.batching_window_ms) == (500, 2_000)
    assert options.report_batch_item_failures
    assert options.bisect_batch_on_function_error
    assert (options.maximum_retry_attempts, options.maximum_record_age_ms) == (3, 60_000)


def test_a_mapping_never_gives_up_unless_it_is_told_to(tmp_path: Path) -> None:
    options = plan(tmp_path, {}).kinesis[0].options
    assert (options.maximum_retry_attempts, options.maximum_record_age_ms) == (-1, -1)
    assert not options.report_batch_item_failures


def test_a_queue_has_the_options_of_the_app_and_of_the_template_and_few_invocations_at_once(tmp_path: Path) -> None:
    event = {"WorkSqsEventSource": {"Properties": {"FunctionResponseTypes": ["ReportBatchItemFailures"]}}}
    (queue,) = plan(tmp_path, {"Events": event}, function="Work").queues
    assert (queue.queue, queue.batch_size, queue.report_batch_item_failures) == ("jobs", 7, True)
    assert (queue.function.name, queue.function.concurrency) == ("sample-dev-work", 2)


def test_an_authorizer_is_a_function_of_its_own_and_the_apis_answers_are_the_templates(tmp_path: Path) -> None:
    responses = {"UNAUTHORIZED": {"statusCode": "418"}}
    body = {"DefinitionBody": {"x-amazon-apigateway-gateway-responses": responses}}
    planned = plan(tmp_path, body, function="RestAPI")
    ((authorizer),) = planned.authorizers
    assert (authorizer.name, authorizer.header, authorizer.ttl_seconds) == ("check", "Authorization", 60)
    assert (authorizer.function.name, authorizer.function.handler) == ("sample-dev-check", "app.check")
    assert planned.gateway_responses == responses


def test_options_can_be_replaced(tmp_path: Path) -> None:
    planned = plan(tmp_path, {}, {"ingest": {"batch_size": 7}})
    assert planned.kinesis[0].options.batch_size == 7
    assert planned.dynamodb[0].options.batch_size == 100


def test_options_of_a_function_that_no_stream_triggers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no stream triggers ingets"):
        plan(tmp_path, {}, {"ingets": {"batch_size": 7}})


def test_a_tables_stream_is_the_one_of_the_template_and_its_mapping_has_the_same_options(tmp_path: Path) -> None:
    amended = amended_mapping(
        "RollupDynamodbEventSource", Stream="arn:stream", BisectBatchOnFunctionError=True, MaximumRetryAttempts=1
    )
    (mapping,) = plan(tmp_path, amended, function="Rollup").dynamodb
    assert (mapping.function.name, mapping.stream, mapping.starting_position) == (
        "sample-dev-rollup",
        "arn:stream",
        "TRIM_HORIZON",
    )
    assert mapping.options.bisect_batch_on_function_error
    assert mapping.options.maximum_retry_attempts == 1


def test_without_one_in_the_template_a_tables_stream_is_the_one_of_the_app(tmp_path: Path) -> None:
    assert plan(tmp_path, {}).dynamodb[0].stream == "arn:placeholder"


def test_a_function_has_the_name_that_the_template_gives_it(tmp_path: Path) -> None:
    ingest = plan(tmp_path, {"FunctionName": "theirs-dev-ingest"}).kinesis[0].function
    assert (ingest.name, ingest.arn.rpartition(":")[2]) == ("theirs-dev-ingest", "theirs-dev-ingest")


def test_a_filter_of_a_tables_stream_is_the_mappings(tmp_path: Path) -> None:
    criteria = {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}, {"Pattern": '{"eventName": ["MODIFY"]}'}]}
    amended = amended_mapping("RollupDynamodbEventSource", FilterCriteria=criteria)
    lets_through = plan(tmp_path, amended, function="Rollup").dynamodb[0].options.lets_through
    assert lets_through is not None
    names = ("INSERT", "MODIFY", "REMOVE")
    assert [lets_through(EncodedRecord("1", 0, b'{"eventName": "%s"}' % each.encode())) for each in names] == [
        True,
        True,
        False,
    ]


def test_filters_that_the_app_tells_are_the_mappings_in_place_of_the_templates(tmp_path: Path) -> None:
    criteria = {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]}
    amended = amended_mapping("RollupDynamodbEventSource", FilterCriteria=criteria, MaximumRetryAttempts=3)
    declared = replace(DECLARATIONS, filters={"rollup": ['{"eventName": ["REMOVE"]}']})
    options = plan(tmp_path, amended, function="Rollup", declared=declared).dynamodb[0].options
    assert options.lets_through is not None
    assert options.maximum_retry_attempts == 3
    names = ("INSERT", "REMOVE")
    assert [options.lets_through(EncodedRecord("1", 0, b'{"eventName": "%s"}' % each.encode())) for each in names] == [
        False,
        True,
    ]


@pytest.mark.parametrize("criteria", [{}, {"Filters": []}])
def test_without_a_filter_everything_is_let_through(tmp_path: Path, criteria: dict[str, Any]) -> None:
    amended = amended_mapping("RollupDynamodbEventSource", FilterCriteria=criteria)
    assert plan(tmp_path, amended, function="Rollup").dynamodb[0].options.lets_through is None


def test_a_filter_that_lambda_would_refuse_is_refused_by_the_functions_name(tmp_path: Path) -> None:
    criteria = {"Filters": [{"Pattern": '{"eventName": "INSERT"}'}]}
    with pytest.raises(StageError, match=r'^rollup: FilterCriteria: .*"eventName" must be an object or an array'):
        plan(tmp_path, amended_mapping("RollupDynamodbEventSource", FilterCriteria=criteria), function="Rollup")


@pytest.mark.parametrize(
    ("function", "event_source", "service"),
    [("Ingest", "IngestKinesisEventSource", "kinesis"), ("Work", "WorkSqsEventSource", "sqs")],
)
def test_a_filter_of_what_is_no_tables_stream_is_refused(
    tmp_path: Path, function: str, event_source: str, service: str
) -> None:
    criteria = {"Filters": [{"Pattern": '{"eventName": ["INSERT"]}'}]}
    with pytest.raises(StageError, match=f"{function.lower()}: FilterCriteria is served of .* not of {service}"):
        plan(tmp_path, amended_mapping(event_source, FilterCriteria=criteria), function=function)


def test_more_than_one_invocation_of_a_shard_at_once_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="ingest: a ParallelizationFactor"):
        plan(tmp_path, amended_mapping(ParallelizationFactor=2))
