"""A Lambda authorizer as API Gateway asks it, and its policy."""

from typing import Any

import orjson
import pytest

from localstage.authorizer import TokenAuthorizer, is_allowed
from localstage.responses import AskedRequest, RefusedError
from localstage.runtime import Answer, FunctionClosedError

API = "arn:aws:execute-api:us-east-1:000000000000:local/test"
ORDERS = f"{API}/GET/v1/metrics/orders"


class Function:
    """Answers as it is told to, and notes what it is asked."""

    def __init__(self, answer: Any = None, error: str | None = None) -> None:
        self.answer, self.error, self.asked = answer, error, []

    def invoke(self, event: bytes) -> Answer:
        self.asked.append(orjson.loads(event))
        told = self.answer if self.error is None else {"errorMessage": self.error, "errorType": "Exception"}
        return Answer(orjson.dumps(told), "1", function_error=self.error is not None)


class Closed:
    def invoke(self, event: bytes) -> Answer:
        raise FunctionClosedError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def policy(*resources: str, effect: str = "Allow") -> dict[str, Any]:
    return {"Statement": [{"Action": "execute-api:Invoke", "Effect": effect, "Resource": list(resources)}]}


def answer_about(*resources: str, **context: Any) -> dict[str, Any]:
    return {"principalId": "ada", "policyDocument": policy(*resources), "context": context}


def ask(authorizer: TokenAuthorizer, token: str | None = "Bearer x", arn: str = ORDERS) -> dict[str, Any]:
    headers = {} if token is None else {"authorization": [token]}
    return authorizer.authorize(AskedRequest("GET", "/", headers, b"", arn))


def refused(function: Any, **asked: Any) -> str:
    with pytest.raises(RefusedError) as refusal:
        ask(TokenAuthorizer(function, "Authorization", 60), **asked)
    return refusal.value.response_type


def test_the_function_is_told_the_token_and_the_method_and_its_context_is_handed_on() -> None:
    function = Function(answer_about(ORDERS, name="ada", number=7, is_so=True))
    told = ask(TokenAuthorizer(function, "Authorization", 60))
    assert told == {"authorizer": {"principalId": "ada", "name": "ada", "number": "7", "is_so": "true"}}
    assert function.asked == [{"type": "TOKEN", "authorizationToken": "Bearer x", "methodArn": ORDERS}]


@pytest.mark.parametrize("token", [None, ""])
def test_without_a_token_the_function_is_not_asked(token: str | None) -> None:
    function = Function(answer_about(ORDERS))
    assert refused(function, token=token) == "UNAUTHORIZED"
    assert function.asked == []


def test_an_answer_is_kept_for_each_token_and_evaluated_for_each_request() -> None:
    function, clock = Function(answer_about(ORDERS)), Clock()
    authorizer = TokenAuthorizer(function, "Authorization", 60, clock)
    ask(authorizer)
    with pytest.raises(RefusedError, match="ACCESS_DENIED"):
        ask(authorizer, arn=f"{ORDERS}/windows")
    assert len(function.asked) == 1
    ask(authorizer, token="Bearer y")
    assert len(function.asked) == 2
    clock.now = 60
    ask(authorizer)
    assert len(function.asked) == 3


def test_without_a_time_nothing_is_kept() -> None:
    function = Function(answer_about(ORDERS))
    authorizer = TokenAuthorizer(function, "Authorization", 0)
    ask(authorizer)
    ask(authorizer)
    assert len(function.asked) == 2


def test_a_failure_is_told_apart_by_its_message_and_not_kept() -> None:
    function = Function(answer_about(ORDERS), error="Unauthorized")
    authorizer = TokenAuthorizer(function, "Authorization", 60)
    with pytest.raises(RefusedError, match="UNAUTHORIZED"):
        ask(authorizer)
    function.error = None
    ask(authorizer)
    assert refused(Function(error="Unauthorized!")) == "AUTHORIZER_FAILURE"
    assert refused(Closed()) == "AUTHORIZER_FAILURE"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "text",
        {},
        {"principalId": "ada"},
        {"policyDocument": policy(ORDERS)},
        {"principalId": "ada", "policyDocument": {"Statement": "text"}},
        answer_about(ORDERS, name=["no", "text"]),
    ],
)
def test_an_answer_of_no_use_lets_nobody_in(answer: Any) -> None:
    assert refused(Function(answer)) == "AUTHORIZER_CONFIGURATION_ERROR"


@pytest.mark.parametrize(
    ("resource", "is_let_in"),
    [
        (ORDERS, True),
        (f"{API}/*/*", True),
        (f"{API}/GET/v1/metrics/*", True),
        (f"{API}/GET/v1/metrics/order?", True),
        (f"{API}/GET/v1/metrics", False),
        (f"{API}/GET/v1/metrics/order", False),
        (f"{API}/POST/v1/metrics/orders", False),
        (f"{API}/GET/v1/metrics/orders/windows", False),
    ],
)
def test_a_policy_allows_what_its_resource_matches(resource: str, is_let_in: bool) -> None:
    assert is_allowed(policy(resource), ORDERS) is is_let_in
    assert is_allowed({"Statement": policy(resource)["Statement"][0]}, ORDERS) is is_let_in


def test_a_denial_wins_and_another_action_says_nothing() -> None:
    allow, deny = policy(f"{API}/*")["Statement"], policy(ORDERS, effect="Deny")["Statement"]
    assert not is_allowed({"Statement": [*allow, *deny]}, ORDERS)
    assert is_allowed({"Statement": [*allow, *deny]}, f"{ORDERS}/windows")
    assert not is_allowed({"Statement": [{**allow[0], "Action": "execute-api:ManageConnections"}]}, ORDERS)
    assert not is_allowed({"Statement": []}, ORDERS)
