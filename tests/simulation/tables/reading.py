"""Streams in plain words, and one consumer's event source mapping of one of their shards.

The mapping is the local stage's own pure one. A consumer is whoever a function runs: containers of it come and go.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from localstage.mapping import Invoke, MappingOptions, ShardMapping, Wait
from tests.simulation.faults import Faults

CONTAINERS_MAX = 3
BATCH_SIZES = (1, 2, 4, 10, 30)

Answer = Mapping[str, Any]


@dataclass(frozen=True)
class Told:
    """A record on a shard, as the mapping sees it and as the consumer gets it."""

    sequence_number: str
    arrived_ms: int
    record: Any
    payload_bytes: int = 1


@dataclass
class Shard:
    """One shard of a stream: its records, in order."""

    shard_id: str
    records: list[Told] = field(default_factory=list)


@dataclass
class Consumer:
    """A function: how a container of it is made, and how a container handles records of a shard.

    `handle(container, shard, records, remaining_ms)` gives Lambda's answer.
    """

    name: str
    make: Callable[[], Any]
    handle: Callable[[Any, Shard, Sequence[Told], Callable[[], int]], Answer]
    containers: list[Any] = field(default_factory=list)

    def container(self, chance: Random, faults: Faults) -> Any:
        """One that is free, or a new one; nobody else has it until it is given back."""
        if self.containers and not faults.hits(chance, "cold"):
            return self.containers.pop(chance.randrange(len(self.containers)))
        return self.make()

    def give_back(self, container: Any) -> None:
        """An invocation has ended in it, and the next may begin."""
        self.containers = [*self.containers, container][-CONTAINERS_MAX:]


class Reading:
    """What a mapping does with one shard for one consumer."""

    def __init__(self, chance: Random, faults: Faults, consumer: Consumer, shard: Shard) -> None:
        self._chance = chance
        self._faults = faults
        self.consumer = consumer
        self.shard = shard
        self._fetched = 0
        options = MappingOptions(
            batch_size=chance.choice(BATCH_SIZES),
            bisect_batch_on_function_error=chance.random() < 0.5,
            report_batch_item_failures=True,
            backoff_ms_first=1,
        )
        self._mapping: ShardMapping[Told] = ShardMapping(options, lambda: faults.hits(chance, "delivered_again"))

    @property
    def is_done(self) -> bool:
        """Whether all that is on the shard has been handled."""
        return self._fetched == len(self.shard.records) and self._mapping.idle

    def step(self, now_ms: int, invoke: Callable[["Reading", Sequence[Told]], Answer | None]) -> int:
        """Fetch what is told, and invoke once if there is reason to; None of it is a failure.

        Returns: until when it waits.
        """
        mapping = self._mapping
        end = min(self._fetched + mapping.room, len(self.shard.records))
        if end > self._fetched and self._faults.hits(self._chance, "told_late"):
            end = self._chance.randrange(self._fetched, end)
        mapping.fetched(self.shard.records[self._fetched : end], now_ms)
        self._fetched = end
        match mapping.decide(now_ms):
            case Invoke(records):
                answer = invoke(self, records)
                if answer is None:
                    mapping.failed(now_ms)
                else:
                    mapping.answered(answer, now_ms)
            case Wait(until_ms) if until_ms is not None:
                return max(now_ms, until_ms)
        return now_ms

    def some_records(self) -> Sequence[Told]:
        """What a forgotten invocation may hold: it begins at the first record that is not settled, or before."""
        records, checkpoint = self.shard.records, self._mapping.checkpoint
        settled = next((place for place, told in enumerate(records, 1) if told.sequence_number == checkpoint), 0)
        first = self._chance.randrange(max(0, settled - 5), settled + 1)
        return records[first : self._chance.randrange(first, self._fetched + 1)]
