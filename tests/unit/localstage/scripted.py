"""A client that answers what it is told to, in order, and only to what it is told to be asked."""

from typing import Any

from botocore.exceptions import ClientError


class Scripted:
    """Stands in for `localstage.wire.Wire`."""

    def __init__(self) -> None:
        self._script: list[tuple[str, dict[str, Any] | None, Any]] = []

    def answer(self, operation: str, answer: dict[str, Any], asked: dict[str, Any] | None = None) -> None:
        self._script.append((operation, asked, answer))

    def refuse(self, operation: str, code: str, asked: dict[str, Any] | None = None) -> None:
        self._script.append((operation, asked, ClientError({"Error": {"Code": code}}, operation)))

    def assert_all_was_asked(self) -> None:
        assert self._script == []

    def __getattr__(self, operation: str) -> Any:
        def ask(**request: Any) -> dict[str, Any]:
            expected, asked, answer = self._script.pop(0)
            assert (operation, request) == (expected, request if asked is None else asked)
            if isinstance(answer, ClientError):
                raise answer
            return answer

        return ask
