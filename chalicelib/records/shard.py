"""A shard of a stream, as the stream lists it."""

from msgspec import Struct


class Shard(Struct, frozen=True):
    """A shard: open while it takes records, and the shards that it came from by a split or a merge.

    Shapes: hash keys are decimal text: the lowest and the highest that it takes.
    """

    shard_id: str
    is_open: bool
    parents: tuple[str, ...] = ()
    starting_hash_key: str = "0"
    ending_hash_key: str = str(2**128 - 1)
