"""Fan-out: each window that has changed is told to whoever subscribed to the results, after it was stored.

For each window that a batch of changes touches, once however often it is touched, all that is stored of it is read and
published whole. A change comes on the table's stream only once it stands in the table, so a message never tells what
is not stored. The first change of which any message is not known to be published is the checkpoint: a message may come
twice, and then has the same id, or is followed by one with a higher revision. docs/guarantees.md, "Results".
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial as bind
from typing import Any

from msgspec import Struct, field

from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.rollup import WindowKey
from chalicelib.consumers.cut import cut
from chalicelib.consumers.ports import AlertKey, AlertReader, Message, StoredChange, WindowWatch
from chalicelib.consumers.publish import Publish, PublishReport, Sending
from chalicelib.consumers.response import deliver_again
from chalicelib.consumers.result_message import write_window
from chalicelib.errors import TransientError
from chalicelib.reading.completeness import complete_until
from chalicelib.reading.merged import MetricWindow, read_windows
from chalicelib.reading.ports import ProgressReader, ShardLister, ShareReader

RESERVE_MS = 1_000  # kept back of the invocation's time to answer
WINDOWS_AT_ONCE = 64  # read, merged and published together, with their alerts …
GROUPS_AT_ONCE = 128_000  # … or fewer, if they may hold more than this: some 100 MB with their rows

UNKNOWN_MS, NEVER_MS = -(2**63), 2**63  # before and behind every instant

Subject = MetricWindow | AlertKey


class FanOutReport(Struct):
    """What became of one batch of changes, for the answer, the metrics and the log."""

    changes: int = 0
    ignored: int = 0
    windows: int = 0
    alerts: int = 0
    results: PublishReport = field(default_factory=PublishReport)
    failed_sequence_number: str | None = None
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def response(self) -> dict[str, Any]:
        """The answer that Lambda expects: the change from which to retry, if any."""
        return deliver_again([self.failed_sequence_number])


class FanOut:
    """The consumer that publishes results. Stateless once made.

    Shapes: stream names the events stream, whose completeness says what is final. watch and alerts, where there are
            any, are shown the windows, and read what is to be published of alerts; watched names the metrics that watch
            looks at, published or not.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        stage_lateness_ms: int,
        stream: str,
        shares: ShareReader,
        shards: ShardLister,
        progress: ProgressReader,
        publish: Publish,
        clock_ms: Callable[[], int],
        watch: WindowWatch | None = None,
        watched: Collection[str] = (),
        alerts: AlertReader | None = None,
    ) -> None:
        self._catalog = catalog
        self._stage_lateness_ms = stage_lateness_ms
        self._stream = stream
        self._shares = shares
        self._shards = shards
        self._progress = progress
        self._publish = publish
        self._clock_ms = clock_ms
        self._watch = watch
        self._told_of = catalog.told_of(watched)
        self._alerts = alerts

    def __call__(self, changes: Sequence[StoredChange], remaining_ms: Callable[[], int]) -> FanOutReport:
        """Publish what a batch of changes comes to.

        Returns: the report, whose `response` is the answer for Lambda. Nothing behind the checkpoint's chunk is
                published, for it comes again anyhow.
        Raises: DefinitionChangedError; the whole batch is then delivered again.
        """
        report = FanOutReport(changes=len(changes))
        first_place: dict[Subject, int] = {}
        for place, change in enumerate(changes):
            if key := self._subject_of(change):
                first_place.setdefault(key, place)
            else:
                report.ignored += 1
        numbers = {key: changes[place].sequence_number for key, place in first_place.items()}
        failed = self._fan_out_all(numbers, bind(_time_left, remaining_ms), report)
        if failed:
            report.failed_sequence_number = changes[min(first_place[key] for key in failed)].sequence_number
        return report

    def _subject_of(self, change: StoredChange) -> Subject | None:
        """What a change is a change of; None of nothing that anybody is told of, and of what is declared no more."""
        key = change.key
        if not isinstance(key, WindowKey):
            return key
        metric = self._catalog.metrics.get(key.metric)
        if metric is None or key.step_ms not in metric.steps_ms:
            return None
        return MetricWindow(key.metric, key.step_ms, key.window_start_ms) if key.metric in self._told_of else None

    def _fan_out_all(
        self, numbers: Mapping[Subject, str], time_left_ms: Callable[[], int], report: FanOutReport
    ) -> Collection[Subject]:
        """Publish these, some at a time. Returns: those of the first ones that failed; those behind come again."""
        failed: Collection[Subject] = numbers
        try:
            # Before any share is read: what is complete by then is in the shares read after it.
            complete_until_ms = self._complete_until(numbers, time_left_ms)
            for some in cut(numbers, self._groups_in, WINDOWS_AT_ONCE, GROUPS_AT_ONCE):
                failed = some
                failed = self._fan_out(some, numbers, complete_until_ms, time_left_ms, report)
                if failed:
                    break
        except TransientError as error:
            report.errors[str(error)] += 1
        return failed

    def _fan_out(
        self,
        subjects: Sequence[Subject],
        numbers: Mapping[Subject, str],
        complete_until_ms: int,
        time_left_ms: Callable[[], int],
        report: FanOutReport,
    ) -> set[Subject]:
        """Publish these together. Returns: those that are not known to be published.

        Raises: TransientError when they cannot be read in time.
        """
        windows = [subject for subject in subjects if isinstance(subject, MetricWindow)]
        keys = [subject for subject in subjects if isinstance(subject, AlertKey)]

        def is_final(window: MetricWindow) -> bool:
            return self._final_from_ms(window) <= complete_until_ms

        merged = read_windows(self._shares, self._catalog.metrics, windows, is_final, time_left_ms)
        alerts = self._alerts.read_alerts(keys, time_left_ms()) if self._alerts and keys else {}
        failed: set[Subject] = set(self._watch(merged, time_left_ms())) if self._watch and merged else set()
        messages: dict[Subject, Sequence[Message]] = {
            each.window: write_window(each) for each in merged if each.metric.published
        }
        messages |= {key: [message] for key, message in alerts.items()}
        sendings = [Sending(numbers[subject], of_subject) for subject, of_subject in messages.items()]
        report.windows += len(merged)
        report.alerts += len(alerts)
        published = list(messages)
        return failed | {published[place] for place in self._publish(sendings, time_left_ms, report.results)}

    def _complete_until(self, subjects: Iterable[Subject], time_left_ms: Callable[[], int]) -> int:
        """How complete the events stream is; UNKNOWN_MS too when that cannot make any of these windows final.

        Why not always: completeness is never beyond now, and most windows that change are younger than their lateness.
        Raises: TransientError when it cannot be read in time.
        """
        now_ms = self._clock_ms()
        windows = (subject for subject in subjects if isinstance(subject, MetricWindow))
        if all(self._final_from_ms(window) > now_ms for window in windows):
            return UNKNOWN_MS
        shards = self._shards.list_shards(time_left_ms())
        known_ms = complete_until(shards, self._progress.read_progress(self._stream, time_left_ms()))
        return UNKNOWN_MS if known_ms is None else known_ms

    def _final_from_ms(self, window: MetricWindow) -> int:
        """The completeness from which on no event can change what is stored of a window any more.

        Why never, of a rollup: it may be behind its smaller windows. FinalResults brings it up to date, and tells.
        """
        metric = self._catalog.metrics[window.metric]
        if metric.is_rollup(window.step_ms):
            return NEVER_MS
        return window.window_end_ms + self._catalog.lateness_ms(metric.event_type, self._stage_lateness_ms)

    def _groups_in(self, subject: Subject) -> int:
        """About how many groups it may hold: of a window, as many as one writer can have stored."""
        return groups_max(self._catalog.metrics[subject.metric]) if isinstance(subject, MetricWindow) else 1


def groups_max(metric: Metric) -> int:
    """How many groups one writer can have stored of a window."""
    return metric.buckets * metric.group_limit


def _time_left(remaining_ms: Callable[[], int]) -> int:
    return max(0, remaining_ms() - RESERVE_MS)
