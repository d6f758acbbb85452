"""API Gateway's side of a Lambda authorizer of type TOKEN: it asks the function, evaluates its policy, and keeps that.

Source: API Gateway Developer Guide, "Use API Gateway Lambda authorizers" and "Output from an API Gateway Lambda
authorizer".
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
from chalice.local import ARNMatcher

from localstage.responses import AskedRequest, RefusedError
from localstage.runtime import Function, FunctionClosedError

INVOKE = "execute-api:Invoke"
UNAUTHORIZED = "Unauthorized"  # the message by which a function says so


class TokenAuthorizer:
    """Asks the function about each token that it does not know an answer to."""

    def __init__(
        self, function: Function, header: str, ttl_seconds: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._function = function
        self._header = header.lower()
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._kept: dict[str, tuple[float, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def authorize(self, asked: AskedRequest) -> dict[str, Any]:
        """Let a request in: what `requestContext` of it tells of the caller.

        Raises: RefusedError: UNAUTHORIZED without a token, or when the function says so; AUTHORIZER_FAILURE when it
                fails otherwise; AUTHORIZER_CONFIGURATION_ERROR when its answer is of no use; ACCESS_DENIED when the
                policy does not allow the method.
        """
        token = (asked.headers.get(self._header) or [""])[-1]
        if not token:
            raise RefusedError("UNAUTHORIZED")
        answer = self._answer_about(token, asked.method_arn)
        try:
            allowed = is_allowed(answer["policyDocument"], asked.method_arn)
            context = {**(answer.get("context") or {}), "principalId": answer["principalId"]}
        except (AttributeError, KeyError, TypeError):
            raise RefusedError("AUTHORIZER_CONFIGURATION_ERROR") from None
        if any(not isinstance(value, str | int | float) for value in context.values()):
            raise RefusedError("AUTHORIZER_CONFIGURATION_ERROR")
        if not allowed:
            raise RefusedError("ACCESS_DENIED")
        return {"authorizer": {name: _text(value) for name, value in context.items()}}

    def _answer_about(self, token: str, method_arn: str) -> Any:
        """The function's answer, or the one that it gave about this token before; failures are not kept."""
        now = self._clock()
        with self._lock:
            self._kept = {each: kept for each, kept in self._kept.items() if kept[0] > now}
            if token in self._kept:
                return self._kept[token][1]
        asked = {"type": "TOKEN", "authorizationToken": token, "methodArn": method_arn}
        try:
            answer = self._function.invoke(orjson.dumps(asked))
        except FunctionClosedError:
            raise RefusedError("AUTHORIZER_FAILURE") from None
        told = orjson.loads(answer.payload)
        if answer.function_error:
            said_so = isinstance(told, dict) and told.get("errorMessage") == UNAUTHORIZED
            raise RefusedError("UNAUTHORIZED" if said_so else "AUTHORIZER_FAILURE")
        if self._ttl_seconds:
            with self._lock:
                self._kept[token] = (now + self._ttl_seconds, told)
        return told


def is_allowed(policy: Mapping[str, Any], method_arn: str) -> bool:
    """Evaluate a policy: one that denies the method wins over one that allows it, and silence denies.

    Raises: AttributeError, KeyError, TypeError for what is no policy.
    """
    matcher = ARNMatcher(method_arn)
    effects = {
        statement["Effect"]
        for statement in _listed(policy["Statement"])
        if any(action in (INVOKE, "execute-api:*", "*") for action in _listed(statement["Action"]))
        and matcher.does_any_resource_match(list(_listed(statement["Resource"])))
    }
    return "Deny" not in effects and "Allow" in effects


def _text(value: Any) -> str:
    """A value of the context as the function is given it."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _listed(value: Any) -> Iterator[Any]:
    """The members of what may be one or a list of several."""
    yield from value if isinstance(value, list) else [value]
