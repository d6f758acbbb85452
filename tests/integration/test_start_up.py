"""What a function has loaded once it has started, and what keeps it from starting. Times: `benchmarks.cold_start`."""

import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

import app
from localstage import aws
from localstage.runtime import Function, FunctionSpec, InitError
from tests.lambda_process import RESULTS_TOPIC_ARN

PROJECT = Path(app.__file__).parent
NEEDED = {"RESULTS_TOPIC_ARN": RESULTS_TOPIC_ARN, "REDRIVE_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/0/redrive"}
SERVICES = ("dynamodb", "kinesis", "s3", "secretsmanager", "sns", "sqs", "ssm")
STARTED = f"""
import json, sys
import app
modules = list(sys.modules)
from chalicelib.aws import clients
services = [name for name in {SERVICES} if getattr(clients, name).cache_info().currsize]
print(json.dumps([modules, services]))
"""

# What only one function or a few are about.
USE_CASES = {
    *(f"chalicelib.consumers.{name}" for name in ("alerts", "capture", "fan_out", "final_results", "ingest")),
    *(f"chalicelib.consumers.{name}" for name in ("publish", "redrive", "rollup", "settle")),
    "chalicelib.access.tokens",
    "chalicelib.dashboard.pages",
    "chalicelib.identity.judge",
    "chalicelib.query.endpoints",
}
OF_CONSUMERS = "chalicelib.consumers."
LOADED = {
    "ingest": {OF_CONSUMERS + "ingest", "chalicelib.identity.judge"},
    "capture": {OF_CONSUMERS + "capture"},
    "rollup": {OF_CONSUMERS + "rollup"},
    "fan_out": {OF_CONSUMERS + name for name in ("alerts", "fan_out", "publish")},
    "tick": {OF_CONSUMERS + name for name in ("alerts", "fan_out", "final_results", "publish", "rollup", "settle")},
    "redrive": {OF_CONSUMERS + "redrive"},
    "authorize": {"chalicelib.access.tokens"},
    "app": {"chalicelib.dashboard.pages", "chalicelib.query.endpoints"},
}
CLIENTS = {
    "ingest": ["dynamodb", "kinesis"],
    "capture": ["kinesis"],
    "rollup": ["dynamodb"],
    "fan_out": ["dynamodb", "kinesis", "sns", "ssm"],
    "tick": ["dynamodb", "kinesis", "sns", "ssm"],
    "redrive": ["kinesis", "s3", "sqs"],
    "authorize": ["secretsmanager"],
    "app": ["dynamodb", "kinesis"],
}
# Of libraries: sketches, the messages of KPL aggregates, traces, handlers' idempotency; needed by some event, or never.
NEVER = {
    "aws_kinesis_agg.deaggregator",
    "aws_lambda_powertools.utilities.idempotency",
    "aws_xray_sdk",
    "datasketches",
    "google.protobuf",
    "numpy",
}
# boto3 itself comes with Powertools' parameters, which these read thresholds or tokens by.
BY_PARAMETERS = {"boto3", "s3transfer", "aws_lambda_powertools.utilities.parameters"}
READ_PARAMETERS = {"authorize", "fan_out", "tick"}


def started(function):
    """The modules that a function has loaded when it has started, and the services that it has clients of."""
    environment = {**os.environ, **NEEDED, "STAGE": "test", "_HANDLER": function and f"app.{function}"}
    done = subprocess.run(
        [sys.executable, "-c", STARTED], cwd=PROJECT, env=environment, capture_output=True, text=True, check=True
    )
    modules, services = orjson.loads(done.stdout)
    return set(modules), services


@pytest.mark.parametrize("function", LOADED)
def test_a_function_loads_its_own_use_case_and_no_other_and_makes_the_clients_that_every_event_needs(function):
    modules, services = started(function)
    assert modules & USE_CASES == LOADED[function]
    assert services == CLIENTS[function]
    assert modules & NEVER == set()
    assert modules & BY_PARAMETERS == (BY_PARAMETERS if function in READ_PARAMETERS else set())


def test_where_no_function_is_started_none_is_made():
    modules, services = started("")
    assert modules & (USE_CASES | NEVER | BY_PARAMETERS | {"botocore.session"}) == set()
    assert services == []


def test_every_function_of_the_application_is_looked_at():
    routes = {each.view_name for methods in app.app.routes.values() for each in methods.values()}
    assert set(app.app.handler_map) - routes - {"check_release"} == set(LOADED) - {"app"}


# ---- settings


def refusal(tmp_path, function, **settings):
    """What Lambda is told of a function that does not start."""
    environment = {**aws.environment_variables("http://127.0.0.1:1"), "STAGE": "test", **NEEDED, **settings}
    spec = FunctionSpec(function, f"app.{function}", "arn:f", PROJECT, environment)
    running = Function(spec, tmp_path / "f.log")
    try:
        with pytest.raises(InitError) as refused:
            running.cold_start()
        return str(refused.value)
    finally:
        running.close()


@pytest.mark.parametrize(
    ("function", "setting", "value"),
    [
        ("ingest", "STAGE", ""),
        ("app", "LATENESS", "soon"),
        ("capture", "EVENTS_STREAM", "no stream"),
        ("ingest", "RESULTS_TOPIC_ARN", ""),
        ("fan_out", "RESULTS_TOPIC_ARN", ""),
        ("tick", "RESULTS_TOPIC_ARN", "results"),
        ("redrive", "REDRIVE_QUEUE_URL", ""),
        ("redrive", "REDRIVE_QUEUE_URL", "redrive"),
        ("app", "POWERTOOLS_TRACE_DISABLED", "perhaps"),
        ("authorize", "API_TOKENS_MAX_AGE", "1y"),
    ],
)
def test_a_setting_that_is_missing_or_malformed_keeps_a_function_from_starting_and_is_named(
    tmp_path, function, setting, value
):
    told = refusal(tmp_path, function, **{setting: value})
    assert told.startswith(f"{function}: SettingError: {setting}")
    assert "\n" not in told


def test_a_stream_that_keeps_events_for_longer_than_metrics_keep_windows_keeps_ingest_from_starting(tmp_path):
    told = refusal(tmp_path, "ingest", EVENTS_RETENTION="9999d")
    assert told == "ingest: DefinitionError: metric 'orders': its retention is below the stream's own 9999d"
