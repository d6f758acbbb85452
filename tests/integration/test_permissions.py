"""Least privilege: what each function is allowed is what its code does, no less and no more.

A local stage with the real functions is driven through everything that they can do, while botocore writes down each of
their calls; then the calls are held against the policies as a stage is deployed with them.
"""

import json
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
import urllib3

from chalicelib import wiring
from chalicelib.aggregates.partial import Partial, PartialKey
from chalicelib.aggregates.windows import format_instant, window_start
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.consumers.ports import Committed, PartialPut
from chalicelib.consumers.result_message import MESSAGE_BYTES_MAX
from localstage import LocalStage
from localstage.aws import client
from localstage.runtime import Function
from localstage.schedule import scheduled_event
from ops import tokens
from ops.token_ledger import TokenLedger
from tests.builders import MINUTE_MS, json_line, lambda_event, letter, letters_object, order, undeliverable_object
from tests.integration.codedeploy import CodeDeploy
from tests.permissions.needs import needs_of
from tests.permissions.policies import Grant, Policy, grants_of, missing, resolve_policies, several, unused
from tests.permissions.recording import Call, Recording
from tests.waiting import wait_until

STAGE = "permits"
STREAM = f"highwater-{STAGE}-events"
APPLICATION = f"highwater-{STAGE}-resources-ServerlessDeploymentApplication-1"  # as CloudFormation would name it
BUCKET = f"highwater-{STAGE}-dead-letters"
LINEAR = "CodeDeployDefault.LambdaLinear10PercentEvery1Minute"
HOUR_MS = 60 * MINUTE_MS
TOO_LONG = "x" * MESSAGE_BYTES_MAX  # for a message; DynamoDB and Kinesis take it
PATIENCE_SECONDS = 30


class Driven:
    """A stage, and what has its functions do each thing that they can do."""

    def __init__(self, stage: LocalStage) -> None:
        self._stage = stage
        self._kinesis, self._s3, self._dynamodb, self._ssm = (
            client(name, stage.endpoint_url) for name in ("kinesis", "s3", "dynamodb", "ssm")
        )
        ledger = TokenLedger(client("secretsmanager", stage.endpoint_url), f"highwater-{STAGE}-api-tokens")
        self._token = tokens.issue(ledger, "all", ["*"], int(time.time() + 3_600) * 1000)
        self._now_ms = int(time.time()) * 1000
        self._today = format_instant(self._now_ms)[: len("2026-11-24")]

    def count_events(self) -> None:
        """Good, repeated, too late, poison, large enough for the handler, and such that the handler fails."""
        now, too_late = (format_instant(self._now_ms - age_ms) for age_ms in (0, HOUR_MS))
        events = (
            order(1, time=now),
            order(1, time=now),
            order(2, time=too_late),
            order(3, time=now, amount=-1),
            order(4, time=now, amount=9_000),
            order(5, time=now, amount=9_000, order_id=TOO_LONG),
        )
        for event in events:
            self._kinesis.put_record(StreamName=STREAM, PartitionKey="ada", Data=json_line(event))

    def count_what_is_over(self) -> None:
        """Windows that nothing can change any more, which raise an alert; of one no message can tell."""
        name = f"/highwater/{STAGE}/alerts/much_revenue/threshold"
        self._ssm.put_parameter(Name=name, Value="1", Type="String")
        then_ms = window_start(self._now_ms - 3 * HOUR_MS, MINUTE_MS)
        group = {("EUR", TOO_LONG): (1, Decimal(1), Decimal(1), Decimal(1))}
        put = PartialPut(PartialKey("orders", 0, then_ms + MINUTE_MS, "writer"), None, Partial("1", 1, group))
        table = AggregatesTable(self._dynamodb, f"highwater-{STAGE}-aggregates", wiring.CATALOG, MINUTE_MS)
        (outcome,) = table.put_partials([put], 30_000)
        assert isinstance(outcome, Committed)
        batch = lambda_event(
            [json_line(order(6, time=format_instant(then_ms)))], stream=STREAM, arrived_at_ms=then_ms + MINUTE_MS
        )
        assert self._invoke("ingest", batch) == {"batchItemFailures": []}

    def capture_changes(self) -> None:
        """A change of an order, and what is no change."""
        row = {"order_id": {"S": "order-1"}, "status": {"S": "open"}, "amount": {"N": "5"}}
        self._dynamodb.put_item(TableName=f"highwater-{STAGE}-orders", Item=row)
        self._invoke("capture", {"Records": [{"eventID": "no change"}]})

    def settle(self) -> None:
        """A tick, and when it has been counted, the next one."""
        self._tick()
        wait_until(
            lambda: all(shard["behind_ms"] is not None for shard in self.get("/v1/stream")["shards"]), PATIENCE_SECONDS
        )
        self._tick()

    def redrive(self) -> None:
        """Objects whole, in part, by their prefix, and what Lambda gave up; asked for by the API before and amid it."""
        letters = f"dead-letters/{STREAM}/{self._today}/shardId-000000000000/"
        given_up = f"aws/lambda/shardId-000000000000/{self._today}/{self._today}T12.00.00-0"
        for key in (1, 2):
            pair = [letter(json_line(order(10 * key + n)), reason) for n, reason in enumerate(("invalid", "too late"))]
            self._s3.put_object(Bucket=BUCKET, Key=f"{letters}{key}", Body=letters_object(*pair))
        self._s3.put_object(Bucket=BUCKET, Key=given_up, Body=undeliverable_object(json_line(order(30))))
        self._redrive({"key": f"{letters}1"})
        self._redrive({"key": f"{letters}2", "reason": "invalid"})
        self.get("/v1/dead-letters?limit=50")
        self._redrive({"key": f"{letters}2"})
        self._redrive({"prefix": "aws/lambda/"})
        self._redrive({"key": given_up})

    def ask(self) -> None:
        """Every route."""
        metric = "/v1/metrics/orders"
        for path in ("/", "/openapi.json", "/v1/health", "/v1/metrics", metric, f"{metric}/windows", "/v1/stream"):
            self.get(path)

    def check_releases(self, deployment: dict[str, str]) -> None:
        """One that CodeDeploy asks about, and one of each function; that no version is there to answer is no matter."""
        functions = ["api", "authorize", "capture", "fan_out", "ingest", "redrive", "rollup", "tick"]
        by_hand = [
            {"function": f"highwater-{STAGE}-{name}", "current": "1", "target": "2", "release": "AllAtOnce"}
            for name in functions
        ]
        spec = replace(self._stage.plan.api_function, name="check_release", handler="app.check_release")
        function = Function(spec, self._stage.state_dir / "check_release.log")
        with closing(function):
            for event in (deployment, *by_hand):
                told = answer_of(function, event)
                assert not told["succeeded"], "there is no version"

    def get(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        url, patience = self._stage.api_url + path, PATIENCE_SECONDS
        answer = urllib3.request("GET", url, headers=headers, retries=False, timeout=patience)
        assert answer.status == 200, answer.data
        return answer.json() if "json" in answer.headers["Content-Type"] else None

    def _tick(self) -> None:
        assert self._invoke("tick", scheduled_event("tick", datetime.now(UTC)))["failed"] == 0

    def _redrive(self, message: dict[str, str]) -> None:
        batch = {"Records": [{"messageId": "1", "body": json.dumps(message)}]}
        assert self._invoke("redrive", batch) == {"batchItemFailures": []}, message

    def _invoke(self, function: str, event: Any) -> Any:
        return answer_of(self._stage._functions[function], event)


def answer_of(function: Function, event: Any) -> Any:
    answer = function.invoke(orjson.dumps(event))
    assert not answer.function_error, answer.payload
    return orjson.loads(answer.payload)


@pytest.fixture(scope="module")
def policies(endpoint_url: str) -> dict[str, Policy]:
    return resolve_policies(STAGE, endpoint_url)


@pytest.fixture(scope="module")
def calls(policies: dict[str, Policy], tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """Every call that the functions of a stage have made when all that they can do is done."""
    recording = Recording(tmp_path_factory.mktemp("calls"))
    with ExitStack() as running:
        codedeploy = running.enter_context(CodeDeploy(APPLICATION, f"{APPLICATION}/group"))
        settings = {"API_AUTH": "token", "LATENESS": "1m", "AWS_ENDPOINT_URL_CODEDEPLOY": codedeploy.url}
        stage = LocalStage(
            STAGE,
            shards=1,
            aws_port=0,
            api_port=0,
            settings=settings | recording.settings,
            mapping={"rollup": {"batching_window_ms": 1_000}},
            state_dir=tmp_path_factory.mktemp("stage"),
        )
        driven = Driven(running.enter_context(stage))
        driven.count_events()
        driven.count_what_is_over()
        driven.capture_changes()
        driven.settle()
        driven.redrive()
        driven.ask()
        driven.check_releases(codedeploy.begin(f"highwater-{STAGE}-ingest", "1", "2", LINEAR))
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while unused(policies, done := list(recording.calls())) and time.monotonic() < give_up_at:
            time.sleep(0.2)  # the streams' consumers are at work
    return done


def test_every_call_that_a_function_makes_is_allowed(policies: dict[str, Policy], calls: list[Call]) -> None:
    assert {call.function for call in calls} == policies.keys()
    assert missing(policies, calls) == []


def test_nothing_is_allowed_that_no_function_needs(policies: dict[str, Policy], calls: list[Call]) -> None:
    assert unused(policies, calls) == []


def test_a_call_without_its_permission_is_found(policies: dict[str, Policy], calls: list[Call]) -> None:
    for function, grant in (
        (function, grant)
        for function, policy in policies.items()
        for grant in grants_of(policy)
        if not grant.is_of_lambda
    ):
        found = missing({**policies, function: without(policies[function], grant)}, calls)
        assert found, f"{function} without {grant}"
        assert all(each.startswith(f"{function} may not {grant.action} on ") for each in found)


def test_a_permission_that_nobody_needs_is_found(policies: dict[str, Policy], calls: list[Call]) -> None:
    table = f"arn:aws:dynamodb:us-east-1:000000000000:table/highwater-{STAGE}-aggregates"
    for action, resource in (("dynamodb:DeleteItem", table), ("dynamodb:PutItem", f"{table}s")):
        more = {"Sid": "More", "Effect": "Allow", "Action": action, "Resource": resource}
        policy = {"Statement": [*policies["ingest"]["Statement"], more]}
        assert unused({**policies, "ingest": policy}, calls) == [f"ingest has no use for {action} on {resource} (More)"]


def test_alerts_are_all_that_fan_out_may_write(policies: dict[str, Policy], calls: list[Call]) -> None:
    (put, *_) = [
        call for call in calls if (call.function, call.service, call.operation) == ("fan_out", "dynamodb", "PutItem")
    ]
    share = replace(put, parameters={**put.parameters, "Item": {"pk": {"S": "orders#1m#0"}}})
    assert not missing(policies, [put])
    assert missing(policies, [share]) == [f"fan_out may not dynamodb:PutItem on {needs_of(share)[0].resource}"]


def without(policy: Policy, grant: Grant) -> Policy:
    """The policy as it would be without what it grants there."""
    statements = []
    for statement in policy["Statement"]:
        actions, resources = (several(statement[name]) for name in ("Action", "Resource"))
        if statement["Sid"] != grant.sid:
            statements.append(statement)
            continue
        statements += [
            {**statement, "Action": action, "Resource": resource}
            for action in actions
            for resource in resources
            if (action, resource) != (grant.action, grant.resource)
        ]
    return {"Statement": statements}
