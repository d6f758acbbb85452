"""The events stream in memory: what producers and `capture` put on it, and what its readers get.

Nothing here is decoded by the code under test: what a producer puts is described beside its bytes.
"""

from collections.abc import Callable, Sequence

from chalicelib.consumers.ports import StreamRecord
from chalicelib.records.shard import Shard as ListedShard
from tests.simulation.stream import HASH_KEYS, effective_hash_key
from tests.simulation.tables.reading import Shard, Told


class EventsStream:
    """The stream. `accepted(shard, told)` hears of every record that it takes."""

    def __init__(self, shards: int, accepted: Callable[[Shard, Told], None]) -> None:
        self.shards = [Shard(f"shardId-{number:012d}") for number in range(shards)]
        self._keys_each = HASH_KEYS.stop // shards
        self._accepted = accepted
        self._sequence = 10**20

    def accept(self, record: StreamRecord, now_ms: int) -> None:
        """Take a record."""
        explicit = None if record.explicit_hash_key is None else int(record.explicit_hash_key)
        place = effective_hash_key(record.partition_key, explicit) // self._keys_each
        self._sequence += 7
        told = Told(str(self._sequence), now_ms, record)
        shard = self.shards[min(place, len(self.shards) - 1)]
        shard.records.append(told)
        self._accepted(shard, told)

    def list_shards(self, timeout_ms: int) -> Sequence[ListedShard]:
        """The shards as ListShards has them."""
        starts = [number * self._keys_each for number in range(len(self.shards))]
        ends = [*starts[1:], HASH_KEYS.stop]
        return [
            ListedShard(shard.shard_id, is_open=True, starting_hash_key=str(start), ending_hash_key=str(end - 1))
            for shard, start, end in zip(self.shards, starts, ends, strict=True)
        ]
