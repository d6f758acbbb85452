"""A shard of a stream, as the stream lists it."""

from msgspec import Struct


class Shard(Struct, frozen=True):
    """A shard: open while it takes records, and the shards that it came from by a split or a merge.

    Shapes: starting_hash_key is the decimal text of the lowest hash key that it takes.
    """

    shard_id: str
    is_open: bool
    parents: tuple[str, ...] = ()
    starting_hash_key: str = "0"
