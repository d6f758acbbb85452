"""The aggregates table. Only this file knows its key schema and attributes.

    pk = metric#step#bucket      sk = window_start#writer     checkpoint, version, definition, groups, expires_at
    pk = progress#stream#metrics sk = shard                   sequence_number, checkpoint, arrived_at_ms

A window's start is RFC 3339 text, so that a range of windows is a range of sort keys.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial as bind
from threading import Lock
from typing import TYPE_CHECKING, Any

from chalicelib.aggregates.metric import Catalog, GroupKey, Metric
from chalicelib.aggregates.partial import Partial, PartialKey, States, decode_groups, encode_groups
from chalicelib.aggregates.windows import format_duration, format_instant, parse_instant
from chalicelib.aws.capacity import write_units_of
from chalicelib.aws.concurrent import call_all, call_in_time, result_in_time
from chalicelib.aws.failures import CALL_FAILURES, name_of, transient_errors
from chalicelib.consumers.ports import Committed, Conflict, Failed, PartialPut, PutOutcome
from chalicelib.errors import DefinitionChangedError
from chalicelib.query.ports import ReadCost, ReadPlan, ShardProgress, StoredShare
from chalicelib.records.batch import Record

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NOTHING_STANDS = "attribute_not_exists(pk)"  # lets through: the first put of a partial
BUILT_ON_THIS_CHECKPOINT = "checkpoint = :base"  # lets through: nobody has put since the base was read
NOT_AHEAD = "attribute_not_exists(pk) OR checkpoint < :new"  # lets through: progress forward; refuses a late repeat


class AggregatesTable:
    """The aggregates table on DynamoDB: the PartialStore and the ProgressStore of ingest, and the queries' reads."""

    def __init__(self, client: "DynamoDBClient", name: str, catalog: Catalog, stage_lateness_ms: int) -> None:
        self._client = client
        self._name = name
        self._catalog = catalog
        self._lateness_ms = {
            metric.name: catalog.lateness_ms(metric.event_type, stage_lateness_ms)
            for metric in catalog.metrics.values()
        }

    def put_partials(self, puts: Sequence[PartialPut], timeout_ms: int) -> list[PutOutcome]:
        """Carry out the puts at once; one that has not answered in time has failed."""
        return [_outcome_of(call) for call in call_all(self._put_partial, puts, timeout_ms)]

    def _put_partial(self, put: PartialPut) -> PutOutcome:
        condition: dict[str, Any] = {"ConditionExpression": NOTHING_STANDS}
        if put.built_on is not None:
            condition = {
                "ConditionExpression": BUILT_ON_THIS_CHECKPOINT,
                "ExpressionAttributeValues": {":base": {"S": put.built_on}},
            }
        try:
            answer = self._client.put_item(
                TableName=self._name,
                Item=self._item_of(put.key, put.partial),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                ReturnConsumedCapacity="TOTAL",
                **condition,
            )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            standing: Any = refused.response.get("Item")
            return Conflict(self._partial_of(self._catalog.metrics[put.key.metric], standing) if standing else None)
        return Committed(write_units_of(answer))

    def read_shares(self, plan: ReadPlan, take: Callable[[StoredShare], None], timeout_ms: int) -> ReadCost:
        """Hand over every writer's share of the planned windows, as it is read, the partitions at once.

        Shapes: take is called in any order of shares, one call at a time; what it raises ends the read.
        Raises: TransientError when a read failed or was not done in time; take is not called any more then.
        """
        taking = _Taking(take)
        read = bind(self._read_partition, plan, taking)
        try:
            calls = call_all(read, plan.partitions, timeout_ms)
            with transient_errors():
                costs = [result_in_time(call) for call in calls]
        finally:
            taking.stop()
        return ReadCost(sum(cost.items_read for cost in costs), sum(cost.read_units for cost in costs))

    def _read_partition(self, plan: ReadPlan, taking: "_Taking", partition: int) -> ReadCost:
        items_read, read_units = 0, 0.0
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            # A sort key goes on behind its window's start, so every key of the window at `end` is above the bound.
            KeyConditionExpression="pk = :pk AND sk BETWEEN :start AND :end",
            ProjectionExpression="sk, #definition, #groups",
            ExpressionAttributeNames={"#definition": "definition", "#groups": "groups"},  # the first is reserved
            ExpressionAttributeValues={
                ":pk": {"S": _partition_key(plan.metric, partition)},
                ":start": {"S": format_instant(plan.start_ms)},
                ":end": {"S": format_instant(plan.end_ms)},
            },
            ConsistentRead=True,  # an answer holds all that was committed before it; a stale read might not
            ReturnConsumedCapacity="TOTAL",
        )
        for page in pages:
            items_read += len(page["Items"])
            read_units += page.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
            if not taking.take_all(self._share_of(plan.metric, item) for item in page["Items"]):
                break
        return ReadCost(items_read, read_units)

    def _share_of(self, metric: Metric, item: Mapping[str, Any]) -> StoredShare:
        window_start_ms = parse_instant(item["sk"]["S"].partition("#")[0])
        return StoredShare(window_start_ms, self._groups_of(metric, item))

    def advance(self, stream: str, shard_id: str, last: Record, timeout_ms: int) -> float:
        """Note that everything up to this record is committed; a repeat of the past changes nothing.

        Returns: the write units that it took.
        Raises: TransientError when it could not be stored, or was not in time.
        """
        item = {
            "pk": {"S": self._progress_key(stream)},
            "sk": {"S": shard_id},
            "sequence_number": {"S": last.sequence_number},
            "checkpoint": {"S": last.position},
            "arrived_at_ms": {"N": str(last.arrived_at_ms)},
        }
        put = bind(
            self._client.put_item,
            TableName=self._name,
            Item=item,
            ConditionExpression=NOT_AHEAD,
            ExpressionAttributeValues={":new": item["checkpoint"]},
            ReturnConsumedCapacity="TOTAL",
        )
        try:
            with transient_errors():
                return write_units_of(call_in_time(put, timeout_ms))
        except self._client.exceptions.ConditionalCheckFailedException:
            return 0.0

    def read_progress(self, stream: str, timeout_ms: int) -> list[ShardProgress]:
        """Read how far each shard of the stream has been committed; one that never was is not in it.

        Raises: TransientError when the read failed, or was not done in time.
        """
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": self._progress_key(stream)}},
            ConsistentRead=True,
        )
        with transient_errors():
            items = call_in_time(lambda: [item for page in pages for item in page["Items"]], timeout_ms)
        return [
            ShardProgress(item["sk"]["S"], item["sequence_number"]["S"], int(item["arrived_at_ms"]["N"]))
            for item in items
        ]

    def _progress_key(self, stream: str) -> str:
        # Of these metrics: one that is added has counted nothing yet, so with it progress begins anew.
        return f"progress#{stream}#{self._catalog.fingerprint}"

    def _item_of(self, key: PartialKey, partial: Partial) -> dict[str, Any]:
        metric = self._catalog.metrics[key.metric]
        # A window can change until its lateness is over, and is kept for its retention from then on.
        expires_at_ms = key.window_start_ms + metric.window_ms + self._lateness_ms[metric.name] + metric.retention_ms
        return {
            "pk": {"S": _partition_key(metric, key.partition)},
            "sk": {"S": f"{format_instant(key.window_start_ms)}#{key.writer}"},
            "checkpoint": {"S": partial.checkpoint},
            "version": {"N": str(partial.version)},
            "definition": {"S": metric.fingerprint},
            "groups": {"B": encode_groups(partial.groups)},
            "expires_at": {"N": str(expires_at_ms // 1000)},
        }

    def _partial_of(self, metric: Metric, item: Mapping[str, Any]) -> Partial:
        return Partial(item["checkpoint"]["S"], int(item["version"]["N"]), self._groups_of(metric, item))

    def _groups_of(self, metric: Metric, item: Mapping[str, Any]) -> dict[GroupKey, States]:
        if item["definition"]["S"] != metric.fingerprint:
            raise DefinitionChangedError(f"metric {metric.name!r} is stored under another definition; rename it")
        return decode_groups(metric, item["groups"]["B"])


def _outcome_of(call: "Future[PutOutcome]") -> PutOutcome:
    try:
        return result_in_time(call)
    except CALL_FAILURES as error:
        return Failed(name_of(error))


class _Taking:
    """Hands shares over, page by page, from several threads to a callable that sees one at a time."""

    def __init__(self, take: Callable[[StoredShare], None]) -> None:
        self._take = take
        self._lock = Lock()
        self._is_over = False

    def take_all(self, shares: Iterable[StoredShare]) -> bool:
        """Hand these over; False when no more are wanted. An error ends it for every thread."""
        with self._lock:
            try:
                for share in shares:
                    if self._is_over:
                        break
                    self._take(share)
            except Exception:
                self._is_over = True
                raise
            return not self._is_over

    def stop(self) -> None:
        """Hand nothing over any more; the share that is being handed over is waited for."""
        self._is_over = True
        with self._lock:
            pass


def _partition_key(metric: Metric, partition: int) -> str:
    return f"{metric.name}#{format_duration(metric.window_ms)}#{partition}"
