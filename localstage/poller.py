"""Acts on what the mappings decide: a thread a shard reads, invokes and reports; one a mapping looks for new shards."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import orjson
from botocore.exceptions import BotoCoreError, ClientError

from localstage.destination import Destination, Discarded
from localstage.mapping import GiveUp, Invoke, MappingOptions, ShardMapping, Wait
from localstage.redelivery import Redelivery
from localstage.runtime import Function, FunctionClosedError
from localstage.source import EncodedRecord, Reader, Shard, Source, event_of, startable

logger = logging.getLogger(__name__)

IDLE_POLL_SECONDS = 0.25  # Lambda polls a shard about once a second; at a desk one would rather not wait for that
SHARD_POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ShardProgress:
    """How far a mapping has come with a shard: what it has read, and what of that is settled."""

    state: ShardMapping[EncodedRecord]
    reader: Reader


class EventSourceMapping(threading.Thread):
    """Runs one mapping over all shards of its source, children after their parents, until `stop`.

    Shapes: progress, by shard, of a mapping of the same function and stream that has ended: this one goes on from
            there, and keeps it up to date. Without any, it begins at the source's starting position.
    """

    def __init__(
        self,
        source: Source,
        function: Function,
        options: MappingOptions,
        destination: Destination | None,
        redelivery: Redelivery,
        *,
        progress: dict[str, ShardProgress] | None = None,
    ) -> None:
        super().__init__(name=f"{function.spec.name}-mapping", daemon=True)
        self.source = source
        self.function = function
        self.options = options
        self.destination = destination
        self.redelivery = redelivery
        self._progress = {} if progress is None else progress
        self._stopping = threading.Event()
        self._look_for_shards = threading.Event()
        self._pollers: dict[str, _ShardPoller] = {}

    def run(self) -> None:
        """Begin with each shard as soon as it may begin."""
        while not self._stopping.is_set():
            try:
                shards = self.source.shards()
            except (BotoCoreError, ClientError) as error:
                logger.warning("%s: cannot list the shards: %s", self.name, error)
                shards = []
            drained = {shard_id for shard_id, poller in self._pollers.items() if poller.drained}
            for shard in startable(shards, set(self._pollers), drained):
                progress = self._progress_with(shard)
                poller = _ShardPoller(self, shard, progress, self._stopping, when_drained=self._look_for_shards.set)
                self._pollers[shard.shard_id] = poller
                poller.start()
            self._look_for_shards.wait(SHARD_POLL_SECONDS)
            self._look_for_shards.clear()

    def stop(self) -> None:
        """Begin nothing more; `join` waits for what is under way."""
        self._stopping.set()
        self._look_for_shards.set()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the threads of the shards too."""
        super().join(timeout)
        for poller in self._pollers.values():
            poller.join(timeout)

    def _progress_with(self, shard: Shard) -> ShardProgress:
        if shard.shard_id not in self._progress:
            state: ShardMapping[EncodedRecord] = ShardMapping(self.options, self.redelivery)
            self._progress[shard.shard_id] = ShardProgress(state, self.source.open(shard))
        progress = self._progress[shard.shard_id]
        progress.state.options = self.options  # those of the mapping before may have been others
        return progress


class _ShardPoller(threading.Thread):
    def __init__(
        self,
        mapping: EventSourceMapping,
        shard: Shard,
        progress: ShardProgress,
        stopping: threading.Event,
        when_drained: Callable[[], None],
    ) -> None:
        super().__init__(name=f"{mapping.function.spec.name}-{shard.shard_id}", daemon=True)
        self._owner = mapping
        self._shard = shard
        self._stopping = stopping
        self._when_drained = when_drained
        self._state = progress.state
        self._reader = progress.reader
        self._request_id = ""

    @property
    def drained(self) -> bool:
        return self._state.drained

    def run(self) -> None:
        while not self._stopping.is_set() and not self.drained:
            try:
                pause_seconds = self._step()
            except FunctionClosedError:
                return
            except (BotoCoreError, ClientError) as error:
                logger.warning("%s: %s", self.name, error)
                pause_seconds = IDLE_POLL_SECONDS
            self._stopping.wait(pause_seconds)
        self._when_drained()

    def _step(self) -> float:
        """Read if there is room, act on one decision; return how long to pause."""
        has_read = self._read()
        now_ms = _now_ms()
        decision = self._state.decide(now_ms)
        match decision:
            case Invoke(records):
                self._invoke(records)
                return 0
            case GiveUp():
                self._give_up(decision)
                return 0
            case Wait(until_ms):
                if has_read and self._state.room:
                    return 0
                return IDLE_POLL_SECONDS if until_ms is None else min(IDLE_POLL_SECONDS, (until_ms - now_ms) / 1000)

    def _read(self) -> bool:
        if not self._state.room:
            return False
        records = self._reader.read(self._state.room)
        if records is None:
            self._state.shard_ended()
            return False
        self._state.fetched(records, _now_ms())
        return bool(records)

    def _invoke(self, records: Sequence[EncodedRecord]) -> None:
        answer = self._owner.function.invoke(event_of(records))
        self._request_id = answer.request_id
        response = orjson.loads(answer.payload)
        if answer.function_error:
            logger.warning("%s: %s: %s", self.name, response["errorType"], response["errorMessage"])
            self._state.failed(_now_ms())
        else:
            self._state.answered(response, _now_ms())

    def _give_up(self, decision: GiveUp[EncodedRecord]) -> None:
        logger.error("%s: %s: gives up %d records", self.name, decision.condition, len(decision.records))
        if self._owner.destination is not None:
            self._owner.destination.send(
                Discarded(
                    records=decision.records,
                    condition=decision.condition,
                    invocations=decision.invocations,
                    function_arn=self._owner.function.spec.arn,
                    batch_info=self._owner.source.batch_info,
                    stream_arn=self._owner.source.arn,
                    shard_id=self._shard.shard_id,
                    request_id=self._request_id,
                )
            )
        self._state.given_up(len(decision.records))


def _now_ms() -> int:
    return int(time.time() * 1000)
