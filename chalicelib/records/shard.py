"""A shard of a stream, as the stream lists it."""

from msgspec import Struct

from chalicelib.records import kpl


class Shard(Struct, frozen=True):
    """A shard: open while it takes records, and the shards that it came from by a split or a merge.

    Shapes: hash keys are decimal text: the lowest and the highest that it takes.
    """

    shard_id: str
    is_open: bool
    parents: tuple[str, ...] = ()
    starting_hash_key: str = "0"
    ending_hash_key: str = str(2**128 - 1)

    @property
    def misplaceable_hash_keys(self) -> range:
        """The hash keys that it takes, if records meant for another shard can have come here: after a reshard."""
        return range(int(self.starting_hash_key), int(self.ending_hash_key) + 1) if self.parents else kpl.HASH_KEYS
