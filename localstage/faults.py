"""What is done to the emulated AWS on purpose: DynamoDB refuses writes, SNS is slow, iterators expire.

Each is what AWS does by itself on a bad day, and answered as AWS answers. It happens in MiniStack's own process, before
MiniStack sees the request, so that nothing of what is refused has been done.

Source: DynamoDB Developer Guide, "Error handling with DynamoDB"; Kinesis Data Streams API Reference, "GetRecords".
"""
# ruff: noqa: SLF001  MiniStack has no other way in

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Annotated, Any

from ministack.core.responses import error_response_json
from msgspec import Meta, Struct

from localstage.meter import Answer

SEED = 1
WRITES = {"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"}
PUBLISHES = {"Publish", "PublishBatch"}
THROTTLED = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
THROTTLED_BECAUSE = (
    "The level of configured provisioned throughput for the table was exceeded. "
    "Consider increasing your provisioning level with the UpdateTable API."
)


class Wanted(Struct, forbid_unknown_fields=True):
    """A change of what is done; what is None stays as it is. Shapes: throttle_dynamodb, the share of writes refused."""

    throttle_dynamodb: Annotated[float, Meta(ge=0, le=1)] | None = None
    delay_sns_ms: Annotated[int, Meta(ge=0, le=60_000)] | None = None
    expire_iterators: bool = False


class Told(Struct):
    """What is being done, and how often it was since the emulator began.

    Shapes: iterators_expired, how many that nobody had read with yet; expirations, how many of these were answered so;
            reads_since_expiry, how many GetRecords were answered with records, or with none, since any expired.
    """

    throttle_dynamodb: float = 0
    delay_sns_ms: int = 0
    writes_refused: int = 0
    publishes_delayed: int = 0
    iterators_expired: int = 0
    expirations: int = 0
    reads_since_expiry: int = 0


class Faults:
    """Does it. By chance, but by a chance that is the same in each run: of the same writes the same are refused."""

    def __init__(self) -> None:
        self.told = Told()
        self._chance = Random(SEED)  # noqa: S311  nothing secret
        self._in_hand: set[str] = set()  # iterators that nobody has read with yet
        self._expired: set[str] = set()

    def change(self, wanted: Wanted) -> None:
        """Do otherwise from now on."""
        if wanted.throttle_dynamodb is not None:
            self.told.throttle_dynamodb = wanted.throttle_dynamodb
        if wanted.delay_sns_ms is not None:
            self.told.delay_sns_ms = wanted.delay_sns_ms
        if wanted.expire_iterators:
            self.told.iterators_expired += len(self._in_hand)
            self._expired |= self._in_hand
            self._in_hand.clear()
            self.told.reads_since_expiry = 0

    async def meet(self, service: str, operation: str) -> Answer | None:
        """Let a request through, in its time; or answer it."""
        if service == "dynamodb" and operation in WRITES and self._refuses():
            self.told.writes_refused += 1
            refusal: Answer = error_response_json(THROTTLED, THROTTLED_BECAUSE)
            return refusal
        if service == "sns" and operation in PUBLISHES and self.told.delay_sns_ms:
            self.told.publishes_delayed += 1
            await asyncio.sleep(self.told.delay_sns_ms / 1000)
        return None

    def hand_out(self, iterator: str) -> str:
        """Take note of an iterator."""
        self._in_hand.add(iterator)
        return iterator

    def reads_with(self, read: Callable[..., Answer]) -> Callable[..., Answer]:
        """Make a GetRecords answer an iterator that has expired as such, once: whoever is told so asks for another."""

        def read_unless_expired(data: Mapping[str, Any]) -> Answer:
            iterator = data.get("ShardIterator", "")
            self._in_hand.discard(iterator)
            if iterator not in self._expired:
                self.told.reads_since_expiry += 1
                return read(data)
            self._expired.discard(iterator)
            self.told.expirations += 1
            expired: Answer = error_response_json("ExpiredIteratorException", "Iterator expired.")
            return expired

        return read_unless_expired

    def _refuses(self) -> bool:
        share = self.told.throttle_dynamodb
        return share > 0 and self._chance.random() < share


def install(faults: Faults, kinesis: Any, streams: Any) -> None:
    """Have MiniStack's modules of Kinesis and of DynamoDB Streams tell of each iterator."""
    new_uuid, encode = kinesis.new_uuid, streams._encode_iterator
    kinesis.new_uuid = lambda: faults.hand_out(new_uuid())  # of iterators alone, there
    # By itself, two readers at one place would have the same one.
    streams._encode_iterator = lambda *place, **where: faults.hand_out(f"{encode(*place, **where)}.{new_uuid()}")
    decode = streams._decode_iterator
    streams._decode_iterator = lambda token: decode(token.partition(".")[0])
    for module in (kinesis, streams):
        module._get_records = faults.reads_with(module._get_records)
