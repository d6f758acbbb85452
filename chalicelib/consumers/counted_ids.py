"""The ids that shards have counted, as this container remembers them and as the id log has them.

Four rules make every attempt at a batch decide alike; docs/guarantees.md says what goes wrong without each:
  1. a batch is judged by what was counted before it, never by what an earlier attempt at it has left behind;
  2. before every batch the log is read on from what this container knows: another one may have worked on the shard;
  3. a run is keyed by the last record that it covers, and never narrows what stands there;
  4. the run of a prefix is durable before the prefix is acknowledged, and covers nothing beyond it.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from chalicelib.consumers.ports import IdLog, RunsRead
from chalicelib.errors import TransientError
from chalicelib.identity.judge import Judged, judge
from chalicelib.identity.memory import ShardIds
from chalicelib.identity.run import IdRun, join_runs
from chalicelib.reading.ports import ShardLister
from chalicelib.records.batch import Batch, writer_of
from chalicelib.records.decode import Decoded
from chalicelib.records.shard import Shard

IDS_MAX = 2_000_000  # looked back on in one shard: some 2 200 events a second within the default horizon …
IDS_HELD_MAX = 3_000_000  # … and held by one container: some 300 MB, measured
SLACK_MS = 60_000  # read and kept beyond the horizon: arrivals are stamped approximately, and a batch may come again


class CountedIds:
    """What this container knows of the ids counted. One object a container.

    Units: horizon_ms is arrival time.
    """

    def __init__(
        self,
        log: IdLog,
        shards: ShardLister,
        horizon_ms: int,
        ids_max: int = IDS_MAX,
        ids_held_max: int = IDS_HELD_MAX,
    ) -> None:
        self._log = log
        self._shards = shards
        self._horizon_ms = horizon_ms
        self._ids_max = ids_max
        self._ids_held_max = ids_held_max
        self._listed: dict[str, Shard] = {}
        self._known: OrderedDict[str, ShardIds] = OrderedDict()  # by writer, the one used last at the end
        self._spanning: dict[str, IdRun] = {}  # by writer, of the batch that is worked on

    @property
    def held(self) -> int:
        """How many ids are in memory."""
        return sum(known.size for known in self._known.values())

    def shard(self, shard_id: str, timeout_ms: int) -> Shard:
        """The shard as the stream lists it; what is asked for of it never changes.

        Raises: TransientError when the stream does not list it, or did not answer in time.
        """
        if shard_id not in self._listed:
            self._listed = {shard.shard_id: shard for shard in self._shards.list_shards(timeout_ms)}
        if shard_id not in self._listed:
            raise TransientError("shard is not listed")
        return self._listed[shard_id]

    def judge(self, batch: Batch, decoded: Sequence[Decoded], time_left_ms: Callable[[], int]) -> Judged:
        """Tell what is to be counted of a batch.

        Raises: TransientError when what was counted before cannot be read in time; CorruptIdLogError.
        """
        known = self._before(batch, time_left_ms)
        return judge(known, batch.records, decoded, self._horizon_ms, self._ids_max)

    def remember(self, batch: Batch, judged: Judged, done: int, timeout_ms: int) -> tuple[float, int]:
        """Log what was counted of the batch's first `done` records, so that they can be acknowledged.

        Returns: the write units that it took, and how many ids were forgotten for their number alone.
        Raises: TransientError when it is not known to be durable.
        """
        records = batch.records[:done]
        known, write_units = self._known[batch.writer], 0.0
        run = judged.run_of(records)
        if run is not None:
            # What spanned the batch's beginning goes along, so that whoever begins in here finds it under one key.
            head = self._spanning.get(batch.writer)
            write_units = self._log.put_run(batch.writer, join_runs([head, run]) if head else run, timeout_ms)
            known.add(run)
        known.knows_all_until(records[-1].position)
        newest_ms = max(record.arrived_at_ms for record in records)
        return write_units, known.forget(newest_ms - self._horizon_ms - SLACK_MS, self._ids_max)

    def _before(self, batch: Batch, time_left_ms: Callable[[], int]) -> ShardIds:
        """All that was counted before the batch, and nothing else."""
        first = batch.records[0].position
        needed_ms = min(record.arrived_at_ms for record in batch.records) - self._horizon_ms
        known = self._known.pop(batch.writer, None)
        if known is not None:
            known = known.cut(first)
        if known is None or known.until is None or not known.reaches_back(needed_ms, self._ids_max):
            known, spanning = self._load(batch, first, needed_ms - SLACK_MS, time_left_ms)
        else:
            read = self._log.read_on(batch.writer, after=known.until, before=first, timeout_ms=time_left_ms())
            spanning = read.spanning
            for run in read.runs:
                known.add(run)
        head = spanning.between(None, first) if spanning else None
        if head is None:
            self._spanning.pop(batch.writer, None)
        else:
            known.add(head)
            self._spanning[batch.writer] = head
        self._known[batch.writer] = known
        while len(self._known) > 1 and self.held > self._ids_held_max:
            self._known.popitem(last=False)
        return known

    def _load(
        self, batch: Batch, before: str, since_ms: int, time_left_ms: Callable[[], int]
    ) -> tuple[ShardIds, IdRun | None]:
        """Read a shard's ids, its ancestors' where its own do not reach back far enough, and what spans `before`."""
        loaded: dict[str, ShardIds] = {}  # an ancestor may be one by several ways

        def read(shard_id: str, before: str | None) -> RunsRead:
            limits = {"since_ms": since_ms, "ids_max": self._ids_max, "timeout_ms": time_left_ms()}
            return self._log.read_back(writer_of(batch.stream, shard_id), before=before, **limits)

        def inherited(shard_id: str, since_ms: int | None) -> list[ShardIds]:
            parents = self.shard(shard_id, time_left_ms()).parents if since_ms is None else ()
            for parent in parents:
                if parent in self._listed and parent not in loaded:
                    of_parent = read(parent, None)
                    loaded[parent] = ShardIds(of_parent.runs, inherited(parent, of_parent.since_ms), of_parent.since_ms)
            return [loaded[parent] for parent in parents if parent in loaded]

        own = read(batch.shard_id, before)
        return ShardIds(own.runs, inherited(batch.shard_id, own.since_ms), own.since_ms), own.spanning
