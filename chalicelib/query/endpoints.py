"""The questions that can be asked over HTTP, each from its request to its answer.

Progress is read before shares: whatever a shard has committed by then is in the shares read after it, so an answer
never claims to be more complete than it is.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial as bind
from urllib.parse import urlencode

from chalicelib.access.errors import NotAllowedError
from chalicelib.access.grant import Grant
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.http import HttpAnswer
from chalicelib.query.answer import page_of
from chalicelib.query.caching import caching_of_windows
from chalicelib.query.dead_letters import describe_dead_letters, parse_dead_letters_request, summarize
from chalicelib.query.describe import (
    HealthAnswer,
    MetricDescription,
    MetricsAnswer,
    describe_metric,
    describe_stream,
    instant_or_null,
)
from chalicelib.query.errors import ParameterError, UnknownMetricError, quoted
from chalicelib.query.formats import Answer, Statistics
from chalicelib.query.http import json_answer, lasting_answer, negotiate
from chalicelib.query.ports import LettersReader
from chalicelib.query.request import parse_request
from chalicelib.query.scan import Scanner
from chalicelib.reading.completeness import complete_until
from chalicelib.reading.ports import (
    ProgressReader,
    SettledReader,
    ShardLister,
    ShardProgress,
    ShareReader,
)
from chalicelib.records.shard import Shard

READ_MS_MAX = 24_000  # API Gateway gives up on an integration after 29 s, whatever the function's own time-out is
RESERVE_MS = 3_000  # kept back of the invocation's time to order the rows and to write them
OBJECTS_LISTED_MAX = 10_000  # of one day: ten requests
OBJECTS_READ_MAX = 500
BODY_BYTES_MAX = 6_000_000  # as JSON text, escapes and all: Lambda answers with at most 6 MB, headers included


class Query:
    """The questions of this stage's analysts. Its methods raise what `http.respond` turns into problems.

    Shapes: grant is what whoever asks may read; what it does not allow is a NotAllowedError, whether it exists or not.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        stage: str,
        stream: str,
        lateness_ms: int,
        shares: ShareReader,
        progress: ProgressReader,
        settled: SettledReader,
        shards: ShardLister,
        letters: Callable[[], LettersReader],
        clock_ms: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._stage = stage
        self._stream = stream
        self._lateness_ms = lateness_ms
        self._scanner = Scanner(shares, settled)
        self._progress = progress
        self._shards = shards
        self._letters = letters
        self._clock_ms = clock_ms

    def health(self) -> HttpAnswer:
        """Whether requests are answered at all; nothing is read for it."""
        return json_answer(HealthAnswer("ok", self._stage))

    def list_metrics(self, grant: Grant) -> HttpAnswer:
        """What there is to ask for, of what the grant allows."""
        metrics = [metric for metric in self._catalog.metrics.values() if grant.allows(metric.name)]
        return lasting_answer(MetricsAnswer(tuple(map(self._describe, metrics))))

    def describe_metric(self, grant: Grant, name: str) -> HttpAnswer:
        """One metric.

        Raises: NotAllowedError; UnknownMetricError.
        """
        return lasting_answer(self._describe(self._metric(grant, name)))

    def stream(self, remaining_ms: Callable[[], int]) -> HttpAnswer:
        """How far each shard of the events stream has been committed.

        Raises: TransientError when that could not be read in time.
        """
        shards, progress = self._read_standing(self._clock_ms(), remaining_ms)
        return json_answer(describe_stream(self._stream, shards, progress, self._clock_ms()))

    def windows(
        self,
        grant: Grant,
        name: str,
        parameters: Mapping[str, Sequence[str]],
        accept: str | None,
        remaining_ms: Callable[[], int],
    ) -> HttpAnswer:
        """The windows of a metric.

        Shapes: parameters holds each query parameter's values; accept is the Accept header; remaining_ms tells what
                is left of the invocation's time.
        Raises: NotAllowedError; UnknownMetricError; ParameterError, NotAcceptableError among them, naming the parameter
                at fault; TransientError when the reads failed or were not done in time; DefinitionChangedError.
        """
        began_ms = self._clock_ms()
        request = parse_request(self._metric(grant, name), parameters, began_ms)
        form = negotiate(_first(parameters, "format"), accept)
        shards, progress = self._read_standing(began_ms, remaining_ms)
        lateness_ms = self._lateness_of(request.metric)
        scanned = self._scanner.scan(request, lateness_ms, bind(self._time_left_ms, began_ms, remaining_ms))
        page = page_of(request, scanned.groups)
        complete_until_ms = complete_until(shards, progress)
        statistics = Statistics(self._clock_ms() - began_ms, scanned.cost.items_read, scanned.cost.read_units)
        answer = Answer(request, page, complete_until_ms, statistics)
        body = form.write(answer)
        if len(json.dumps(body)) > BODY_BYTES_MAX:
            raise ParameterError("limit", f"these {len(page.rows)} rows are over {BODY_BYTES_MAX} bytes; ask for fewer")
        caching = caching_of_windows(request, form.name, scanned.revision, complete_until_ms, lateness_ms)
        headers = {"Content-Type": form.content_type, **caching, **_headers(answer, parameters)}
        return HttpAnswer(200, headers, body)

    def dead_letters(
        self, grant: Grant, parameters: Mapping[str, Sequence[str]], remaining_ms: Callable[[], int]
    ) -> HttpAnswer:
        """What could not be counted, by reason and day, with examples.

        Raises: NotAllowedError unless everything is granted, for these are of no metric; ParameterError naming the
                parameter at fault; TransientError when nothing could be listed in time.
        """
        if not grant.is_of_everything:
            raise NotAllowedError
        began_ms = self._clock_ms()
        request = parse_dead_letters_request(parameters, began_ms)
        time_left_ms = bind(self._time_left_ms, began_ms, remaining_ms)
        letters = self._letters()
        listed = letters.list_objects(request.start_day, request.end_day, time_left_ms(), OBJECTS_LISTED_MAX)
        newest = listed.objects[:OBJECTS_READ_MAX]
        summaries = letters.read_objects(newest, bind(summarize, request), time_left_ms)
        return json_answer(describe_dead_letters(request, listed, summaries))

    def _read_standing(
        self, began_ms: int, remaining_ms: Callable[[], int]
    ) -> tuple[Sequence[Shard], Sequence[ShardProgress]]:
        """Read what shards there are and how far each is."""
        shards = self._shards.list_shards(self._time_left_ms(began_ms, remaining_ms))
        return shards, self._progress.read_progress(self._stream, self._time_left_ms(began_ms, remaining_ms))

    def _time_left_ms(self, began_ms: int, remaining_ms: Callable[[], int]) -> int:
        """What is left for reading."""
        return max(0, min(READ_MS_MAX - (self._clock_ms() - began_ms), remaining_ms() - RESERVE_MS))

    def _metric(self, grant: Grant, name: str) -> Metric:
        if not grant.allows(name):
            raise NotAllowedError
        if name not in self._catalog.metrics:
            known = ", ".join(filter(grant.allows, self._catalog.metrics)) or "none"
            raise UnknownMetricError(f"no metric is named {quoted(name)}; there are: {known}")
        return self._catalog.metrics[name]

    def _describe(self, metric: Metric) -> MetricDescription:
        return describe_metric(metric, self._lateness_of(metric))

    def _lateness_of(self, metric: Metric) -> int:
        return self._catalog.lateness_ms(metric.event_type, self._lateness_ms)


def _first(parameters: Mapping[str, Sequence[str]], name: str) -> str | None:
    return next(iter(parameters.get(name, ())), None)


def _headers(answer: Answer, parameters: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """What CSV and NDJSON have no place for: how complete the answer is, and where its next page is."""
    headers = {}
    if complete := instant_or_null(answer.complete_until_ms):
        headers["Highwater-Complete-Until"] = complete
    if answer.page.next:
        following = urlencode({**parameters, "cursor": answer.page.next}, doseq=True)
        headers["Link"] = f'<?{following}>; rel="next"'
    return headers
