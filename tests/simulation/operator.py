"""Operators who redrive dead letters: the real `redrive` on a bucket in memory, killed and throttled at any call.

What comes back on the stream is described anew, from what its producer knows of the piece: the oracle judges it as it
judges whatever else arrives there.
"""

import gzip
import io
import json
import zlib
from collections.abc import Callable
from functools import lru_cache
from random import Random

import zstandard

from chalicelib.aws.dead_letters_bucket import encode, object_key
from chalicelib.aws.letter_objects import letters_in
from chalicelib.consumers.redrive import Redrive
from chalicelib.errors import TransientError
from chalicelib.records.compression import GZIP_MAGIC, ZSTD_MAGIC
from chalicelib.records.letter import DEAD_LETTERS, REDRIVEN, Letter
from tests.fakes import MemoryLetterObjects, MemoryQueue
from tests.simulation.faults import Faults, Killed
from tests.simulation.stream import Event, Piece, Poison, Put, UserRecord

REASONS = ("from the future", "malformed")


class Bucket(MemoryLetterObjects):
    """The dead letters bucket; ingest puts objects, redrive reads and moves them."""

    def put(self, stream, shard_id, record, pieces) -> None:
        """What ingest does, for one record."""
        self.objects[object_key(stream, shard_id, record)] = encode(stream, shard_id, record, pieces)

    def reasons(self) -> dict[str, list[str]]:
        """Sequence number → the reasons of all its dead letters, redriven or not; sorted, a redrive may take some."""
        whole_last = sorted(self.objects, key=lambda key: not key.startswith(REDRIVEN))  # what was not moved, is whole
        return {record: reasons for key in whole_last for record, reasons in _reasons_in(self.objects[key]).items()}

    def pending(self) -> list[Letter]:
        """The letters of the objects that have not moved."""
        return self._letters_under(DEAD_LETTERS)

    def redriven(self) -> list[Letter]:
        """The letters that the stream is said to have accepted."""
        return self._letters_under(REDRIVEN)

    def _letters_under(self, prefix: str) -> list[Letter]:
        objects = [data for key, data in self.objects.items() if key.startswith(prefix)]
        return [letter for data in objects for letter in _letters_in(data)]


@lru_cache(1_000)
def _letters_in(data: bytes) -> tuple[Letter, ...]:
    return tuple(letters_in(io.BytesIO(data)))


@lru_cache(1_000)
def _reasons_in(data: bytes) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for letter in _letters_in(data):
        reasons.setdefault(letter.sequence_number, []).append(letter.reason)
    return {sequence_number: sorted(each) for sequence_number, each in reasons.items()}


class Operator:
    """Sends messages to the redrive queue, and has the function work on them until each is done with.

    `events` are those that any producer has put, by their JSON; `accept` puts a record on the stream.
    """

    def __init__(
        self, chance: Random, faults: Faults, bucket: Bucket, events: dict[bytes, Event], accept: Callable[[Put], None]
    ) -> None:
        self._chance = chance
        self._faults = faults
        self._bucket = bucket
        self._events = events
        self._accept = accept
        self._poison: dict[bytes, str] = {}
        self._accepted: set[bytes] = set()
        self._queue = MemoryQueue()
        self._redrive = Redrive(bucket, self, self._queue, pause=lambda _: None)

    def ask(self) -> None:
        """Ask for some object, or for all of them."""
        keys = [key for key in self._bucket.objects if key.startswith(DEAD_LETTERS)]
        what = (
            {"prefix": DEAD_LETTERS} if self._chance.random() < 0.2 or not keys else {"key": self._chance.choice(keys)}
        )
        reason = self._chance.choice(REASONS)
        self._queue.bodies.append(json.dumps({**what, **({"reason": reason} if reason else {})}))

    def work(self) -> None:
        """Let the function have a message, once, or twice as SQS may deliver it."""
        if not self._queue.bodies:
            return
        body = self._queue.bodies.pop(0)
        self._poison |= {letter.data: letter.reason for letter in self._bucket.pending()}
        event = {"Records": [{"messageId": "1", "body": body}]}
        self._bucket.on_call = self._fail
        try:
            failed = self._redrive(event, lambda: 60_000).failed_message_ids
            self._faults.fired["redrive"] += 1
        except Killed:
            failed = ["1"]
        finally:
            self._bucket.on_call = lambda name, is_done: None
        if failed or self._faults.hits(self._chance, "delivered_again"):
            self._queue.bodies.append(body)

    @property
    def is_done(self) -> bool:
        """Whether no message is left."""
        return not self._queue.bodies

    @property
    def lost(self) -> list[Letter]:
        """Letters that are kept as redriven, and that the stream never took."""
        return [letter for letter in self._bucket.redriven() if letter.data not in self._accepted]

    def put_records(self, records, timeout_ms):
        """The stream, which takes some of the records."""
        self._fail("put", is_done=False)
        refused = [place for place in range(len(records)) if self._faults.hits(self._chance, "throttled")]
        for place, record in enumerate(records):
            if place not in refused:
                self._accepted.add(record.data)
                self._accept(Put(record.partition_key, None, record.data, (UserRecord((self._piece(record.data),)),)))
        self._fail("put", is_done=True)
        return refused

    def _fail(self, name, *, is_done) -> None:
        if self._faults.hits(self._chance, "killed_after" if is_done else "killed_before"):
            raise Killed
        if self._faults.hits(self._chance, "answer_lost" if is_done else "throttled"):
            raise TransientError("SlowDown")

    def _piece(self, data: bytes) -> Piece:
        """What a redriven payload is: an event that some producer knows, or what it was before."""
        return self._events.get(_expanded(data)) or Poison(self._poison[data])


def _expanded(data: bytes) -> bytes:
    try:
        if data.startswith(GZIP_MAGIC):
            return gzip.decompress(data)
        if data.startswith(ZSTD_MAGIC):
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError):
        pass
    return data
