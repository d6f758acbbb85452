"""The aggregates table. Only this file knows the attributes of its items; `aws.aggregates_keys` knows their keys.

a partial    checkpoint, version, definition, groups, expires_at
a rollup     revision, definition, groups (compressed; none when too large for an item), expires_at
progress     sequence_number, checkpoint, arrived_at_ms
settled      from_ms, until_ms, complete_until_ms
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial as bind
from threading import Lock
from typing import TYPE_CHECKING, Any

from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.partial import Groups, Partial, PartialKey, decode_partial, decompress_groups, encode_partial
from chalicelib.aggregates.rollup import Rollup, WindowKey
from chalicelib.aws.aggregates_keys import (
    PROGRESS,
    SETTLED,
    share_partition_key,
    share_sort_key,
    window_sort_key,
    window_start_of,
)
from chalicelib.aws.capacity import write_units_of
from chalicelib.aws.concurrent import call_all, call_in_time, outcome_of, result_in_time
from chalicelib.aws.failures import transient_errors
from chalicelib.consumers.ports import (
    Committed,
    Conflict,
    Overtaken,
    PartialPut,
    PutOutcome,
    RollupOutcome,
    RollupPut,
)
from chalicelib.errors import DefinitionChangedError, TransientError
from chalicelib.reading.ports import ReadCost, ReadPlan, Settled, ShardProgress, StoredShare, Take
from chalicelib.records.batch import Record

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

ITEMS_A_REQUEST = 100  # BatchGetItem's own limit

NOTHING_STANDS = "attribute_not_exists(pk)"  # lets through: the first put of a partial
BUILT_ON_THIS_CHECKPOINT = "checkpoint = :base"  # lets through: nobody has put since the base was read
BUILT_ON_THIS_REVISION = "revision = :base"  # the same, of a rollup
NOT_AHEAD = "attribute_not_exists(pk) OR checkpoint < :new"  # lets through: progress forward; refuses a late repeat
BUILT_ON_THIS_POSITION = "until_ms = :until AND complete_until_ms = :complete_until"  # as above, of what is settled


class AggregatesTable:
    """The aggregates table on DynamoDB: every store and reader of partials, rollups, progress and what is settled."""

    def __init__(self, client: "DynamoDBClient", name: str, catalog: Catalog, stage_lateness_ms: int) -> None:
        self._client = client
        self._name = name
        self._catalog = catalog
        self._stage_lateness_ms = stage_lateness_ms

    def put_partials(self, puts: Sequence[PartialPut], timeout_ms: int) -> list[PutOutcome]:
        """Carry out the puts at once; one that has not answered in time has failed."""
        return [outcome_of(call) for call in call_all(self._put_partial, puts, timeout_ms)]

    def _put_partial(self, put: PartialPut) -> PutOutcome:
        metric = self._catalog.metrics[put.key.metric]
        base = None if put.built_on is None else {"S": put.built_on}
        standing = self._put_share(self._item_of(put.key, put.partial), BUILT_ON_THIS_CHECKPOINT, base)
        if isinstance(standing, Committed):
            return standing
        return Conflict(self._partial_of(metric, standing) if standing else None)

    def read_rollups(self, keys: Collection[WindowKey], timeout_ms: int) -> dict[WindowKey, Rollup]:
        """Read these rollups, consistently; one that is not stored is not among them.

        Raises: TransientError when not all could be read in time; DefinitionChangedError.
        """
        ordered = list(keys)
        starts = range(0, len(ordered), ITEMS_A_REQUEST)
        calls = call_all(self._read_rollups, [ordered[at : at + ITEMS_A_REQUEST] for at in starts], timeout_ms)
        with transient_errors():
            return {key: rollup for call in calls for key, rollup in result_in_time(call).items()}

    def _read_rollups(self, keys: Sequence[WindowKey]) -> dict[WindowKey, Rollup]:
        texts = [self._rollup_key(key) for key in keys]
        requests: Any = {self._name: {"Keys": texts, "ConsistentRead": True}}
        items: dict[tuple[str, str], Mapping[str, Any]] = {}
        while requests:  # an answer holds 16 MB at most, and the keys that are left
            answer = self._client.batch_get_item(RequestItems=requests)
            items |= {(item["pk"]["S"], item["sk"]["S"]): item for item in answer["Responses"].get(self._name, ())}
            requests = answer.get("UnprocessedKeys")
            if requests and not answer["Responses"].get(self._name):
                raise TransientError("UnprocessedKeys")
        found = {}
        for key, text in zip(keys, texts, strict=True):
            if item := items.get((text["pk"]["S"], text["sk"]["S"])):
                _check_definition(self._catalog.metrics[key.metric], item)
                found[key] = Rollup(int(item["revision"]["N"]), item["groups"]["B"] if "groups" in item else None)
        return found

    def put_rollups(self, puts: Sequence[RollupPut], timeout_ms: int) -> list[RollupOutcome]:
        """Carry out the puts at once; one that has not answered in time has failed."""
        return [outcome_of(call) for call in call_all(self._put_rollup, puts, timeout_ms)]

    def _put_rollup(self, put: RollupPut) -> RollupOutcome:
        base = None if put.built_on is None else {"N": str(put.built_on)}
        standing = self._put_share(self._rollup_item(put.key, put.rollup), BUILT_ON_THIS_REVISION, base)
        return standing if isinstance(standing, Committed) else Overtaken()

    def _put_share(
        self, item: dict[str, Any], built_on: str, base: dict[str, str] | None
    ) -> Committed | Mapping[str, Any] | None:
        """Put an item if what stands there is what it was built on. Returns: what stands there instead, if not."""
        condition: dict[str, Any] = {"ConditionExpression": NOTHING_STANDS}
        if base is not None:
            condition = {"ConditionExpression": built_on, "ExpressionAttributeValues": {":base": base}}
        try:
            answer = self._client.put_item(
                TableName=self._name,
                Item=item,
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
                ReturnConsumedCapacity="TOTAL",
                **condition,
            )
        except self._client.exceptions.ConditionalCheckFailedException as refused:
            standing: Mapping[str, Any] | None = refused.response.get("Item")
            return standing
        return Committed(write_units_of(answer))

    def read_shares(self, plans: Sequence[ReadPlan], take: Take, timeout_ms: int) -> ReadCost:
        """Hand over every item of the planned windows, with its plan, as it is read; all partitions at once.

        Shapes: take is called in any order of items, one call at a time; what it raises ends the read.
        Raises: TransientError when a read failed or was not done in time; take is not called any more then.
                DefinitionChangedError.
        """
        taking = _Taking(take)
        partitions = [(plan, partition) for plan in plans for partition in plan.partitions]
        try:
            calls = call_all(bind(self._read_partition, taking), partitions, timeout_ms)
            with transient_errors():
                costs = [result_in_time(call) for call in calls]
        finally:
            taking.stop()
        return ReadCost(sum(cost.items_read for cost in costs), sum(cost.read_units for cost in costs))

    def _read_partition(self, taking: "_Taking", planned: tuple[ReadPlan, int]) -> ReadCost:
        plan, partition = planned
        items_read, read_units = 0, 0.0
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            # Every key goes on behind its window's start, so those of the window at `end` are above the bound.
            KeyConditionExpression="pk = :pk AND sk BETWEEN :start AND :end",
            ProjectionExpression="sk, version, revision, #definition, #groups",
            ExpressionAttributeNames={"#definition": "definition", "#groups": "groups"},  # the first is reserved
            ExpressionAttributeValues={
                ":pk": {"S": share_partition_key(plan.metric, plan.step_ms, partition)},
                ":start": {"S": window_sort_key(plan.start_ms)},
                ":end": {"S": window_sort_key(plan.end_ms)},
            },
            ConsistentRead=True,  # an answer holds all that was committed before it; a stale read might not
            ReturnConsumedCapacity="TOTAL",
        )
        for page in pages:
            items_read += len(page["Items"])
            read_units += page.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
            if not taking.take_all(plan, (self._share_of(plan, partition, item) for item in page["Items"])):
                break
        return ReadCost(items_read, read_units)

    def _share_of(self, plan: ReadPlan, partition: int, item: Mapping[str, Any]) -> StoredShare:
        metric, is_rollup = plan.metric, plan.metric.is_rollup(plan.step_ms)
        revision = int(item["revision" if is_rollup else "version"]["N"])
        groups = self._rollup_groups_of(metric, item) if is_rollup else self._groups_of(metric, item)
        return StoredShare(partition, window_start_of(item["sk"]["S"]), revision, groups)

    def first_window(self, metric: Metric, timeout_ms: int) -> int | None:
        """The start of the oldest base window that is stored of a metric, epoch milliseconds; None when there is none.

        Raises: TransientError when it could not be read in time.
        """
        calls = call_all(bind(self._first_window_of, metric), metric.all_partitions, timeout_ms)
        with transient_errors():
            found = [result_in_time(call) for call in calls]
        return min((start_ms for start_ms in found if start_ms is not None), default=None)

    def _first_window_of(self, metric: Metric, partition: int) -> int | None:
        answer = self._client.query(
            TableName=self._name,
            KeyConditionExpression="pk = :pk",
            ProjectionExpression="sk",
            ExpressionAttributeValues={":pk": {"S": share_partition_key(metric, metric.window_ms, partition)}},
            ConsistentRead=True,
            Limit=1,
        )
        return next((window_start_of(item["sk"]["S"]) for item in answer["Items"]), None)

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

    def advance_settled(
        self, purpose: str, subject: str, built_on: Settled | None, settled: Settled, timeout_ms: int
    ) -> bool:
        """Note how far the subject's windows are settled, if what stands is what it was built on (None: nothing).

        Returns: whether it was.
        Raises: TransientError when it is not known to be stored, in time.
        """
        item = {
            "pk": {"S": f"{SETTLED}#{purpose}"},
            "sk": {"S": subject},
            "from_ms": {"N": str(settled.from_ms)},
            "until_ms": {"N": str(settled.until_ms)},
            "complete_until_ms": {"N": str(settled.complete_until_ms)},
        }
        condition: dict[str, Any] = {"ConditionExpression": NOTHING_STANDS}
        if built_on is not None:
            values = {":until": built_on.until_ms, ":complete_until": built_on.complete_until_ms}
            condition = {
                "ConditionExpression": BUILT_ON_THIS_POSITION,
                "ExpressionAttributeValues": {name: {"N": str(value)} for name, value in values.items()},
            }
        put = bind(self._client.put_item, TableName=self._name, Item=item, **condition)
        try:
            with transient_errors():
                call_in_time(put, timeout_ms)
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def read_settled(self, purpose: str, timeout_ms: int) -> dict[str, Settled]:
        """Read, by subject, how far its windows are settled for this purpose; one that never was is not in it.

        Raises: TransientError when the read failed, or was not done in time.
        """
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"{SETTLED}#{purpose}"}},
            ConsistentRead=True,
        )
        with transient_errors():
            items = call_in_time(lambda: [item for page in pages for item in page["Items"]], timeout_ms)
        return {
            item["sk"]["S"]: Settled(*(int(item[name]["N"]) for name in ("from_ms", "until_ms", "complete_until_ms")))
            for item in items
        }

    def _progress_key(self, stream: str) -> str:
        # Of these metrics: one that is added has counted nothing yet, so with it progress begins anew.
        return f"{PROGRESS}#{stream}#{self._catalog.fingerprint}"

    def _item_of(self, key: PartialKey, partial: Partial) -> dict[str, Any]:
        metric = self._catalog.metrics[key.metric]
        return {
            "pk": {"S": share_partition_key(metric, metric.window_ms, key.partition)},
            "sk": {"S": share_sort_key(key.window_start_ms, key.writer)},
            "checkpoint": {"S": partial.checkpoint},
            "version": {"N": str(partial.version)},
            "definition": {"S": metric.fingerprint},
            "groups": {"B": encode_partial(metric, partial.groups)},
            "expires_at": self._expires_at(metric, key.window_start_ms + metric.window_ms),
        }

    def _rollup_key(self, key: WindowKey) -> dict[str, Any]:
        metric = self._catalog.metrics[key.metric]
        return {
            "pk": {"S": share_partition_key(metric, key.step_ms, key.bucket)},
            "sk": {"S": share_sort_key(key.window_start_ms)},
        }

    def _rollup_item(self, key: WindowKey, rollup: Rollup) -> dict[str, Any]:
        metric = self._catalog.metrics[key.metric]
        return {
            **self._rollup_key(key),
            "revision": {"N": str(rollup.revision)},
            "definition": {"S": metric.fingerprint},
            **({} if rollup.packed is None else {"groups": {"B": rollup.packed}}),
            "expires_at": self._expires_at(metric, key.window_end_ms),
        }

    def _expires_at(self, metric: Metric, window_end_ms: int) -> dict[str, str]:
        return {"N": str(self._catalog.kept_until_ms(metric, window_end_ms, self._stage_lateness_ms) // 1000)}

    def _partial_of(self, metric: Metric, item: Mapping[str, Any]) -> Partial:
        return Partial(item["checkpoint"]["S"], int(item["version"]["N"]), self._groups_of(metric, item))

    def _groups_of(self, metric: Metric, item: Mapping[str, Any]) -> Groups:
        _check_definition(metric, item)
        return decode_partial(metric, item["groups"]["B"])

    def _rollup_groups_of(self, metric: Metric, item: Mapping[str, Any]) -> Groups | None:
        _check_definition(metric, item)
        return decompress_groups(metric, item["groups"]["B"]) if "groups" in item else None


def _check_definition(metric: Metric, item: Mapping[str, Any]) -> None:
    if item["definition"]["S"] != metric.fingerprint:
        raise DefinitionChangedError(f"metric {metric.name!r} is stored under another definition; rename it")


class _Taking:
    """Hands shares over, page by page, from several threads to a callable that sees one at a time."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._lock = Lock()
        self._is_over = False

    def take_all(self, plan: ReadPlan, shares: Iterable[StoredShare]) -> bool:
        """Hand these over; False when no more are wanted. An error ends it for every thread."""
        with self._lock:
            try:
                for share in shares:
                    if self._is_over:
                        break
                    self._take(plan, share)
            except Exception:
                self._is_over = True
                raise
            return not self._is_over

    def stop(self) -> None:
        """Hand nothing over any more; the share that is being handed over is waited for."""
        self._is_over = True
        with self._lock:
            pass
