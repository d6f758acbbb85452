"""The effects of a batch, run at once, each at most once to success for its event.

Most batches have none. So what only effects need (Powertools Idempotency, an SNS client) is imported and made when the
first one comes; and in the calling thread, for neither an import nor a boto3 session is at its best in several.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import cached_property
from typing import TYPE_CHECKING, Any

from chalicelib.aws.concurrent import call_all, result_in_time
from chalicelib.consumers.ports import EffectOutcome, Failed
from chalicelib.effects import Effect, Results
from chalicelib.errors import InvariantError, TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from chalicelib.aws.idempotency import OnceToSuccess


class IdempotentEffects:
    """The EffectRunner of ingest, on the idempotency table.

    Shapes: results makes what handlers publish to, when first needed.
    Units:  remember_ms is how long a success is remembered.
    """

    def __init__(self, client: "DynamoDBClient", table: str, results: Callable[[], Results], remember_ms: int) -> None:
        self._client = client
        self._table = table
        self._results = results
        self._remember_ms = remember_ms
        self._lambda_context: Any = None

    def register_lambda_context(self, context: Any) -> None:
        """Take the context of the invocation that begins: what it leaves in progress expires when its time is over."""
        self._lambda_context = context

    def run_all(self, effects: Sequence[Effect], timeout_ms: int) -> list[EffectOutcome]:
        """Carry out the effects at once; one that is not done in time has failed, and may go on regardless.

        Raises: InvariantError when no Lambda context is registered: what a killed invocation leaves in progress would
                then stay so.
        """
        if not effects:
            return []
        if self._lambda_context is None:
            raise InvariantError("effects are run before a Lambda context is registered")
        once = self._once
        once.register_lambda_context(self._lambda_context)
        # On threads of their own: a handler that hangs must not keep anything from being counted.
        return [_outcome_of(call) for call in call_all(once.run, effects, timeout_ms, threads="effects")]

    @cached_property
    def _once(self) -> "OnceToSuccess":
        from chalicelib.aws.idempotency import OnceToSuccess  # noqa: PLC0415  the module says why

        return OnceToSuccess(self._client, self._table, self._results(), self._remember_ms)


def _outcome_of(call: Future[EffectOutcome]) -> EffectOutcome:
    try:
        return result_in_time(call)
    except TransientError as error:
        return Failed(str(error))
