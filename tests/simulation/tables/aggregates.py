"""The aggregates table in memory: every change of it is told on its stream, and some changes must never be.

It holds what consumers put against what must be true at that moment: a window that is settled changes no more, and is
in its rollups; revisions and positions go forward.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from random import Random
from typing import Any
from zlib import crc32

from chalicelib.aggregates.metric import Metric
from chalicelib.aggregates.partial import decompress_groups
from chalicelib.aggregates.rollup import Rollup, WindowKey
from chalicelib.aws.aggregates_keys import PROGRESS, SETTLED, alert_partition_key, share_partition_key, share_sort_key
from chalicelib.reading.plans import Span, plan_span
from chalicelib.reading.ports import ROLLUPS, StoredShare
from tests.fakes import MemoryAggregates, MemoryAlerts
from tests.simulation.tables.age import is_old
from tests.simulation.tables.oracle import Groups, merged
from tests.simulation.tables.reading import Shard, Told
from tests.simulation.tables.sources import BY_TTL
from tests.simulation.tables.stage import Stage

ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/highwater-test-aggregates/stream/2026-11-24T00:00"


class Shelves(dict):
    """A dict of items that are found by partition, too; `partition_of` tells a key's."""

    def __init__(self, partition_of: Callable[[Any], Any]) -> None:
        super().__init__()
        self._partition_of = partition_of
        self._shelves: dict[Any, dict[Any, Any]] = defaultdict(dict)

    def shelf(self, partition: Any) -> Mapping[Any, Any]:
        return self._shelves[partition]

    def __setitem__(self, key: Any, item: Any) -> None:
        super().__setitem__(key, item)
        self._shelves[self._partition_of(key)][key] = item

    def __delitem__(self, key: Any) -> None:
        super().__delitem__(key)
        del self._shelves[self._partition_of(key)][key]


class AggregatesTable(MemoryAggregates):
    """The table. `now_ms` is the world's clock."""

    def __init__(self, stage: Stage, shards: int, now_ms: Any) -> None:
        super().__init__()
        self.partials = Shelves(lambda key: (key.metric, key.partition))
        self.rollups = Shelves(lambda key: (key.metric, key.step_ms, key.bucket))
        self._stage = stage
        self._now_ms = now_ms
        self._unpacked: dict[bytes, Groups] = {}
        self._told = 0
        self.alerts = MemoryAlerts()
        self.shards = [Shard(f"aggregates-{number}") for number in range(shards)]

    def _shares_of(self, plan):
        """As the fake has it, but that only the partitions asked for are gone through."""
        metric, is_rollup = plan.metric, plan.metric.is_rollup(plan.step_ms)
        for partition in plan.partitions:
            if is_rollup:
                items = self.rollups.shelf((metric.name, plan.step_ms, partition))
            else:
                items = self.partials.shelf((metric.name, partition))
            for key, item in items.items():
                if plan.start_ms <= key.window_start_ms < plan.end_ms:
                    if is_rollup:
                        yield StoredShare(partition, key.window_start_ms, item.revision, self._unpack(metric, item))
                    else:
                        yield StoredShare(partition, key.window_start_ms, item.version, item.groups)

    # ── what the table tells ──

    def _tell(self, partition_key: str, sort_key: str, event_name: str, **more: Any) -> None:
        self._told += 1
        number = str(10**20 + self._told)
        record = {
            "eventID": f"item-{self._told}",
            "eventName": event_name,
            "eventVersion": "1.1",
            "eventSource": "aws:dynamodb",
            "awsRegion": "us-east-1",
            "dynamodb": {
                "ApproximateCreationDateTime": self._now_ms() // 1_000,
                "Keys": {"pk": {"S": partition_key}, "sk": {"S": sort_key}},
                "SequenceNumber": number,
                "SizeBytes": 99,
                "StreamViewType": "KEYS_ONLY",
            },
            "eventSourceARN": ARN,
            **more,
        }
        shard = self.shards[crc32(partition_key.encode()) % len(self.shards)]
        shard.records.append(Told(number, self._now_ms(), record))

    def _put_alone(self, put):
        key, before = put.key, self.partials.get(put.key)
        outcome = super()._put_alone(put)
        if (after := self.partials.get(key)) is not before:
            metric = self._metric(key.metric)
            assert not self._is_settled(metric, key.window_start_ms + metric.window_ms), "a settled window changed"
            assert before is None or before.checkpoint < after.checkpoint, "a checkpoint went back"
            pk = share_partition_key(metric, metric.window_ms, key.partition)
            self._tell(pk, share_sort_key(key.window_start_ms, key.writer), "MODIFY" if before else "INSERT")
        return outcome

    def _put_rollup(self, put):
        key, before = put.key, self.rollups.get(put.key)
        outcome = super()._put_rollup(put)
        if (after := self.rollups.get(key)) is not before:
            metric = self._metric(key.metric)
            assert before is None or before.revision < after.revision, "a rollup's revision went back"
            if before and metric.event_type == "order.placed":
                was, now = self._unpack(metric, before), self._unpack(metric, after)
                assert all(states[0] <= now.get(group, (0,))[0] for group, states in was.items()), "a rollup went back"
            assert not self._is_settled(metric, key.window_end_ms), "a settled rollup changed"
            pk = share_partition_key(metric, key.step_ms, key.bucket)
            self._tell(pk, share_sort_key(key.window_start_ms), "MODIFY" if before else "INSERT")
        return outcome

    def advance_settled(self, purpose, subject, built_on, settled, timeout_ms):
        before = self.settled.get((purpose, subject))
        advanced = super().advance_settled(purpose, subject, built_on, settled, timeout_ms)
        if advanced:
            assert before is None or before.until_ms < settled.until_ms, "what is settled went back"
            if purpose == ROLLUPS:
                metric = next(metric for metric in self._stage.metrics if metric.layout == subject)
                self._check_rollups(metric, before.until_ms if before else settled.from_ms, settled.until_ms)
            self._tell(f"{SETTLED}#{purpose}", subject, "MODIFY" if before else "INSERT")
        return advanced

    def advance(self, stream, shard_id, last, timeout_ms):
        cost = super().advance(stream, shard_id, last, timeout_ms)
        self._tell(f"{PROGRESS}#{stream}#0", shard_id, "MODIFY")
        return cost

    def put_alerts(self, alerts, timeout_ms):
        before = dict(self.alerts.alerts)
        outcomes = self.alerts.put_alerts(alerts, timeout_ms)
        for key, alert in self.alerts.alerts.items():
            assert before.get(key, alert) is alert, "an alert that was raised is another now"
            if key not in before:
                self._tell(alert_partition_key(key.alert), key.occasion, "INSERT")
        return outcomes

    def expire(self, chance: Random) -> bool:
        """Let one of the old items expire, if there is one."""
        items = [(table, key) for table in (self.partials, self.rollups) for key in sorted(table) if is_old(key)]
        if not items:
            return False
        table, key = chance.choice(items)
        del table[key]
        metric = self._metric(key.metric)
        if isinstance(key, WindowKey):
            keys = share_partition_key(metric, key.step_ms, key.bucket), share_sort_key(key.window_start_ms)
        else:
            pk = share_partition_key(metric, metric.window_ms, key.partition)
            keys = pk, share_sort_key(key.window_start_ms, key.writer)
        self._tell(*keys, "REMOVE", **BY_TTL)
        return True

    # ── what must hold ──

    def stored(self, metric: Metric, step_ms: int, only_ms: int | None = None) -> dict[int, Groups]:
        """What base windows hold, in windows of this size or in the one that begins then, over writers and buckets."""
        shares: dict[int, list[Groups]] = {}
        for key, partial in self.partials.items():
            if key.metric == metric.name and not is_old(key):
                start_ms = key.window_start_ms - key.window_start_ms % step_ms
                if only_ms in (None, start_ms):
                    shares.setdefault(start_ms, []).append(partial.groups)
        return {start_ms: merged(metric, groups) for start_ms, groups in shares.items()}

    def rolled_up(self, metric: Metric, step_ms: int, only_ms: int | None = None) -> dict[int, Groups]:
        """What the rollups of this size hold, or the one that begins then, merged over buckets."""
        shares: dict[int, list[Groups]] = {}
        for key, rollup in self.rollups.items():
            is_asked_for = only_ms in (None, key.window_start_ms) and not is_old(key)
            if (key.metric, key.step_ms) == (metric.name, step_ms) and is_asked_for:
                shares.setdefault(key.window_start_ms, []).append(self._unpack(metric, rollup))
        return {start_ms: merged(metric, groups) for start_ms, groups in shares.items()}

    def number_in(self, metric: Metric, window: WindowKey, step_ms: int) -> int:
        """How many events the windows of this size hold together that lie in a window of one bucket."""
        plan = plan_span(metric, Span(step_ms, window.window_start_ms, window.window_end_ms), [window.bucket])
        return sum(states[0] for share in self._shares_of(plan) for states in share.groups.values())

    def _check_rollups(self, metric: Metric, start_ms: int, end_ms: int) -> None:
        """What ends in `(start_ms, end_ms]` is in its rollups as it is in its base windows."""
        for step_ms in metric.steps_ms[1:]:
            stored, rolled_up = self.stored(metric, step_ms), self.rolled_up(metric, step_ms)
            for window_start_ms in {*stored, *rolled_up}:
                if start_ms < window_start_ms + step_ms <= end_ms:
                    is_same = stored.get(window_start_ms) == rolled_up.get(window_start_ms)
                    assert is_same, "a rollup was settled that is not what its windows are"

    def _is_settled(self, metric: Metric, window_end_ms: int) -> bool:
        settled = self.settled.get((ROLLUPS, metric.layout))
        if settled is None:
            return False
        return settled.from_ms < window_end_ms <= settled.until(self._stage.lateness_ms(metric.event_type))

    def _unpack(self, metric: Metric, rollup: Rollup) -> Groups:
        if rollup.packed not in self._unpacked:
            self._unpacked[rollup.packed] = decompress_groups(metric, rollup.packed)
        return self._unpacked[rollup.packed]

    def _metric(self, name: str) -> Metric:
        return self._stage.catalog.metrics[name]
