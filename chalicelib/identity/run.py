"""A run of the id log: the ids that were counted in some records of a shard, in the order of the stream.

Only this file knows how a run is packed. Ids and contents take twelve bytes an event; what is known of their records
(sequence number, arrival, how many ids) is a column each, compressed, and unpacked only when somebody asks.
"""

import sys
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from zlib import crc32

import msgspec
import zstandard
from msgspec import Struct

from chalicelib.errors import CorruptIdLogError, InvariantError
from chalicelib.records.sequence import number_at, position_of

FORMAT = 1
COLUMNS_BYTES_MAX = 8 * 1024 * 1024  # unpacked; 10 000 records take less than a tenth of it

if sys.byteorder != "little":
    raise InvariantError("runs are packed little-endian, as both of Lambda's architectures are")


class CountedRecord(Struct, frozen=True):
    """A record of which some events were counted: where it is, when it arrived, and how many of the ids are its."""

    position: str
    arrived_at_ms: int
    ids: int


class IdRun(Struct, frozen=True):
    """The ids counted in the records from `first` to `last`, the positions of the first and the last that has any.

    Shapes: ids and contents are fingerprints, one each for every counted event, in the order of the stream.
    Units:  arrived_at_ms is when the latest of its records arrived.
    """

    first: str
    last: str
    arrived_at_ms: int
    columns: bytes
    ids: "array[int]"
    contents: "array[int]"

    def records(self) -> list[CountedRecord]:
        """What is known of its records, in order."""
        return list(_unpack_columns(self.columns))

    def between(self, after: str | None, before: str | None) -> "IdRun | None":
        """The part of it that lies beyond the position `after` and ahead of `before`; None when there is nothing."""
        if (after is None or after < self.first) and (before is None or self.last < before):
            return self
        records = self.records()
        ends = list(accumulate((record.ids for record in records), initial=0))
        places = [
            place
            for place, record in enumerate(records)
            if (after is None or after < record.position) and (before is None or record.position < before)
        ]
        if not places:
            return None
        kept, start, end = records[places[0] : places[-1] + 1], ends[places[0]], ends[places[-1] + 1]
        return make_run(kept, self.ids[start:end], self.contents[start:end])


def make_run(records: Sequence[CountedRecord], ids: "array[int]", contents: "array[int]") -> IdRun:
    """Make the run of these records, at least one, each of which has an id."""
    arrived_at_ms = max(record.arrived_at_ms for record in records)
    return IdRun(records[0].position, records[-1].position, arrived_at_ms, _pack_columns(records), ids, contents)


def join_runs(runs: Sequence[IdRun]) -> IdRun:
    """Make one run of several that lie one behind the other."""
    if len(runs) == 1:
        return runs[0]
    ids, contents = array("Q"), array("I")
    for run in runs:
        ids += run.ids
        contents += run.contents
    return make_run([record for run in runs for record in run.records()], ids, contents)


def look_back(runs: Iterable[IdRun], since_ms: int, ids_max: int) -> tuple[list[IdRun], int | None]:
    """Take runs, which come the latest first, until what is left is too long ago to matter, in time or in ids.

    Returns: the runs in the order of the stream, none of which overlaps another; and the arrival from which on nothing
             was left out, None when nothing was.
    """
    kept: list[IdRun] = []
    ids = 0
    covered_from: str | None = None
    for run in runs:
        news = run.between(None, covered_from)
        covered_from = run.first if covered_from is None else min(covered_from, run.first)
        if news is None:
            continue
        if ids >= ids_max:
            return kept[::-1], kept[-1].arrived_at_ms
        if news.arrived_at_ms < since_ms:
            return kept[::-1], since_ms
        kept.append(news)
        ids += len(news.ids)
    return kept[::-1], None


def split_run(run: IdRun, ids_max: int) -> list[IdRun]:
    """Cut a run into parts of so many ids at most, in order.

    Returns: parts of whole records; only a record that has too many ids by itself is cut too, and the parts of it hold
             nothing else and end at the same position.
    """
    if len(run.ids) <= ids_max:
        return [run]
    parts: list[tuple[list[CountedRecord], int]] = []  # records, and where their ids begin
    start, room = 0, 0
    for record in run.records():
        if record.ids > ids_max:
            shares = [min(ids_max, record.ids - done) for done in range(0, record.ids, ids_max)]
            cut = [CountedRecord(record.position, record.arrived_at_ms, share) for share in shares]
            parts += [([share], start + number * ids_max) for number, share in enumerate(cut)]
            room = 0
        elif record.ids <= room:
            parts[-1][0].append(record)
            room -= record.ids
        else:
            parts.append(([record], start))
            room = ids_max - record.ids
        start += record.ids
    ends = [*(begin for _, begin in parts[1:]), start]
    return [
        make_run(records, run.ids[begin:end], run.contents[begin:end])
        for (records, begin), end in zip(parts, ends, strict=True)
    ]


def encode_run(run: IdRun) -> bytes:
    """Pack a run, its bounds apart."""
    parts = (run.arrived_at_ms, run.columns, run.ids.tobytes(), run.contents.tobytes())
    return msgspec.msgpack.encode((FORMAT, *parts, _checksum(*parts)))


def decode_run(first: str, last: str, packed: bytes) -> IdRun:
    """Unpack what `encode_run` made.

    Raises: CorruptIdLogError when the bytes are of something else, or not all of them are there.
    """
    try:
        layout = tuple[int, int, bytes, bytes, bytes, int]
        version, arrived_at_ms, columns, ids, contents, checksum = msgspec.msgpack.decode(packed, type=layout)
        is_whole = version == FORMAT and checksum == _checksum(arrived_at_ms, columns, ids, contents)
    except msgspec.MsgspecError:
        is_whole = False
    if not is_whole:
        raise CorruptIdLogError(f"the id log's item that ends at {last} cannot be read")
    return IdRun(first, last, arrived_at_ms, columns, array("Q", ids), array("I", contents))


def _checksum(arrived_at_ms: int, columns: bytes, ids: bytes, contents: bytes) -> int:
    return crc32(contents, crc32(ids, crc32(columns, crc32(str(arrived_at_ms).encode()))))


def _pack_columns(records: Sequence[CountedRecord]) -> bytes:
    """Columns of differences: neighbours arrive nearly at once, so most bytes of a column are alike."""
    numbers = [number_at(record.position) for record in records]
    steps = [after - before for before, after in zip([0, *numbers], numbers, strict=False)]
    width = max(1, (max(steps[1:], default=0).bit_length() + 7) // 8)
    columns = msgspec.msgpack.encode(
        (
            str(steps[0]),
            width,
            _by_place(b"".join([step.to_bytes(width, "big") for step in steps[1:]]), width),
            records[0].arrived_at_ms,
            array("q", [record.arrived_at_ms - records[0].arrived_at_ms for record in records]).tobytes(),
            array("I", [record.ids for record in records]).tobytes(),
        )
    )
    return zstandard.ZstdCompressor(level=1).compress(columns)


def _unpack_columns(packed: bytes) -> Iterator[CountedRecord]:
    columns = zstandard.ZstdDecompressor().decompress(packed, max_output_size=COLUMNS_BYTES_MAX)
    layout = tuple[str, int, bytes, int, bytes, bytes]
    number, width, steps, arrived_at_ms, arrivals, ids = msgspec.msgpack.decode(columns, type=layout)
    rows = _by_place(steps, len(steps) // width)
    numbers = accumulate(
        (int.from_bytes(rows[start : start + width], "big") for start in range(0, len(rows), width)),
        initial=int(number),
    )
    for value, delay_ms, count in zip(numbers, array("q", arrivals), array("I", ids), strict=True):
        yield CountedRecord(position_of(value), arrived_at_ms + delay_ms, count)


def _by_place(values: bytes, width: int) -> bytes:
    """Bring together the bytes that stand at the same place of each value: turns rows to columns, and back."""
    return b"".join([values[place::width] for place in range(width)])
