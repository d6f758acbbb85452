"""Stores in memory, for tests. tests/contract/ holds them to the suites that the real adapters pass.

Where they differ from AWS: they never throttle or time out unless a test says so, and nothing expires but what
MemoryEffects remembers.
"""

import hashlib
import io
from collections.abc import Callable
from contextlib import contextmanager
from itertools import groupby
from threading import RLock

from chalicelib.aggregates.partial import Partial, PartialKey, decompress_groups
from chalicelib.aggregates.rollup import Rollup, WindowKey
from chalicelib.aws.aggregates_keys import alert_sort_key
from chalicelib.aws.letter_objects import LetterWriter, letters_in
from chalicelib.consumers.alert_message import write_alert
from chalicelib.consumers.ports import (
    AlertKey,
    Committed,
    Conflict,
    Done,
    Failed,
    Overtaken,
    Published,
    RaisedAlert,
    Refused,
    Repeated,
    RunsRead,
    StoredLetters,
    ThresholdsRead,
)
from chalicelib.consumers.result_message import MESSAGE_BYTES_MAX
from chalicelib.effects import explain_refusal, result_message
from chalicelib.errors import TransientError
from chalicelib.identity.run import decode_run, encode_run, join_runs, look_back, split_run
from chalicelib.reading.ports import ReadCost, Settled, ShardProgress, StoredShare
from chalicelib.records.letter import REDRIVEN
from chalicelib.records.shard import Shard


class MemoryAggregates:
    """All stores and readers of the aggregates table, in dicts.

    `before_put(put)` runs ahead of each put of a partial or a rollup: it may let another container in, or return an
    error's name to fail the put without effect; `after_put(put)` returning a name fails it after its effect.
    """

    def __init__(self):
        self.partials: dict[PartialKey, Partial] = {}
        self.rollups: dict[WindowKey, Rollup] = {}
        self.settled: dict[tuple[str, str], Settled] = {}
        self.progress: dict[tuple[str, str], tuple[str, str, int]] = {}
        self.puts = 0
        self.lock = RLock()
        self.before_put: Callable = lambda put: None
        self.after_put: Callable = lambda put: None
        self.refuse_progress = False

    def put_partials(self, puts, timeout_ms):
        return [self._put(put) if timeout_ms else Failed("out of time") for put in puts]

    def _put(self, put):
        with self.lock:
            return self._put_alone(put)

    def _put_alone(self, put):
        if error := self.before_put(put):
            return Failed(error)
        self.puts += 1
        standing = self.partials.get(put.key)
        if (standing.checkpoint if standing else None) != put.built_on:
            return Conflict(standing)
        self.partials[put.key] = put.partial
        if error := self.after_put(put):
            return Failed(error)
        return Committed(1.0)

    def read_rollups(self, keys, timeout_ms):
        if not timeout_ms:
            raise TransientError("out of time")
        with self.lock:
            return {key: self.rollups[key] for key in keys if key in self.rollups}

    def put_rollups(self, puts, timeout_ms):
        return [self._put_rollup(put) if timeout_ms else Failed("out of time") for put in puts]

    def _put_rollup(self, put):
        with self.lock:
            if error := self.before_put(put):
                return Failed(error)
            standing = self.rollups.get(put.key)
            if (standing.revision if standing else None) != put.built_on:
                return Overtaken()
            self.rollups[put.key] = put.rollup
            if error := self.after_put(put):
                return Failed(error)
            return Committed(1.0)

    def read_shares(self, plans, take, timeout_ms):
        if not timeout_ms:
            raise TransientError("out of time")
        with self.lock:
            found = [(plan, share) for plan in plans for share in self._shares_of(plan)]
        for plan, share in found:
            take(plan, share)
        return ReadCost(len(found), len(found) / 2)

    def _shares_of(self, plan):
        metric = plan.metric
        if plan.step_ms == metric.window_ms:
            for key, partial in self.partials.items():
                is_planned = key.metric == metric.name and key.partition in plan.partitions
                if is_planned and plan.start_ms <= key.window_start_ms < plan.end_ms:
                    yield StoredShare(key.partition, key.window_start_ms, partial.version, partial.groups)
            return
        for key, rollup in self.rollups.items():
            is_planned = (key.metric, key.step_ms) == (metric.name, plan.step_ms) and key.bucket in plan.partitions
            if is_planned and plan.start_ms <= key.window_start_ms < plan.end_ms:
                groups = None if rollup.packed is None else decompress_groups(metric, rollup.packed)
                yield StoredShare(key.bucket, key.window_start_ms, rollup.revision, groups)

    def first_window(self, metric, timeout_ms):
        return min((key.window_start_ms for key in self.partials if key.metric == metric.name), default=None)

    def advance_settled(self, purpose, subject, built_on, settled, timeout_ms):
        if not timeout_ms:
            raise TransientError("out of time")
        if self.settled.get((purpose, subject)) != built_on:
            return False
        self.settled[purpose, subject] = settled
        return True

    def read_settled(self, purpose, timeout_ms):
        if not timeout_ms:
            raise TransientError("out of time")
        return {subject: settled for (of, subject), settled in self.settled.items() if of == purpose}

    def read_progress(self, stream, timeout_ms):
        return [ShardProgress(shard, *known[1:]) for (of, shard), known in self.progress.items() if of == stream]

    def advance(self, stream, shard_id, last, timeout_ms):
        if self.refuse_progress or not timeout_ms:
            raise TransientError("ProvisionedThroughputExceededException")
        known = self.progress.get((stream, shard_id))
        if known is None or known[0] < last.position:
            self.progress[stream, shard_id] = (last.position, last.sequence_number, last.arrived_at_ms)
        return 1.0


class MemoryAlerts:
    """The store and the reader of alerts, in a dict by key. `refused` fails the puts of these alerts."""

    def __init__(self):
        self.alerts: dict[AlertKey, RaisedAlert] = {}
        self.lock = RLock()
        self.puts = 0
        self.refused = set()

    def put_alerts(self, alerts, timeout_ms):
        return [self._put(alert) if timeout_ms else Failed("out of time") for alert in alerts]

    def read_alerts(self, keys, timeout_ms):
        if not timeout_ms:
            raise TransientError("out of time")
        return {key: write_alert(self.alerts[key]) for key in keys if key in self.alerts}

    def _put(self, alert):
        if alert.alert in self.refused:
            return Failed("ThrottlingException")
        with self.lock:
            self.puts += 1
            key = AlertKey(alert.alert, alert_sort_key(alert.window_start_ms, alert.id))
            if key in self.alerts:
                return Repeated()
            self.alerts[key] = alert
            return Committed(1.0)


class MemoryThresholds:
    """The thresholds set at run time, in a dict of texts by alert; `asked` is how often they were read."""

    def __init__(self):
        self.texts = {}
        self.error = None
        self.asked = 0

    def read_thresholds(self, timeout_ms):
        self.asked += 1
        return ThresholdsRead(dict(self.texts), self.error)


class MemoryDeadLetters:
    """The dead letter store, in a dict by (stream, shard, sequence number). `refused` fails those sequence numbers."""

    def __init__(self):
        self.objects = {}
        self.refused = set()

    def put_dead_letters(self, stream, shard_id, rejected, timeout_ms):
        failed = {}
        for place, (record, pieces) in rejected.items():
            if not timeout_ms or record.sequence_number in self.refused:
                failed[place] = "SlowDown"
            else:
                self.objects[stream, shard_id, record.sequence_number] = list(pieces)
        return failed


class MemoryIds:
    """The id log, in a dict by (writer, position of the last record covered, part).

    `refuses` fails puts without effect. A run with more ids than `ids_an_item` takes several; whoever wants faults
    between them puts them one by one.
    """

    def __init__(self, ids_an_item=10_000):
        self.items = {}
        self.ids_an_item = ids_an_item
        self.refuses = False

    def read_back(self, writer, *, before, since_ms, ids_max, timeout_ms):
        if not timeout_ms:
            raise TransientError("out of time")
        lasts = [last for last in reversed(self._lasts(writer)) if before is None or last < before]
        runs, read_since_ms = look_back((self._run(writer, last) for last in lasts), since_ms, ids_max)
        return RunsRead(runs, self._spanning(writer, before), read_since_ms)

    def read_on(self, writer, *, after, before, timeout_ms):
        if not timeout_ms:
            raise TransientError("out of time")
        runs = [self._run(writer, last) for last in self._lasts(writer) if after < last < before]
        return RunsRead(runs, self._spanning(writer, before))

    def put_run(self, writer, run, timeout_ms):
        if not timeout_ms or self.refuses:
            raise TransientError("out of time")
        for item in self.items_of(run):
            self.put_item(writer, *item)
        return 1.0

    def items_of(self, run):
        """What `put_item` takes, in the order in which they must be put."""
        for last, parts in groupby(split_run(run, self.ids_an_item), key=lambda part: part.last):
            yield from ((last, number, part) for number, part in enumerate(parts))

    def put_item(self, writer, last, number, part):
        standing = self.items.get((writer, last, number))
        if standing is None or standing[0] > part.first:
            self.items[writer, last, number] = (part.first, encode_run(part))

    def _lasts(self, writer):
        return sorted({last for of, last, _ in self.items if of == writer})

    def _run(self, writer, last):
        numbers = sorted(number for of, at, number in self.items if (of, at) == (writer, last))
        items = [self.items[writer, last, number] for number in numbers]
        return join_runs([decode_run(first, last, packed) for first, packed in items])

    def _spanning(self, writer, before):
        last = next((last for last in self._lasts(writer) if before is not None and last >= before), None)
        run = self._run(writer, last) if last else None
        return run if run and run.first < before else None


class MemoryShards:
    """A stream's list of shards; one that was never heard of is listed too, unless `shards` says what there is."""

    def __init__(self, *shards):
        self.shards = list(shards)

    def list_shards(self, timeout_ms):
        if not timeout_ms:
            raise TransientError("out of time")
        return self.shards or [Shard(f"shardId-{number:012d}", is_open=True) for number in range(9)]


class MemoryEffects:
    """The effect runner, in a dict by effect identity; `published` is what its handlers told the results.

    `before_act(effect)` runs ahead of each effect, and may return an error's name to fail it without a trace;
    `after_act(effect)` returning a name fails it after it was carried out and before its success is recorded: it stays
    in progress, as it does when a handler or a hook raises what is no Exception (a kill). Units: milliseconds.
    """

    def __init__(self, clock_ms=lambda: 0, *, remember_ms=8 * 86_400_000, invocation_ms=60_000):
        self.records: dict[tuple[str, str, str], tuple[str, int]] = {}  # what it is, and until when
        self.published = []
        self.clock_ms = clock_ms
        self.remember_ms = remember_ms
        self.invocation_ms = invocation_ms
        self.lock = RLock()
        self.before_act: Callable = lambda effect: None
        self.after_act: Callable = lambda effect: None

    def run_all(self, effects, timeout_ms):
        return [self._run(effect) if timeout_ms else Failed("out of time") for effect in effects]

    def publish(self, kind, message_id, message):
        self.published.append(result_message(kind, message_id, message))

    def _run(self, effect):
        if error := self.before_act(effect):
            return Failed(error)
        with self.lock:
            state, until_ms = self.records.get(effect.identity, (None, 0))
            if state and self.clock_ms() <= until_ms:
                return Done() if state == "completed" else Failed("already in progress")
            self.records[effect.identity] = ("in progress", self.clock_ms() + self.invocation_ms)
        try:
            effect.handler.act(effect.event, self)
        except Exception as error:  # noqa: BLE001  as the real one: whatever a handler raises
            self._forget(effect)
            return Failed(str(error)) if isinstance(error, TransientError) else Refused(explain_refusal(error))
        if error := self.after_act(effect):
            return Failed(error)
        self.records[effect.identity] = ("completed", self.clock_ms() + self.remember_ms)
        return Done()

    def _forget(self, effect):
        with self.lock:
            if self.records[effect.identity][0] == "in progress":
                del self.records[effect.identity]


class MemoryLetterObjects:
    """The objects that hold dead letters, by key, as the bytes that S3 would hold.

    `on_call(name, is_done)` runs before each call and, once it has taken effect, after it; what it raises is raised.
    """

    def __init__(self):
        self.objects: dict[str, bytes] = {}
        self.on_call: Callable = lambda name, is_done: None

    def read_letters(self, key, version=None):
        with self._call("read"):
            data = self.objects.get(key)
            if version is not None and (data is None or _version(data) != version):
                raise TransientError("PreconditionFailed")
            return None if data is None else StoredLetters(_version(data), letters_in(io.BytesIO(data)))

    def read_accepted(self, key):
        return self.read_letters(REDRIVEN + key)

    @contextmanager
    def accepting(self, key):
        yield _MemoryAccepted(self, REDRIVEN + key)

    def append(self, key, member):
        with self._call("save"):
            self.objects[key] = self.objects.get(key, b"") + member

    def move(self, key, version):
        with self._call("copy"):
            self._check(key, version)
            self.objects[REDRIVEN + key] = self.objects[key]
        self.remove(key, version)

    def remove(self, key, version):
        with self._call("remove"):
            self._check(key, version)
            del self.objects[key]

    def list_keys(self, prefix, after=None):
        with self._call("list"):
            keys = sorted(key for key in self.objects if key.startswith(prefix) and (after is None or key > after))
        yield from batched_lists(keys, 2)

    def _check(self, key, version):
        if key not in self.objects or _version(self.objects[key]) != version:
            raise TransientError("PreconditionFailed")

    @contextmanager
    def _call(self, name):
        self.on_call(name, is_done=False)
        yield
        self.on_call(name, is_done=True)


class _MemoryAccepted:
    def __init__(self, objects, key):
        self._objects, self._key = objects, key
        self._file = io.BytesIO()
        self._writer = LetterWriter(self._file)

    def add(self, letter):
        self._writer.write(letter)

    def save(self):
        self._writer.close()
        if self._writer.count:
            self._objects.append(self._key, self._file.getvalue())


class MemoryStream:
    """A stream that keeps what it takes. `refuse(records)` gives the places that it does not take, or raises."""

    def __init__(self):
        self.records = []
        self.refuse: Callable = lambda records: ()

    def put_records(self, records, timeout_ms):
        if not timeout_ms:
            raise TransientError("out of time")
        refused = set(self.refuse(records))
        self.records += [record for place, record in enumerate(records) if place not in refused]
        return sorted(refused)


class MemoryTopic:
    """A topic that keeps what it takes; it refuses what is too large, as SNS does.

    `judge(message)` may give another outcome than Published; with `loses_answer` the message was taken all the same.
    """

    def __init__(self):
        self.messages = []
        self.judge: Callable = lambda message: None
        self.loses_answer = False

    def publish_messages(self, messages, timeout_ms):
        return [self._publish(message) if timeout_ms > 0 else Failed("out of time") for message in messages]

    def _publish(self, message):
        if message.payload_bytes > MESSAGE_BYTES_MAX:
            return Refused("InvalidParameter: Message too long")
        outcome = self.judge(message)
        if outcome is None or self.loses_answer:
            self.messages.append(message)
        return outcome or Published()


class MemoryQueue:
    """A queue that keeps the bodies of what it is sent."""

    def __init__(self):
        self.bodies = []

    def send_messages(self, bodies, timeout_ms):
        if not timeout_ms:
            raise TransientError("out of time")
        self.bodies += bodies


def batched_lists(items, size):
    return [items[start : start + size] for start in range(0, len(items), size)]


def _version(data):
    return hashlib.md5(data).hexdigest()  # noqa: S324  as S3 does
