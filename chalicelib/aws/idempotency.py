"""One effect, at most once to success: Powertools Idempotency, used as it is safe from several threads.

Only this file imports it, and whoever imports this file does so late: it costs some milliseconds of a cold start.

    id = effect#sha256 of (handler, source, event id)     status, expiration, in_progress_expiration, data

An effect under way holds a record `INPROGRESS`; its success makes that `COMPLETED`; its failure deletes it. A process
that dies leaves the record in progress until its invocation would have ended, and the effect may then run again.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyInconsistentStateError,
    IdempotencyPersistenceLayerError,
)
from aws_lambda_powertools.utilities.idempotency.persistence.datarecord import STATUS_CONSTANTS, DataRecord

from chalicelib.aws.failures import name_of, transient_errors
from chalicelib.consumers.ports import Done, EffectOutcome, Failed, Refused
from chalicelib.effects import Effect, Results, explain_refusal
from chalicelib.errors import TransientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEY_PREFIX = "effect"  # without one the key would hold the Lambda function's name, and change with it
NOT_SUCCEEDED = "#status = :in_progress"  # lets through: forgetting what failed; refuses to forget a success


class OnceToSuccess:
    """Runs effects, from any thread.

    Why one persistence layer, configured here: Powertools configures a layer at its first call, and a second thread
    would find it half configured, with another hash and another expiry. It sets the layer's prefix at every call, so
    the prefix is one for all handlers and the handler's name is part of what is hashed.
    """

    def __init__(self, client: "DynamoDBClient", table: str, results: Results, remember_ms: int) -> None:
        self._results = results
        self._config = IdempotencyConfig(expires_after_seconds=-(-remember_ms // 1000), hash_function="sha256")
        layer = _SuccessStands(table, boto3_client=client)
        layer.configure(self._config, key_prefix=KEY_PREFIX)
        self._act_once = idempotent_function(
            self._act,
            data_keyword_argument="identity",
            persistence_store=layer,
            config=self._config,
            key_prefix=KEY_PREFIX,
        )

    def register_lambda_context(self, context: Any) -> None:
        """Take the context that tells what is left of the invocation's time."""
        self._config.register_lambda_context(context)

    def run(self, effect: Effect) -> EffectOutcome:
        """Carry out one effect, unless it has succeeded before or is under way elsewhere."""
        try:
            self._act_once(effect, identity=list(effect.identity))
        except (IdempotencyAlreadyInProgressError, IdempotencyInconsistentStateError):
            return Failed("already in progress")
        except IdempotencyPersistenceLayerError as error:
            cause = error.__cause__
            return Failed(name_of(cause if isinstance(cause, Exception) else error))
        except TransientError as error:
            return Failed(str(error))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  whatever else a handler raises, it will raise again
            return Refused(explain_refusal(error))
        return Done()

    def _act(self, effect: Effect, *, identity: list[str]) -> None:  # noqa: ARG002  Powertools hashes the identity
        with transient_errors():
            effect.handler.act(effect.event, self._results)


class _SuccessStands(DynamoDBPersistenceLayer):
    """Powertools' layer, except that a failure never deletes the record of a success.

    Why: a process that was frozen amid an effect, and thawed after another had taken the effect over and succeeded,
    may well fail with it; without the condition it would then run a third time.
    """

    def _delete_record(self, data_record: DataRecord) -> None:
        with suppress(self.client.exceptions.ConditionalCheckFailedException):
            self.client.delete_item(
                TableName=self.table_name,
                Key=self._get_key(data_record.idempotency_key),
                ConditionExpression=NOT_SUCCEEDED,
                ExpressionAttributeNames={"#status": self.status_attr},
                ExpressionAttributeValues={":in_progress": {"S": STATUS_CONSTANTS["INPROGRESS"]}},
            )
