"""The table of the id log. Only this file knows its key schema and attributes.

    pk = stream/shard     sk = position of the last record covered[#part]     first, run, expires_at

A record with more ids than fit in one item has several, which differ in `part`. Items stay for as long as the stream
keeps its records and the horizon on top: a replay of the whole stream must find what the first reading found.
"""

from collections.abc import Iterable, Iterator
from functools import partial as bind
from itertools import groupby
from typing import TYPE_CHECKING, Any

from chalicelib.aws.capacity import write_units_of
from chalicelib.aws.concurrent import call_in_time
from chalicelib.aws.failures import transient_errors
from chalicelib.consumers.ports import RunsRead
from chalicelib.errors import CorruptIdLogError
from chalicelib.identity.run import IdRun, decode_run, encode_run, join_runs, look_back, split_run

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

IDS_AN_ITEM = 10_000  # 120 KB, and at most some 300 KB of what is known of their records
ITEMS_A_PAGE = 4  # of those beyond what is known, nearly always none
AFTER_PARTS = "~"  # sorts behind a position and its parts, and ahead of the next position
NOT_NARROWER = "attribute_not_exists(pk) OR #first > :first"  # lets through: what begins before that which stands there


class IdsTable:
    """The IdLog of ingest, on DynamoDB."""

    def __init__(self, client: "DynamoDBClient", name: str, kept_ms: int) -> None:
        self._client = client
        self._name = name
        self._kept_ms = kept_ms

    def read_back(self, writer: str, *, before: str | None, since_ms: int, ids_max: int, timeout_ms: int) -> RunsRead:
        """Read the runs ahead of a position, the latest first, until they are too long ago to matter.

        Raises: TransientError when they were not read in time; CorruptIdLogError.
        """
        with transient_errors():
            return call_in_time(bind(self._read_back, writer, before, since_ms, ids_max), timeout_ms)

    def _read_back(self, writer: str, before: str | None, since_ms: int, ids_max: int) -> RunsRead:
        items = self._query(writer, "sk < :bound", before or AFTER_PARTS, ScanIndexForward=False)
        runs, read_since_ms = look_back(_runs_of(items, is_backwards=True), since_ms, ids_max)
        following = self._query(writer, "sk >= :bound", before, Limit=1) if before else ()
        spanning = next((_spanning(item, before) for item in following if before), None)
        return RunsRead(runs, spanning, read_since_ms)

    def read_on(self, writer: str, *, after: str, before: str, timeout_ms: int) -> RunsRead:
        """Read the runs beyond a position, the earliest first, up to the first that ends in the batch or behind it.

        Raises: TransientError when they were not read in time; CorruptIdLogError.
        """
        with transient_errors():
            return call_in_time(bind(self._read_on, writer, after, before), timeout_ms)

    def _read_on(self, writer: str, after: str, before: str) -> RunsRead:
        items: list[Any] = []
        for item in self._query(writer, "sk > :bound", after + AFTER_PARTS, Limit=ITEMS_A_PAGE):
            if _position(item) >= before:
                return RunsRead(list(_runs_of(items)), _spanning(item, before))
            items.append(item)
        return RunsRead(list(_runs_of(items)))

    def _query(self, writer: str, condition: str, bound: str, **options: Any) -> Iterator[Any]:
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            KeyConditionExpression=f"pk = :pk AND {condition}",
            ExpressionAttributeValues={":pk": {"S": writer}, ":bound": {"S": bound}},
            ConsistentRead=True,
            **options,
        )
        return (item for page in pages for item in page["Items"])

    def put_run(self, writer: str, run: IdRun, timeout_ms: int) -> float:
        """Store a run, in as many items as it takes, each when those ahead of it are stored.

        Returns: the write units that it took.
        Raises: TransientError when not all of it is known to be stored.
        Why one after the other: of a later item alone, whoever begins in the midst of an older one would conclude that
                nothing was counted ahead of it; docs/decisions/0003-id-log.md.
        """
        with transient_errors():
            return call_in_time(lambda: sum(map(self._put, self._items_of(writer, run))), timeout_ms)

    def _put(self, item: Any) -> float:
        try:
            answer = self._client.put_item(
                TableName=self._name,
                Item=item,
                ConditionExpression=NOT_NARROWER,
                ExpressionAttributeNames={"#first": "first"},
                ExpressionAttributeValues={":first": item["first"]},
                ReturnConsumedCapacity="TOTAL",
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return 0.0  # what stands there holds the same ids, and perhaps more
        return write_units_of(answer)

    def _items_of(self, writer: str, run: IdRun) -> Iterator[dict[str, Any]]:
        for position, parts in groupby(split_run(run, IDS_AN_ITEM), key=lambda part: part.last):
            for number, part in enumerate(parts):
                yield {
                    "pk": {"S": writer},
                    "sk": {"S": f"{position}#{number:04d}" if number else position},
                    "first": {"S": part.first},
                    "run": {"B": encode_run(part)},
                    "expires_at": {"N": str((part.arrived_at_ms + self._kept_ms) // 1000)},
                }


def _runs_of(items: Iterable[Any], *, is_backwards: bool = False) -> Iterator[IdRun]:
    """The runs of these items, the parts of one record joined."""
    for _, group in groupby(items, key=_position):
        parts = [_run(item) for item in group]
        yield join_runs(parts[::-1] if is_backwards else parts)


def _spanning(item: Any, before: str) -> IdRun | None:
    """The run of an item that ends at or behind a position, if it begins ahead of it."""
    run = _run(item)
    return run if run.first < before else None


def _run(item: Any) -> IdRun:
    try:
        return decode_run(item["first"]["S"], _position(item), item["run"]["B"])
    except (KeyError, TypeError) as error:
        raise CorruptIdLogError(f"the id log's item that ends at {_position(item)} lacks {error}") from error


def _position(item: Any) -> str:
    position: str = item["sk"]["S"].partition("#")[0]
    return position
