"""How complete answers are: every event that the stream accepted before `complete_until` is in them.

The least over the open shards of what each has committed. A shard that has committed nothing yet stands where its
parents stand; parents of one that has are done, for Lambda gives out no child before its parents are.
"""

from collections.abc import Sequence

from chalicelib.reading.ports import ShardProgress
from chalicelib.records.shard import Shard


def complete_until(shards: Sequence[Shard], progress: Sequence[ShardProgress]) -> int | None:
    """The instant up to which everything is counted, epoch milliseconds; None when it is not known.

    Shapes: shards as the stream lists them, read in any order with the progress, but both before the shares.
    """
    parents = {shard.shard_id: shard.parents for shard in shards}
    committed_until = {each.shard_id: each.arrived_at_ms for each in progress}

    def reached(shard_id: str) -> int | None:
        if shard_id in committed_until:
            return committed_until[shard_id]
        return _least([reached(parent) for parent in parents.get(shard_id, ())])

    return _least([reached(shard.shard_id) for shard in shards if shard.is_open])


def _least(instants: Sequence[int | None]) -> int | None:
    known = [instant for instant in instants if instant is not None]
    return min(known) if known and len(known) == len(instants) else None
