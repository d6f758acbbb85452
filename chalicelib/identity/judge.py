"""Which events of a batch were counted before: a function of the stream, never of the clock or of chance.

A duplicate is dropped; an id that was counted shortly before with other content is a dead letter. Ids are remembered
only of events that are counted, so a corrected dead letter can come under its own id.
"""

from array import array
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import accumulate, compress

from msgspec import Struct

from chalicelib.identity.memory import LastCounted, ShardIds
from chalicelib.identity.run import CountedRecord, IdRun, make_run
from chalicelib.records.batch import Record
from chalicelib.records.decode import Decoded
from chalicelib.records.fingerprint import joined, lower_halves
from chalicelib.records.rejection import Reason, Refusal, Rejected

CONFLICT = "its id was counted shortly before, with other content"


class Judged(Struct, frozen=True):
    """A batch without its duplicates: what is to be counted of each record, and the fingerprints of that."""

    decoded: Sequence[Decoded]
    ids: "array[int]"
    contents: "array[int]"

    def run_of(self, records: Sequence[Record]) -> IdRun | None:
        """The run of the batch's first records, these; None when none of their events is counted."""
        counted = [
            CountedRecord(record.position, record.arrived_at_ms, len(decoded.texts))
            for record, decoded in zip(records, self.decoded, strict=False)
            if decoded.texts
        ]
        if not counted:
            return None
        end = sum([each.ids for each in counted])
        return make_run(counted, self.ids[:end], self.contents[:end])


def judge(
    known: ShardIds, records: Sequence[Record], decoded: Sequence[Decoded], horizon_ms: int, ids_max: int
) -> Judged:
    """Tell what is to be counted of a batch.

    Shapes: known holds what the shard counted before the batch, and nothing that it counted in it or behind it;
            decoded[i] is what records[i] holds.
    """
    ids = joined([each.identities for each in decoded])
    fingerprints = lower_halves(joined([each.contents for each in decoded]))
    different = set(ids)
    if len(different) == len(ids) and known.lacks(different):
        return Judged(decoded, ids, fingerprints)
    last = known.find_last(ids)  # … before the batch; from here on it is kept up, event by event
    suspects = last.keys() | {each for each, times in Counter(ids).items() if times > 1}
    ends = list(accumulate(len(each.texts) for each in decoded))
    dropped: set[int] = set()
    dropped_of: dict[int, list[int]] = defaultdict(list)
    rejected_of: dict[int, list[Rejected]] = defaultdict(list)
    for place in [place for place, each in enumerate(ids) if each in suspects]:
        number = bisect_right(ends, place)
        record, counted = records[number], place - len(dropped)
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
        place_in_record = place - (ends[number] - len(decoded[number].texts))
        dropped_of[number].append(place_in_record)
        if remembered[0].content != fingerprints[place]:
            refusal = Refusal(Reason.CONFLICTING_DUPLICATE, CONFLICT)
            rejected_of[number].append(decoded[number].reject(place_in_record, refusal, record))
    counted_ones = [place not in dropped for place in range(len(ids))]
    return Judged(
        [
            each.without(dropped_of[number], rejected_of[number]) if number in dropped_of else each
            for number, each in enumerate(decoded)
        ],
        array("Q", compress(ids, counted_ones)),
        array("I", compress(fingerprints, counted_ones)),
    )
