"""The producer that a service holds: it takes events one by one and has them accepted by the stream.

Order. A shard's records go out one request at a time, in the order in which they were put. Within a request order can
change: PutRecords does not promise any, and a refused record is put again behind those of its request that were
accepted. Events of one key put in different encodings fill different records. Highwater's metrics depend on no order.

Repeats. A request whose answer was lost on the way is sent again, so the stream may hold an event twice: an event keeps
its `id` whenever it is sent again.

Reshards. That the stream was split or merged, the producer learns from the first answer that names a shard unknown to
it. What still waits is grouped by the new shards then; what was in flight lies where the stream put it: those records,
and no later ones, can hold events of both children of a split. Each of these is counted once, unless its answer was
lost and the caller puts it again (`UnacceptedError`): then it may go to the other child, which knows nothing of it.

Nothing is sent by the clock: `flush` when what was put must be on the stream. Requests are made on threads of the
producer's own; its methods are for one thread.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NoReturn, Self

from botocore.exceptions import BotoCoreError, ClientError

from loadtest.producer.delivery import (
    REQUEST_BYTES_MAX,
    REQUEST_RECORDS_MAX,
    Delivery,
    KinesisClient,
    Receipt,
    Retry,
    deliver,
    reason,
    split_request,
)
from loadtest.producer.event import BY_USER, Event, KeyFunction, to_wire
from loadtest.producer.packing import Encoding, Pack, Record, encode_record
from loadtest.producer.shards import ShardMap


class UnacceptedError(RuntimeError):
    """The stream did not accept all that was put. The producer is empty: what is not in `events` was accepted.

    `events` can be put again as they are (`put_event`); `reasons` are the service's codes.
    """

    def __init__(self, events: tuple[Event, ...], reasons: frozenset[str]) -> None:
        super().__init__(f"{len(events)} events were not accepted: {', '.join(sorted(reasons))}")
        self.events = events
        self.reasons = reasons


@dataclass(slots=True)
class _Lane:
    """Some shards' records on their way: those waiting, and at most one request in flight."""

    waiting: list[Record] = field(default_factory=list)
    waiting_bytes: int = 0
    in_flight: Future[Delivery] | None = None

    def add(self, record: Record) -> None:
        self.waiting.append(record)
        self.waiting_bytes += record.size_bytes

    def is_full(self) -> bool:
        return len(self.waiting) >= REQUEST_RECORDS_MAX or self.waiting_bytes > REQUEST_BYTES_MAX

    def take_request(self) -> list[Record]:
        count = split_request(self.waiting)
        request, self.waiting = self.waiting[:count], self.waiting[count:]
        self.waiting_bytes = sum(record.size_bytes for record in self.waiting)
        return request


class Producer:
    """Puts events on one stream, in requests as full as they can be. A context manager that flushes when it ends."""

    def __init__(
        self,
        client: KinesisClient,
        stream: str,
        *,
        encoding: Encoding = Encoding.PLAIN,
        partition_key: KeyFunction = BY_USER,
        requests_at_once: int = 4,
        retry: Retry | None = None,
    ) -> None:
        """Ask for the stream's shards, so that an absent stream is known before anything is put.

        Shapes: encoding, what events are put in unless `put` says otherwise; partition_key, taken of each mapping put.
        Raises: what the client raises when the stream cannot be reached or does not exist.
        """
        self.receipt = Receipt()
        self._client = client
        self._stream = stream
        self._encoding = encoding
        self._partition_key = partition_key
        self._retry = retry or Retry()
        self._packs: dict[tuple[str, Encoding], Pack] = {}
        self._lanes = [_Lane() for _ in range(requests_at_once)]
        self._unaccepted: list[Record] = []
        self._reasons: set[str] = set()
        self._load_shards()
        self._executor = ThreadPoolExecutor(requests_at_once, thread_name_prefix="producer")

    def put(self, event: Mapping[str, Any], encoding: Encoding | None = None) -> None:
        """Take one CloudEvent; a Decimal in it keeps its digits.

        Raises: EventTooLargeError or PartitionKeyError, and the event was not taken; UnacceptedError, when earlier
                events failed, and then this one is among its `events`.
        """
        self.put_event(Event(self._partition_key(event), to_wire(event)), encoding)

    def put_event(self, event: Event, encoding: Encoding | None = None) -> None:
        """Take one event whose bytes (JSON on one line) and key are made already.

        Raises: UnacceptedError, as `put`; what the client raises when it must ask for the shards again and cannot, and
                the event was not taken.
        """
        if self._resharded:
            self._regroup()
        encoding = encoding or self._encoding
        shard_id = self._shards.shard_of(event.partition_key)
        record = self._pack(event, shard_id, encoding)
        if record:
            self._enqueue(record, shard_id)

    def flush(self) -> Receipt:
        """Have everything put so far accepted.

        Returns: the receipt of all that this producer ever had accepted, the same as its `receipt`.
        Raises: UnacceptedError with what was not.
        """
        while self._packs or any(lane.waiting for lane in self._lanes):
            if self._resharded:
                self._regroup_or_give_back()
            if self._packs:
                (shard_id, encoding), pack = self._packs.popitem()
                self._enqueue(encode_record(pack.events, encoding), shard_id)
            else:
                for lane in self._lanes:
                    self._send(lane)
        for lane in self._lanes:
            self._settle(lane)
        if self._unaccepted:
            self._give_back()
        return self.receipt

    def close(self) -> None:
        """Flush, and end the producer's threads. Raises: UnacceptedError, as `flush`."""
        try:
            self.flush()
        finally:
            self._executor.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _pack(self, event: Event, shard_id: str, encoding: Encoding) -> Record | None:
        """Take the event into its shard's pack; the record that this completes, if any."""
        if encoding is Encoding.PLAIN:
            return encode_record([event], encoding)
        pack = self._packs.get((shard_id, encoding))
        if pack and pack.fits(event):
            pack.add(event)
            return None
        self._packs[shard_id, encoding] = Pack(event)
        return encode_record(pack.events, encoding) if pack else None

    def _enqueue(self, record: Record, shard_id: str) -> None:
        lane = self._lane_of(shard_id)
        lane.add(record)
        if lane.is_full():
            self._send(lane)

    def _send(self, lane: _Lane) -> None:
        """Put the lane's next request in flight, once the one before it has ended, unless that told of a reshard."""
        self._settle(lane)
        if self._unaccepted:
            self._give_back()
        if lane.waiting and not self._resharded:
            lane.in_flight = self._executor.submit(
                deliver, self._client, self._stream, lane.take_request(), self._retry
            )

    def _settle(self, lane: _Lane) -> None:
        """Wait for the lane's request in flight and note how it ended."""
        if lane.in_flight is None:
            return
        delivery = lane.in_flight.result()
        lane.in_flight = None
        self.receipt += delivery.accepted
        self._unaccepted += delivery.unaccepted
        self._reasons |= delivery.reasons
        # A shard that we do not know has taken records: the stream was split or merged since we asked.
        self._resharded |= not delivery.accepted.last_sequence_numbers.keys() <= self._lane_numbers.keys()

    def _give_back(self) -> NoReturn:
        """Empty the producer into an UnacceptedError."""
        for lane in self._lanes:
            self._settle(lane)
        unaccepted = self._unaccepted + [record for lane in self._lanes for record in lane.waiting]
        events = [event for record in unaccepted for event in record.events]
        events += [event for pack in self._packs.values() for event in pack.events]
        error = UnacceptedError(tuple(events), frozenset(self._reasons))
        self._packs.clear()
        self._lanes = [_Lane() for _ in self._lanes]
        self._unaccepted = []
        self._reasons = set()
        raise error

    def _regroup(self) -> None:
        """Ask for the shards again, and have what waits share records, and lanes, by the shards as they are now.

        Raises: what the client raises; all that waited is waiting still.
        Why:    after a split a record that was filled by the old shards would carry a neighbour's events with it.
        """
        for lane in self._lanes:  # what is in flight lands before anything else is sent, so that order is kept
            self._settle(lane)
        self._load_shards()
        records = [record for lane in self._lanes for record in lane.waiting]
        waiting = [(event, record.encoding) for record in records for event in record.events]
        waiting += [(event, encoding) for (_, encoding), pack in self._packs.items() for event in pack.events]
        self._packs.clear()
        self._lanes = [_Lane() for _ in self._lanes]
        for event, encoding in waiting:
            shard_id = self._shards.shard_of(event.partition_key)
            record = self._pack(event, shard_id, encoding)
            if record:  # nothing is sent here, however full the lane: what cannot be accepted is given back whole
                self._lane_of(shard_id).add(record)

    def _regroup_or_give_back(self) -> None:
        try:
            self._regroup()
        except (BotoCoreError, ClientError) as error:
            self._reasons.add(reason(error))
            self._give_back()

    def _lane_of(self, shard_id: str) -> _Lane:
        # A shard has one lane, which keeps its order; a lane has many shards, which keeps requests full.
        return self._lanes[self._lane_numbers[shard_id]]

    def _load_shards(self) -> None:
        page = self._client.list_shards(StreamName=self._stream)
        shards = list(page["Shards"])
        while page.get("NextToken"):
            page = self._client.list_shards(NextToken=page["NextToken"])
            shards += page["Shards"]
        self._shards = ShardMap(shards)
        self._lane_numbers = {shard_id: n % len(self._lanes) for n, shard_id in enumerate(self._shards.ids)}
        self._resharded = False
