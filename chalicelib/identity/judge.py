"""Which events of a batch were counted before: a function of the stream, never of the clock or of chance.

A duplicate is dropped; an id that was counted shortly before with other content is a dead letter. Ids are remembered
only of events that are counted, so a corrected dead letter can come under its own id.
"""

from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate, compress, repeat

from msgspec import Struct

from chalicelib.identity.memory import LastCounted, ShardIds
from chalicelib.identity.run import CountedRecord, IdRun, make_run
from chalicelib.records.batch import Record
from chalicelib.records.decode import Decoded
from chalicelib.records.fingerprint import joined, lower_halves
from chalicelib.records.rejection import Reason, Refusal, Rejected
from chalicelib.records.stretches import change, placed

CONFLICT = "its id was counted shortly before, with other content"


class Judged(Struct, frozen=True):
    """A batch without its duplicates: what is to be counted of its records, and the fingerprints of that."""

    decoded: Sequence[Decoded]
    ids: "array[int]"
    contents: "array[int]"

    def run_of(self, records: Sequence[Record]) -> IdRun | None:
        """The run of the batch's first records, these; None when none of their events is counted."""
        counted = [
            CountedRecord(record.position, record.arrived_at_ms, ids)
            for record, ids in zip(records, self._ids_by_record(), strict=False)
            if ids
        ]
        if not counted:
            return None
        end = sum([each.ids for each in counted])
        return make_run(counted, self.ids[:end], self.contents[:end])

    def _ids_by_record(self) -> Iterator[int]:
        for each in self.decoded:
            yield from (len(each.texts),) if each.records == 1 else repeat(1, each.records)


def judge(
    known: ShardIds, records: Sequence[Record], decoded: Sequence[Decoded], horizon_ms: int, ids_max: int
) -> Judged:
    """Tell what is to be counted of a batch.

    Shapes: known holds what the shard counted before the batch, and nothing that it counted in it or behind it;
            decoded tells what the records hold, all of them in order.
    """
    ids = joined([each.identities for each in decoded])
    fingerprints = lower_halves(joined([each.contents for each in decoded]))
    different = set(ids)
    if len(different) == len(ids) and known.lacks(different):
        return Judged(decoded, ids, fingerprints)
    last = known.find_last(ids)  # … before the batch; from here on it is kept up, event by event
    suspects = last.keys() | {each for each, times in Counter(ids).items() if times > 1}
    ends = list(accumulate(len(each.texts) for each in decoded))
    starts = [start for start, _ in placed(decoded)]
    dropped: set[int] = set()
    dropped_of: dict[int, list[int]] = defaultdict(list)  # by the record's place
    rejected_of: dict[int, list[Rejected]] = defaultdict(list)
    for place in [place for place, each in enumerate(ids) if each in suspects]:
        number = bisect_right(ends, place)
        held, counted = decoded[number], place - len(dropped)
        index = place - (ends[number] - len(held.texts))
        record_place = starts[number] + (index if held.records > 1 else 0)
        record = records[record_place]
        remembered = [
            each
            for each in last.get(ids[place], ())
            if record.arrived_at_ms - each.arrived_at_ms <= horizon_ms and each.counted_since + counted < ids_max
        ]
        if not remembered:
            # What has been counted of the batch is added whenever this is looked at.
            now = LastCounted(record.arrived_at_ms, record.position, fingerprints[place], -counted - 1)
            last[ids[place]] = [now]
            continue
        dropped.add(place)
        dropped_of[record_place].append(index if held.records == 1 else 0)
        if remembered[0].content != fingerprints[place]:
            refusal = Refusal(Reason.CONFLICTING_DUPLICATE, CONFLICT)
            rejected_of[record_place].append(held.reject(index, refusal, record))
    counted_ones = [place not in dropped for place in range(len(ids))]
    return Judged(
        change(decoded, dropped_of, lambda place, each: each.without(dropped_of[place], rejected_of[place])),
        array("Q", compress(ids, counted_ones)),
        array("I", compress(fingerprints, counted_ones)),
    )
